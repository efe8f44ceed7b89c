package org.tfcompress.core

import java.util.zip.GZIPInputStream
import org.json.JSONArray
import org.json.JSONObject

/** Python's results for the same texts and pictures, which `python -m tests.golden` writes. */
object Golden {
    fun load(name: String): JSONObject {
        val file = checkNotNull(javaClass.getResourceAsStream("/$name.json.gz"))
        return JSONObject(GZIPInputStream(file).reader(Charsets.UTF_8).use { it.readText() })
    }
}

fun JSONArray.ints(): List<Int> = List(length(), ::getInt)
