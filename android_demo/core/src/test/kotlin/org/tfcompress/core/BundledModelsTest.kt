package org.tfcompress.core

import java.io.File
import kotlin.math.abs
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/**
 * Compares the models of the app with the outputs of LiteRT in Python, on a TensorFlow Lite older than the app's.
 *
 * Every build runs it, so a model that this version does not load fails the build, with the operator's name.
 */
class BundledModelsTest {
    private val folders = File(System.getProperty("models")).listFiles().orEmpty().sorted()

    @Test
    fun `inputs and outputs equal Python's`() {
        assertTrue("no models", folders.isNotEmpty())
        for (folder in folders) {
            val manifest = Manifest.parse(File(folder, "manifest.json").readText())
            val golden = JSONObject(File(folder, "golden.json").readText())
            for (entry in manifest.models) {
                val name = "${folder.name}/${entry.file}"
                val difference = try {
                    with(classifier(File(folder, entry.file))) {
                        use { largestDifference(folder, manifest, golden.getJSONObject(entry.file)) }
                    }
                } catch (e: BadModel) {
                    throw AssertionError("$name does not run in TensorFlow Lite 2.15: ${e.message}", e)
                }
                println("$name: largest difference from Python $difference")
            }
        }
    }

    private fun Classifier.largestDifference(folder: File, manifest: Manifest, golden: JSONObject): Float {
        var largest = 0f
        for ((place, sample) in manifest.samples.withIndex()) {
            val name = "$sample"
            when (manifest.input) {
                Input.IMAGE -> classify(picture(File(folder, sample.single())))
                Input.TEXT -> classify(sample[0], sample.getOrElse(1) { "" })
            }
            val outputs = run() // Python pads all texts.
            val expected = golden.getJSONArray("outputs").getJSONArray(place).floats()
            assertArrayEquals(name, expected, outputs, 1e-4f)
            if (file.isClassifier) assertEquals(name, top(expected, 1)[0].index, top(outputs, 1)[0].index)
            largest = maxOf(largest, outputs.indices.maxOf { abs(outputs[it] - expected[it]) })
            assertInputs(golden.getJSONArray("inputs").getJSONObject(place))
        }
        assertEquals(manifest.task, file.task)
        assertEquals(manifest.samples.any { it.size == 2 }, (file.takes as? TakesText)?.pairs ?: false)
        if (file.labels.isNotEmpty()) assertTrue(file.labels.containsAll(manifest.labels))
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
}

private fun JSONArray.floats() = FloatArray(length()) { getDouble(it).toFloat() }
