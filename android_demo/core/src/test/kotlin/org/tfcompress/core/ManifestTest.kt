package org.tfcompress.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ManifestTest {
    private val text = """{"format": "tfcompress.android", "version": 2, "name": "n", "title": "t", "input": "text",
        "task": "classification", "models": [{"file": "a.tflite", "title": "base", "bytes": 3}],
        "samples": ["Who?", ["Who?", "Me."]], "labels": ["human"]}"""

    @Test
    fun `a manifest is parsed`() {
        val samples = listOf(listOf("Who?"), listOf("Who?", "Me."))
        val models = listOf(Entry("a.tflite", "base"))
        val expected = Manifest("n", "t", Input.TEXT, Task.CLASSIFICATION, models, samples, listOf("human"))
        assertEquals(expected, Manifest.parse(text))
    }

    @Test
    fun `file names that lead elsewhere and other formats are refused`() {
        for (name in listOf("../a.tflite", "/data/a", "a/../../b", ".", "")) {
            val json = text.replace("a.tflite", name)
            assertThrows(name, IllegalArgumentException::class.java) { Manifest.parse(json) }
        }
        val changes = listOf("2," to "1,", "text" to "audio", "classification" to "sorting")
        for (other in listOf("", "[]", "{}") + changes.map { (now, then) -> text.replace(now, then) }) {
            assertThrows(other, IllegalArgumentException::class.java) { Manifest.parse(other) }
        }
    }
}
