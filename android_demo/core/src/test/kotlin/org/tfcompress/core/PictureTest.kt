package org.tfcompress.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class PictureTest {
    @Test
    fun `tensors equal those of the Python pipeline`() {
        val pictures = Golden.load("golden_images").getJSONArray("pictures").objects()
        assertEquals(20, pictures.size)
        for (golden in pictures) {
            val pixels = Base64.getDecoder().decode(golden.getString("pixels"))
            val picture = Picture(golden.getInt("width"), golden.getInt("height"), pixels)
            val tensors = golden.getJSONObject("tensors")
            for (size in tensors.keySet()) {
                val bytes = Base64.getDecoder().decode(tensors.getString(size))
                val numbers = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
                val expected = FloatArray(numbers.remaining()).also(numbers::get)
                assertArrayEquals(golden.getString("name"), expected, picture.square(size.toInt()), 1e-5f)
            }
        }
    }

    @Test
    fun `a wrong number of bytes is refused`() {
        assertThrows(IllegalArgumentException::class.java) { Picture(2, 2, ByteArray(11)) }
        assertThrows(IllegalArgumentException::class.java) { Picture(0, 2, ByteArray(0)) }
    }
}
