package org.tfcompress.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ManifestTest {
    private val text = """{"format": "tfcompress.android", "version": 1, "name": "n", "title": "t", "task": "text",
        "models": [{"file": "a.tflite", "title": "base", "bytes": 3}], "samples": ["Who?"], "labels": ["human"]}"""

    @Test
    fun `a manifest is parsed`() {
        val expected = Manifest("n", "t", Task.TEXT, listOf(Entry("a.tflite", "base")), listOf("Who?"), listOf("human"))
        assertEquals(expected, Manifest.parse(text))
    }

    @Test
    fun `file names that lead elsewhere and other formats are refused`() {
        for (name in listOf("../a.tflite", "/data/a", "a/../../b", ".", "")) {
            val json = text.replace("a.tflite", name)
            assertThrows(name, IllegalArgumentException::class.java) { Manifest.parse(json) }
        }
        for (other in listOf("", "[]", "{}", text.replace("1,", "2,"), text.replace("text", "audio"))) {
            assertThrows(other, IllegalArgumentException::class.java) { Manifest.parse(other) }
        }
    }
}
