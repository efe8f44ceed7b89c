package org.tfcompress.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** What a model is fed. */
enum class Task { IMAGE, TEXT }

/** A model of a run: its file, and what the run calls it. */
data class Entry(val file: String, val title: String)

/**
 * What a run of tfcompress left for the app: `manifest.json` in its folder `android`.
 *
 * @property samples files of images, or texts.
 * @property labels the samples' classes.
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

        /** @throws IllegalArgumentException if the text is something else, or a file's name leads out of the folder. */
        fun parse(text: String): Manifest = try {
            val json = JSONObject(text)
            require(json.getString("format") == FORMAT && json.getInt("version") == 1) {
                "it is ${json.optString("format")} ${json.opt("version")}; needed is $FORMAT 1"
            }
            val task = Task.valueOf(json.getString("task").uppercase())
            val models = json.getJSONArray("models").objects().map { Entry(it.file("file"), it.getString("title")) }
            require(models.isNotEmpty()) { "it has no models" }
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
            require(FILE.matches(name)) { "$key is '$name'; needed is a file's name" }
            return name
        }

        private val FILE = Regex("\\w[\\w.-]*")
    }
}

internal fun JSONArray.objects(): List<JSONObject> = List(length(), ::getJSONObject)

internal fun JSONArray.strings(): List<String> = List(length(), ::getString)
