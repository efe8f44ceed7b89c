package org.tfcompress.core

import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ManifestTest {
    private val text = """{"format": "tfcompress.android", "version": 1, "name": "n", "title": "t", "task": "text",
        "models": [{"file": "a.tflite", "title": "base", "bytes": 3}], "samples": ["Who?"], "labels": ["human"]}"""

    @Test
    fun `a run's manifest`() {
        val expected = Manifest("n", "t", Task.TEXT, listOf(Entry("a.tflite", "base")), listOf("Who?"), listOf("human"))
        assertEquals(expected, Manifest.parse(text))
    }

    @Test
    fun `names that lead elsewhere and other files are refused`() {
        for (name in listOf("../a.tflite", "/data/a", "a/../../b", ".", "")) {
            val json = text.replace("a.tflite", name)
            assertThrows(name, IllegalArgumentException::class.java) { Manifest.parse(json) }
        }
        for (other in listOf("", "[]", "{}", text.replace("1,", "2,"), text.replace("text", "audio"))) {
            assertThrows(other, IllegalArgumentException::class.java) { Manifest.parse(other) }
        }
    }
}

class PhoneReportTest {
    private val row = Measured(
        "digits", "packed.tflite", "packed", 155_850, "0".repeat(64), 2, "tfcompress", Latency(1.25, 1.5, 50),
        40_000, 41_000, null, null
    )

    @Test
    fun `a row comes back as it was`() {
        assertEquals(row, Measured.of(JSONObject(row.toJson().toString())))
        val costly = row.copy(energyUj = 123.5, energySource = "battery")
        assertEquals(costly, Measured.of(JSONObject(costly.toJson().toString())))
    }

    @Test
    fun `what is not known is null`() {
        val device = Device("m", "p", "15", 35, "arm64-v8a", 8)
        val json = JSONObject(PhoneReport("0.1.0", "2026-01-01T00:00:00Z", device, listOf(row)).toJson())
        assertEquals("tfcompress.phone", json.getString("format"))
        assertTrue(json.getJSONArray("rows").getJSONObject(0).isNull("energy_uj"))
    }
}
