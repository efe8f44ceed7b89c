package org.tfcompress.core

import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Test

class ClassifierTest {
    private val folders = File(System.getProperty("models")).listFiles().orEmpty().sorted()

    @Test
    fun `a packed file needs the packed runtime`() {
        val packed = content(File(folders.last(), "packed.tflite"))
        assertThrows(BadModel.NoPackedRuntime::class.java) { Classifier(ModelFile.read(packed), packed, 1, null) }
    }

    @Test
    fun `a text model refuses a picture, and an image model refuses a text`() {
        for (folder in folders) {
            val manifest = Manifest.parse(File(folder, "manifest.json").readText())
            classifier(File(folder, manifest.models[0].file)).use { classifier ->
                val refused = assertThrows(BadModel.UnsupportedInput::class.java) {
                    when (manifest.input) {
                        Input.IMAGE -> classifier.classify("text")
                        Input.TEXT -> classifier.classify(Picture(1, 1, ByteArray(3)))
                    }
                }
                assertEquals(classifier.file.inputs[0], refused.input)
            }
        }
    }

    @Test
    fun `an operator that TensorFlow Lite lacks is named`() {
        val content = content(resource("newer_operator.tflite"))
        val refused = assertThrows(BadModel.MissingOperator::class.java) {
            Classifier(ModelFile.read(content), content, 1, null)
        }
        assertEquals("FULLY_CONNECTED", refused.operator)
        assertEquals(12, refused.version)
    }

    @Test
    fun `a short text runs on fewer tokens, to the same effect`() {
        val folder = folders.single { it.name == "bert_half_trec" }
        // Where activations are int8, a number between two steps may be rounded to either.
        for ((name, tolerance) in listOf("base_float32" to 1e-5f, "packed" to 0.02f)) {
            classifier(File(folder, "$name.tflite")).use { classifier ->
                assertEquals(listOf(8), classifier.file.shorter.map(Shorter::tokens))
                val found = classifier.classify("What is it ?")
                val padded = classifier.run()
                assertArrayEquals(name, padded, found, tolerance)
                for (index in 0 until 3) (8 until 16).forEach { classifier.input(index).asIntBuffer().put(it, 1) }
                assertArrayEquals(name, found, classifier.again(), 0f)
                assertFalse(name, padded.contentEquals(classifier.run()))
                val long = classifier.classify("What is it that they ask us ?")
                assertArrayEquals(name, classifier.run(), long, 0f)
            }
        }
    }
}
