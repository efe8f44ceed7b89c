package org.tfcompress.core

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.Interpreter

/**
 * A model that runs: an image or a text in, a probability for each class out.
 *
 * Not safe for use by several threads at once.
 *
 * @param content the file; it must stay as it is until this is closed.
 * @param clustered the clustered runtime, for a packed file.
 * @throws BadModel if the runtime refuses it
 */
class Classifier(val file: ModelFile, content: ByteBuffer, threads: Int, clustered: Delegate?) : Closeable {
    private val interpreter = interpreter(file, content, threads, clustered)
    private val inputs = file.inputs.map { buffer(it) }
    private val output = buffer(file.outputs.first())
    private val tokenizer by lazy(::tokenizer)

    /**
     * Probabilities of a picture's classes.
     *
     * @throws BadModel if the model takes no picture
     */
    fun classify(picture: Picture): FloatArray {
        val takes = file.takes as? TakesImage ?: throw unfit()
        val shape = file.inputs.first().shape
        val colours = shape.lastOrNull()
        if (file.inputs.size != 1 || file.inputs[0].type != FLOAT || shape.size != IMAGE_DIMENSIONS) throw unfit()
        if (shape[1] != shape[2] || colours != COLOURS) throw unfit()
        val input = inputs.first()
        for ((place, value) in picture.square(shape[1]).withIndex()) {
            // In double precision, so that [0, 1] stays what it is to the last bit.
            val pixel = WHITE * value.toDouble() - takes.mean.of(place % COLOURS)
            input.putFloat(place * Float.SIZE_BYTES, (pixel / takes.std.of(place % COLOURS)).toFloat())
        }
        return run()
    }

    /**
     * Probabilities of a text's classes.
     *
     * @throws BadModel if the model takes no text
     */
    fun classify(text: String): FloatArray {
        val takes = file.takes as? TakesText ?: throw unfit()
        val tokens = tokenizer.encode(text)
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
        return run()
    }

    /** Runs once more with the input of the last call, or zeros. */
    fun run(): FloatArray {
        output.rewind()
        interpreter.runForMultipleInputsOutputs(inputs.toTypedArray(), mapOf(0 to output))
        if (file.outputs.first().type != FLOAT) return FloatArray(0)
        output.rewind()
        val scores = FloatArray(output.capacity() / Float.SIZE_BYTES).also { output.asFloatBuffer().get(it) }
        return probabilities(scores)
    }

    /** The values of an input, of which golden outputs hold the first. */
    internal fun input(index: Int): ByteBuffer = inputs[index].duplicate().order(ByteOrder.nativeOrder())

    /** @throws BadModel unless there is a label for each value of the output */
    fun labels(): List<String> {
        val classes = file.outputs.first().shape.lastOrNull() ?: 1
        if (file.labels.size != classes) throw BadModel(Problem.LABELS, file.labels.size, classes)
        return file.labels
    }

    override fun close() = interpreter.close()

    private fun tokenizer(): WordPiece {
        val takes = file.takes as TakesText
        val vocabulary = takes.vocabulary ?: throw BadModel(Problem.VOCABULARY, "")
        return try {
            WordPiece(vocabulary, takes.lowercase, file.inputs.first().shape.last())
        } catch (e: IllegalArgumentException) {
            throw BadModel(Problem.VOCABULARY, e.message.orEmpty(), cause = e)
        }
    }

    private fun unfit(index: Int = 0): BadModel {
        if (file.takes == null) return BadModel(Problem.NO_METADATA)
        return BadModel(Problem.INPUT, file.inputs[index].name, file.inputs[index].toString())
    }

    private companion object {
        const val FLOAT = "FLOAT32"
        const val INT = "INT32"
        const val IMAGE_DIMENSIONS = 4
        const val COLOURS = 3
        const val WHITE = 255
        val BYTES = mapOf(FLOAT to 4, INT to 4, "UINT8" to 1, "INT8" to 1, "BOOL" to 1, "INT16" to 2, "INT64" to 8)
        val LACKING = Regex("builtin opcode '(\\w+)' version '(\\d+)'")

        fun List<Float>.of(channel: Int) = getOrNull(channel) ?: first()

        /** Zeros for a tensor; an open size is 1. */
        fun buffer(tensor: TensorInfo): ByteBuffer {
            val each = BYTES[tensor.type] ?: throw BadModel(Problem.INPUT, tensor.name, tensor.toString())
            val bytes = tensor.shape.fold(each) { all, size -> all * if (size < 0) 1 else size }
            return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
        }

        fun interpreter(file: ModelFile, content: ByteBuffer, threads: Int, clustered: Delegate?): Interpreter {
            val options = Interpreter.Options().setNumThreads(threads)
            if (file.isPacked) options.addDelegate(clustered ?: throw BadModel(Problem.CLUSTERED_RUNTIME))
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
            val found = LACKING.find(message)?.groupValues
            val custom = file.operators.firstOrNull { it.custom && !it.isPacked }
            return when {
                found != null -> BadModel(Problem.OPERATOR, found[1], found[2].toInt(), cause = error)
                custom != null -> BadModel(Problem.CUSTOM_OPERATOR, custom.name, cause = error)
                else -> BadModel(Problem.REFUSED, message, cause = error)
            }
        }
    }
}
