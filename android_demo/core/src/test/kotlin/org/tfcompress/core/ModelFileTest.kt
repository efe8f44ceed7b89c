package org.tfcompress.core

import java.io.File
import java.nio.ByteBuffer
import java.util.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ModelFileTest {
    private val models = File(System.getProperty("models"))
    private val digits = content(File(models, "vit_digits/compressed.tflite"))

    @Test
    fun `an image model's file is read`() {
        val file = ModelFile.read(digits)
        assertEquals(listOf("float32 1 x 8 x 8 x 3"), file.inputs.map(TensorInfo::toString))
        assertEquals(TakesImage(listOf(0f), listOf(255f)), file.takes)
        assertEquals((0..9).map(Int::toString), file.labels)
        assertEquals("vit_digits", file.name)
        assertEquals(Task.CLASSIFICATION, file.task)
        assertEquals(listOf("probabilities"), file.outputs.map(TensorInfo::name))
        val dense = file.operators.single { it.name == "FULLY_CONNECTED" }
        assertTrue(dense.version in 5..11 && dense.count > 10)
        assertTrue(!file.isPacked)
        assertTrue(ModelFile.read(content(File(models, "vit_digits/packed.tflite"))).isPacked)
    }

    @Test
    fun `a text model's file is read`() {
        val takes = ModelFile.read(content(File(models, "bert_half_trec/base_float32.tflite"))).takes as TakesText
        assertEquals(setOf("ids", "segment_ids", "mask"), takes.names.toSet())
        assertTrue(takes.lowercase)
        assertTrue("[CLS]" in takes.vocabulary.orEmpty())
    }

    @Test
    fun `files that are not models are refused`() {
        for (bytes in listOf(ByteArray(0), ByteArray(7), "%PDF-1.7 and so on".toByteArray(), ByteArray(1 shl 20))) {
            assertThrows(BadModel.NotAModel::class.java) { ModelFile.read(ByteBuffer.wrap(bytes)) }
        }
    }

    @Test
    fun `truncated files are refused`() {
        val flatbuffer = digits.remaining() - 2_000 // The labels and the archive's directory follow it.
        for (length in 8 until flatbuffer step 997) {
            val cut = digits.duplicate().apply { limit(length) }.slice()
            assertThrows("$length bytes", BadModel.Damaged::class.java) { ModelFile.read(cut) }
        }
    }

    @Test
    fun `overwritten files are read or refused as damaged`() {
        val random = Random(1)
        var refused = 0
        repeat(3_000) {
            val bytes = ByteArray(digits.remaining()).also(digits.duplicate()::get)
            repeat(1 + random.nextInt(20)) {
                // Half of them near the beginning, where the offsets to the rest are.
                bytes[8 + random.nextInt(if (random.nextBoolean()) 60 else bytes.size - 8)] = random.nextInt().toByte()
            }
            try {
                ModelFile.read(ByteBuffer.wrap(bytes))
            } catch (_: BadModel.Damaged) {
                refused++
            }
        }
        assertTrue("$refused refused", refused in 1_000..2_999)
    }
}
