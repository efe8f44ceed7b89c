package org.tfcompress.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ScoresTest {
    @Test
    fun `the highest scores come first, and equal ones by index`() {
        val found = top(floatArrayOf(0.1f, 0.4f, 0.1f, 0.4f), 3)
        assertEquals(listOf(1, 3, 0), found.map(Ranked::index))
        assertEquals(1, top(floatArrayOf(1f), 3).size)
    }

    @Test
    fun `the cosine does not depend on lengths`() {
        assertEquals(1f, cosine(floatArrayOf(1f, 2f), floatArrayOf(10f, 20f)), 1e-6f)
        assertEquals(-0.6f, cosine(floatArrayOf(1f, 0f), floatArrayOf(-3f, 4f)), 1e-6f)
        assertEquals(0f, cosine(floatArrayOf(0f, 0f), floatArrayOf(1f, 2f)))
        assertThrows(IllegalArgumentException::class.java) { cosine(FloatArray(2), FloatArray(3)) }
    }

    @Test
    fun `probabilities stay as they are, a single one too`() {
        for (scores in listOf(floatArrayOf(0.3f, 0.7f), floatArrayOf(0.3f))) {
            assertArrayEquals(scores, probabilities(scores), 0f)
        }
        assertArrayEquals(softmax(floatArrayOf(2f, -1f)), probabilities(floatArrayOf(2f, -1f)), 0f)
    }

    @Test
    fun `large logits do not overflow`() {
        val expected = floatArrayOf(0.09003057f, 0.24472848f, 0.66524094f)
        assertArrayEquals(expected, softmax(floatArrayOf(999f, 1000f, 1001f)), 1e-6f)
        assertEquals(0, softmax(FloatArray(0)).size)
    }
}
