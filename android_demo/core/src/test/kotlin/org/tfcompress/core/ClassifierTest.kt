package org.tfcompress.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ClassifierTest {
    private val folders = File(System.getProperty("models")).listFiles().orEmpty().sorted()

    @Test
    fun `a packed file needs the clustered runtime`() {
        val packed = content(File(folders.last(), "packed.tflite"))
        val refused = assertThrows(BadModel::class.java) { Classifier(ModelFile.read(packed), packed, 1, null) }
        assertEquals(Problem.CLUSTERED_RUNTIME, refused.problem)
    }

    @Test
    fun `a picture is refused by a model of texts, and the other way round`() {
        for (folder in folders) {
            val manifest = Manifest.parse(File(folder, "manifest.json").readText())
            classifier(File(folder, manifest.models[0].file)).use { classifier ->
                val refused = assertThrows(BadModel::class.java) {
                    when (manifest.task) {
                        Task.IMAGE -> classifier.classify("text")
                        Task.TEXT -> classifier.classify(Picture(1, 1, ByteArray(3)))
                    }
                }
                assertEquals(Problem.INPUT, refused.problem)
            }
        }
    }

    @Test
    fun `an operator that the runtime lacks is named`() {
        val content = content(resource("newer_operator.tflite"))
        val refused = assertThrows(BadModel::class.java) { Classifier(ModelFile.read(content), content, 1, null) }
        assertEquals(Problem.OPERATOR, refused.problem)
        assertEquals(listOf<Any>("FULLY_CONNECTED", 12), refused.details.toList())
    }
}

fun resource(name: String) = File(checkNotNull(Golden.javaClass.getResource("/$name")).toURI())

fun content(file: File): ByteBuffer {
    val bytes = file.readBytes()
    return ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes).apply { rewind() }
}
