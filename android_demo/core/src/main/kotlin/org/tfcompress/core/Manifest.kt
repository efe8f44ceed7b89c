package org.tfcompress.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** What a model takes: an image, or a text or pair of texts. */
enum class Input { IMAGE, TEXT }

/** A model of a run: the name of its file, and its title in the run's report. */
data class Entry(val file: String, val title: String)

/**
 * The contents of `manifest.json`, which a run of tfcompress writes into its folder `android`.
 *
 * @property samples for each sample the name of an image file, a text, or both texts of a pair. A text embedding has
 *     single texts, of which each two in a row are a pair.
 * @property labels the label of each sample; empty unless the task is classification.
 */
data class Manifest(
    val name: String,
    val title: String,
    val input: Input,
    val task: Task,
    val models: List<Entry>,
    val samples: List<List<String>>,
    val labels: List<String>
) {
    companion object {
        private const val FORMAT = "tfcompress.android"
        private const val VERSION = 2

        /** @throws IllegalArgumentException if it is not a manifest, or a file name leads out of the folder */
        fun parse(text: String): Manifest = try {
            val json = JSONObject(text)
            require(json.getString("format") == FORMAT && json.getInt("version") == VERSION) {
                "the format is ${json.optString("format")} ${json.opt("version")}; it must be $FORMAT $VERSION"
            }
            val input = Input.valueOf(json.getString("input").uppercase())
            val task = requireNotNull(Task.of(json.getString("task"))) { "the task is ${json.getString("task")}" }
            val models = json.getJSONArray("models").objects().map { Entry(it.file("file"), it.getString("title")) }
            require(models.isNotEmpty()) { "the manifest lists no models" }
            Manifest(
                json.file("name"),
                json.getString("title"),
                input,
                task,
                models,
                json.getJSONArray("samples").lists(),
                json.getJSONArray("labels").strings()
            )
        } catch (e: JSONException) {
            throw IllegalArgumentException(e.message, e)
        }

        private fun JSONArray.lists() = List(length()) { optJSONArray(it)?.strings() ?: listOf(getString(it)) }

        private fun JSONObject.file(key: String): String {
            val name = getString(key)
            require(FILE.matches(name)) { "$key is '$name'; it must be a file name" }
            return name
        }

        private val FILE = Regex("\\w[\\w.-]*")
    }
}

internal fun JSONArray.objects(): List<JSONObject> = List(length(), ::getJSONObject)

internal fun JSONArray.strings(): List<String> = List(length(), ::getString)
