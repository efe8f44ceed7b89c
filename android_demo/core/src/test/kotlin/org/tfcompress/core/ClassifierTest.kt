package org.tfcompress.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import javax.imageio.ImageIO
import kotlin.math.abs
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.tfcompress.runtime.ClusteredDelegate

/** The models that go into the app, on TensorFlow Lite, beside what LiteRT answered in Python. */
class ClassifierTest {
    private val folders = File(System.getProperty("models")).listFiles().orEmpty().sorted()

    @Test
    fun `inputs and outputs are Python's`() {
        assertTrue("no models", folders.isNotEmpty())
        for (folder in folders) {
            val manifest = Manifest.parse(File(folder, "manifest.json").readText())
            val golden = JSONObject(File(folder, "golden.json").readText())
            for (entry in manifest.models) {
                val expected = golden.getJSONObject(entry.file)
                val difference = with(classifier(File(folder, entry.file))) {
                    use { largestDifference(folder, manifest, expected) }
                }
                println("${folder.name}/${entry.file}: largest difference from Python $difference")
            }
        }
    }

    private fun Classifier.largestDifference(folder: File, manifest: Manifest, golden: JSONObject): Float {
        var largest = 0f
        for ((place, sample) in manifest.samples.withIndex()) {
            val outputs = when (manifest.task) {
                Task.IMAGE -> classify(picture(File(folder, sample)))
                Task.TEXT -> classify(sample)
            }
            val expected = golden.getJSONArray("outputs").getJSONArray(place).floats()
            assertArrayEquals(sample, expected, outputs, if (file.isPacked) ONE_STEP else 1e-4f)
            assertEquals(sample, top(expected, 1)[0].index, top(outputs, 1)[0].index)
            largest = maxOf(largest, outputs.indices.maxOf { abs(outputs[it] - expected[it]) })
            assertInputs(golden.getJSONArray("inputs").getJSONObject(place))
        }
        assertTrue(labels().containsAll(manifest.labels))
        return largest
    }

    private fun Classifier.assertInputs(golden: JSONObject) {
        assertEquals(file.inputs.size, golden.length())
        for ((index, tensor) in file.inputs.withIndex()) {
            val name = golden.keySet().single { it in tensor.name || golden.length() == 1 }
            val expected = golden.getJSONArray(name).floats()
            val input = input(index)
            val numbers = when (tensor.type) {
                "INT32" -> FloatArray(expected.size) { input.asIntBuffer()[it].toFloat() }
                else -> FloatArray(expected.size) { input.asFloatBuffer()[it] }
            }
            assertArrayEquals(name, expected, numbers, 1e-5f)
        }
    }

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

    private companion object {
        /**
         * Dense layers that a packed file leaves to TensorFlow Lite quantize their input as they go, which its versions
         * round differently; one step of an activation moves a probability so far.
         */
        const val ONE_STEP = 2e-3f
    }

    private fun classifier(file: File): Classifier {
        val content = content(file)
        return Classifier(ModelFile.read(content), content, 1, ClusteredDelegate())
    }

    private fun picture(file: File): Picture {
        val image = ImageIO.read(file)
        val pixels = ByteArray(image.width * image.height * 3) { place ->
            val pixel = place / 3
            (image.getRGB(pixel % image.width, pixel / image.width) shr (16 - 8 * (place % 3))).toByte()
        }
        return Picture(image.width, image.height, pixels)
    }
}

fun resource(name: String) = File(checkNotNull(Golden.javaClass.getResource("/$name")).toURI())

fun content(file: File): ByteBuffer {
    val bytes = file.readBytes()
    return ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes).apply { rewind() }
}

private fun JSONArray.floats() = FloatArray(length()) { getDouble(it).toFloat() }
