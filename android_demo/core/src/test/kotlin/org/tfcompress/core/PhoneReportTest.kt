package org.tfcompress.core

import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class PhoneReportTest {
    private val row = Measured(
        "digits", "packed.tflite", "packed", 155_850, "0".repeat(64), 2, "tfcompress", Latency(1.25, 1.5, 50),
        40_000, 41_000, null, null
    )

    @Test
    fun `a row survives its JSON`() {
        assertEquals(row, Measured.of(JSONObject(row.toJson().toString())))
        val costly = row.copy(energyUj = 123.5, energySource = "battery")
        assertEquals(costly, Measured.of(JSONObject(costly.toJson().toString())))
    }

    @Test
    fun `an unknown energy is null`() {
        val device = Device("m", "p", "15", 35, "arm64-v8a", 8)
        val json = JSONObject(PhoneReport("0.1.0", "2026-01-01T00:00:00Z", device, listOf(row)).toJson())
        assertEquals("tfcompress.phone", json.getString("format"))
        assertTrue(json.getJSONArray("rows").getJSONObject(0).isNull("energy_uj"))
    }
}
