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
    fun `it runs for both the least runs and the least seconds`() {
        var clock = 0L
        val inference = { clock += 1_000_000 }
        assertEquals(Latency(1.0, 1.0, 5), Latency.measure(5, 0.0, { clock }, inference = inference))
        assertEquals(20, Latency.measure(5, 0.02, { clock }, inference = inference)?.runs)
    }

    @Test
    fun `it can be stopped`() {
        var calls = 0
        assertNull(Latency.measure(100, 0.0, goOn = { calls < 3 }) { calls++ })
        assertEquals(3, calls)
    }
}
