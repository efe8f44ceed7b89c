package org.tfcompress.core

import java.util.zip.GZIPInputStream
import org.json.JSONArray
import org.json.JSONObject

/** What Python made of the same lines and pictures; `python -m tests.golden` writes it. */
object Golden {
    fun load(name: String): JSONObject {
        val file = checkNotNull(javaClass.getResourceAsStream("/$name.json.gz"))
        return JSONObject(GZIPInputStream(file).reader(Charsets.UTF_8).use { it.readText() })
    }
}

fun JSONArray.ints(): List<Int> = List(length(), ::getInt)
