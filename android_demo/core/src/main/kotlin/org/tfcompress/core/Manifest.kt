package org.tfcompress.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** What a model classifies. */
enum class Task { IMAGE, TEXT }

/** A model of a run: the name of its file, and its title in the run's report. */
data class Entry(val file: String, val title: String)

/**
 * The contents of `manifest.json`, which a run of tfcompress writes into its folder `android`.
 *
 * @property samples names of image files, or texts.
 * @property labels the label of each sample.
 */
data class Manifest(
    val name: String,
    val title: String,
    val task: Task,
    val models: List<Entry>,
    val samples: List<String>,
    val labels: List<String>
) {
    companion object {
        private const val FORMAT = "tfcompress.android"

        /** @throws IllegalArgumentException if it is not a manifest, or a file name leads out of the folder */
        fun parse(text: String): Manifest = try {
            val json = JSONObject(text)
            require(json.getString("format") == FORMAT && json.getInt("version") == 1) {
                "the format is ${json.optString("format")} ${json.opt("version")}; it must be $FORMAT 1"
            }
            val task = Task.valueOf(json.getString("task").uppercase())
            val models = json.getJSONArray("models").objects().map { Entry(it.file("file"), it.getString("title")) }
            require(models.isNotEmpty()) { "the manifest lists no models" }
            Manifest(
                json.file("name"),
                json.getString("title"),
                task,
                models,
                json.getJSONArray("samples").strings(),
                json.getJSONArray("labels").strings()
            )
        } catch (e: JSONException) {
            throw IllegalArgumentException(e.message, e)
        }

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
