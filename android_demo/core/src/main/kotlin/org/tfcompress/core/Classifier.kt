package org.tfcompress.core

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.Interpreter

/**
 * A loaded model that turns an image, a text or a pair of texts into its answers: mostly one probability per class.
 *
 * Only one thread may use it at a time.
 *
 * @param content the bytes of the file, which must not change until this is closed.
 * @param packedRuntime the delegate that runs packed files; null if it is not available.
 * @throws BadModel if the model cannot be loaded
 */
class Classifier(val file: ModelFile, content: ByteBuffer, threads: Int, packedRuntime: Delegate?) : Closeable {
    private val interpreter = interpreter(file, content, threads, packedRuntime)
    private val inputs = file.inputs.map { buffer(it) }
    private val output = buffer(file.outputs.first())
    private val tokenizer by lazy(::tokenizer)
    private var shorter: Shorter? = null // What the last text ran on.

    /**
     * Returns the answers for a picture; see [run].
     *
     * @throws BadModel if the model's input is not an RGB picture
     */
    fun classify(picture: Picture): FloatArray {
        val takes = file.takes as? TakesImage ?: throw unfit()
        val shape = file.inputs.first().shape
        if (file.inputs.size != 1 || file.inputs[0].type != FLOAT || shape.size != IMAGE_DIMENSIONS) throw unfit()
        if (shape[1] != shape[2] || shape.last() != COLOURS) throw unfit()
        val input = inputs.first()
        for ((place, value) in picture.square(shape[1]).withIndex()) {
            // Double precision, so that a value of [0, 1] that is scaled to [0, 255] and back does not change by a bit.
            val pixel = WHITE * value.toDouble() - takes.mean.of(place % COLOURS)
            input.putFloat(place * Float.SIZE_BYTES, (pixel / takes.std.of(place % COLOURS)).toFloat())
        }
        return run()
    }

    /**
     * Returns the answers for a text, or for a pair if the model takes pairs; see [run].
     *
     * It runs the shortest signature that the text fits in; if each token has answers, there are fewer then.
     *
     * @throws BadModel if the model's inputs are not BERT's
     */
    fun classify(text: String, second: String = ""): FloatArray {
        val takes = file.takes as? TakesText ?: throw unfit()
        val tokens = if (takes.pairs) tokenizer.encode(text, second) else tokenizer.encode(text)
        for ((index, input) in inputs.withIndex()) {
            val values = when (takes.names.getOrNull(index)) {
                "ids" -> tokens.ids
                "segment_ids" -> tokens.segments
                "mask" -> tokens.mask
                else -> throw unfit(index)
            }
            if (file.inputs[index].type != INT || input.capacity() != values.size * Int.SIZE_BYTES) throw unfit(index)
            input.asIntBuffer().put(values)
        }
        val real = tokens.mask.sum()
        shorter = file.shorter.firstOrNull { it.tokens in real until tokens.mask.size }
        return again()
    }

    /** Runs the model once more as the last call of [classify] did. */
    fun again(): FloatArray {
        val signature = shorter ?: return run()
        output.clear()
        val starts = inputs.map { it.duplicate().apply { limit(signature.tokens * Int.SIZE_BYTES) }.slice() }
        val given = signature.inputs.zip(starts).toMap()
        interpreter.runSignature(given, mapOf(signature.output to output), signature.name)
        return answers()
    }

    /**
     * Runs the model on the input of the last call, a text with all its padding, or on zeros if there was none.
     *
     * @return the numbers of the first output: of a classifier, one probability per class, also if it gives logits
     */
    fun run(): FloatArray {
        output.clear()
        interpreter.runForMultipleInputsOutputs(inputs.toTypedArray(), mapOf(0 to output))
        return answers()
    }

    private fun answers(): FloatArray {
        if (file.outputs.first().type != FLOAT) return FloatArray(0)
        output.flip()
        val scores = FloatArray(output.remaining() / Float.SIZE_BYTES).also { output.asFloatBuffer().get(it) }
        return if (file.isClassifier) probabilities(scores) else scores
    }

    /** Returns the current values of an input, for tests that compare them with Python's. */
    internal fun input(index: Int): ByteBuffer = inputs[index].duplicate().order(ByteOrder.nativeOrder())

    /**
     * Returns the label of each class.
     *
     * @throws BadModel unless the file has exactly one label per output
     */
    fun labels(): List<String> {
        val classes = file.outputs.first().shape.lastOrNull() ?: 1
        if (file.labels.size != classes) throw BadModel.LabelCount(file.labels.size, classes)
        return file.labels
    }

    override fun close() = interpreter.close()

    private fun tokenizer(): WordPiece {
        val takes = file.takes as TakesText
        val vocabulary = takes.vocabulary ?: throw BadModel.NoVocabulary()
        return try {
            WordPiece(vocabulary, takes.lowercase, takes.stripAccents, file.inputs.first().shape.last())
        } catch (e: IllegalArgumentException) {
            throw BadModel.BadVocabulary(e.message.orEmpty(), e)
        }
    }

    private fun unfit(index: Int = 0): BadModel {
        if (file.takes == null) return BadModel.NoMetadata()
        return BadModel.UnsupportedInput(file.inputs[index])
    }

    private companion object {
        const val FLOAT = "FLOAT32"
        const val INT = "INT32"
        const val IMAGE_DIMENSIONS = 4
        const val COLOURS = 3
        const val WHITE = 255
        val BYTES = mapOf(FLOAT to 4, INT to 4, "UINT8" to 1, "INT8" to 1, "BOOL" to 1, "INT16" to 2, "INT64" to 8)
        val MISSING = Regex("builtin opcode '(\\w+)' version '(\\d+)'")

        fun List<Float>.of(channel: Int) = getOrNull(channel) ?: first()

        /** Returns a buffer of zeros for a tensor, in which each open size is 1. */
        fun buffer(tensor: TensorInfo): ByteBuffer {
            val each = BYTES[tensor.type] ?: throw BadModel.UnsupportedInput(tensor)
            val bytes = tensor.shape.fold(each) { all, size -> all * if (size < 0) 1 else size }
            return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
        }

        fun interpreter(file: ModelFile, content: ByteBuffer, threads: Int, packedRuntime: Delegate?): Interpreter {
            val options = Interpreter.Options().setNumThreads(threads)
            if (file.isPacked) options.addDelegate(packedRuntime ?: throw BadModel.NoPackedRuntime())
            return try {
                Interpreter(content, options)
            } catch (e: IllegalArgumentException) {
                throw refusal(file, e)
            } catch (e: IllegalStateException) {
                throw refusal(file, e)
            }
        }

        fun refusal(file: ModelFile, error: Exception): BadModel {
            val message = error.message.orEmpty()
            val missing = MISSING.find(message)?.groupValues
            val custom = file.operators.firstOrNull { it.custom && !it.isPacked }
            return when {
                missing != null -> BadModel.MissingOperator(missing[1], missing[2].toInt(), error)
                custom != null -> BadModel.CustomOperator(custom.name, error)
                else -> BadModel.Refused(message, error)
            }
        }
    }
}
