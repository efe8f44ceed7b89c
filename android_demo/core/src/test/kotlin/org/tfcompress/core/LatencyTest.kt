package org.tfcompress.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Test

class LatencyTest {
    @Test
    fun `median and ninetieth percentile`() {
        assertEquals(Latency(5.5, 9.0, 10), Latency.of((10 downTo 1).map(Int::toDouble)))
        assertEquals(Latency(2.0, 3.0, 3), Latency.of(listOf(3.0, 1.0, 2.0)))
        assertThrows(IllegalArgumentException::class.java) { Latency.of(emptyList()) }
    }

    @Test
    fun `what warms up is not counted, and it goes on until runs and seconds are over`() {
        var clock = 0L
        var calls = 0
        val slowAtFirst = { clock += if (calls++ < 2) 900_000_000 else 1_000_000 }
        assertEquals(Latency(1.0, 1.0, 5), Latency.measure(2, 5, 0.0, { clock }, inference = slowAtFirst))
        assertEquals(7, calls)
        assertEquals(20, Latency.measure(0, 5, 0.02, { clock }, inference = slowAtFirst)?.runs)
    }

    @Test
    fun `it can be stopped`() {
        var calls = 0
        assertNull(Latency.measure(1, 100, 0.0, goOn = { calls < 3 }) { calls++ })
        assertEquals(3, calls)
    }
}
