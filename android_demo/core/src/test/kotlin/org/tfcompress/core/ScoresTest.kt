package org.tfcompress.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class ScoresTest {
    @Test
    fun `the highest scores come first, and equal ones by index`() {
        val found = top(floatArrayOf(0.1f, 0.4f, 0.1f, 0.4f), 3)
        assertEquals(listOf(1, 3, 0), found.map(Ranked::index))
        assertEquals(1, top(floatArrayOf(1f), 3).size)
    }

    @Test
    fun `large logits do not overflow`() {
        val expected = floatArrayOf(0.09003057f, 0.24472848f, 0.66524094f)
        assertArrayEquals(expected, softmax(floatArrayOf(999f, 1000f, 1001f)), 1e-6f)
        assertEquals(0, softmax(FloatArray(0)).size)
    }
}
