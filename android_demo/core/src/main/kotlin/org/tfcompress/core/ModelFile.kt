package org.tfcompress.core

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.schema.BuiltinOperator
import org.tensorflow.lite.schema.Model
import org.tensorflow.lite.schema.TensorType
import org.tensorflow.lite.support.metadata.MetadataExtractor

/** An input or output; a size of -1 in `shape` is open. */
data class TensorInfo(val name: String, val type: String, val shape: List<Int>) {
    /** As in `float32 1 x 224 x 224 x 3`. */
    override fun toString() = "${type.lowercase()} ${shape.joinToString(" x ")}"
}

/** An operator and how often it occurs; `custom` if it is none of TensorFlow Lite's. */
data class Operator(val name: String, val version: Int, val custom: Boolean, val count: Int) {
    /** Whether it is one that only the clustered runtime has. */
    val isPacked get() = custom && name.startsWith("tfcompress.")
}

/**
 * What a `.tflite` file says of itself: its flatbuffer, and the TFLite Metadata in it and behind it.
 *
 * Nothing of it is written anywhere: files of the archive behind it are read in place.
 *
 * @property takes how a phone makes its input; null where the file does not say.
 * @property labels the classes in the order of the outputs; empty where it does not say.
 */
class ModelFile private constructor(
    val bytes: Int,
    val name: String,
    val description: String,
    val inputs: List<TensorInfo>,
    val outputs: List<TensorInfo>,
    val operators: List<Operator>,
    val takes: Takes?,
    val labels: List<String>
) {
    /** Whether its weights are packed, so that only the clustered runtime can run it. */
    val isPacked get() = operators.any(Operator::isPacked)

    companion object {
        private const val IDENTIFIER = "TFL3"
        private const val LEAST_BYTES = 8

        /** @throws BadModel if it is no `.tflite` file or a damaged one. */
        fun read(content: ByteBuffer): ModelFile {
            val buffer = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
            if (buffer.remaining() < LEAST_BYTES || !Model.ModelBufferHasIdentifier(buffer)) {
                throw BadModel(Problem.NOT_A_MODEL)
            }
            return damages {
                val model = Model.getRootAsModel(buffer)
                check(model)
                val graph = model.subgraphs(0)
                val extractor = MetadataExtractor(buffer.duplicate())
                val metadata = if (extractor.hasMetadata()) Metadata(extractor) else null
                val inputs = items(graph.inputsLength()) { tensor(model, graph.inputs(it)) }
                ModelFile(
                    buffer.remaining(),
                    metadata?.name.orEmpty(),
                    metadata?.description.orEmpty(),
                    inputs,
                    items(graph.outputsLength()) { tensor(model, graph.outputs(it)) },
                    operators(model),
                    metadata?.takes(inputs),
                    metadata?.labels.orEmpty()
                )
            }
        }

        /** Touches the ends of all that the file holds, so that a file that is cut off is found. */
        private fun check(model: Model) {
            check(model.subgraphsLength() > 0) { IDENTIFIER }
            for (place in 0 until model.buffersLength()) {
                val buffer = model.buffers(place)
                if (buffer.dataLength() > 0) buffer.data(buffer.dataLength() - 1)
            }
            for (graph in items(model.subgraphsLength(), model::subgraphs)) {
                for (tensor in items(graph.tensorsLength(), graph::tensors)) {
                    check(tensor.buffer() < model.buffersLength())
                }
                for (operator in items(graph.operatorsLength(), graph::operators)) {
                    check(operator.opcodeIndex() < model.operatorCodesLength())
                }
            }
        }

        private fun tensor(model: Model, index: Int): TensorInfo {
            val tensor = model.subgraphs(0).tensors(index)
            val open = tensor.shapeSignatureLength() == tensor.shapeLength()
            val shape = items(tensor.shapeLength()) { if (open) tensor.shapeSignature(it) else tensor.shape(it) }
            return TensorInfo(tensor.name().orEmpty(), TensorType.name(tensor.type().toInt()), shape)
        }

        private fun operators(model: Model): List<Operator> {
            val counts = HashMap<Int, Int>()
            for (graph in items(model.subgraphsLength(), model::subgraphs)) {
                for (operator in items(
                    graph.operatorsLength(),
                    graph::operators
                )) {
                    counts.merge(operator.opcodeIndex().toInt(), 1, Int::plus)
                }
            }
            return counts.toSortedMap().map { (index, count) ->
                val code = model.operatorCodes(index)
                // Old files have the number in a byte.
                val number = maxOf(code.builtinCode(), code.deprecatedBuiltinCode().toInt())
                val custom = number == BuiltinOperator.CUSTOM
                val name = if (custom) code.customCode() else BuiltinOperator.names.getOrNull(number)
                Operator(name ?: "$number", code.version(), custom, count)
            }
        }

        /** A flatbuffer that is cut off or overwritten points outside itself. */
        private fun <T> damages(read: () -> T): T = try {
            read()
        } catch (e: RuntimeException) {
            throw BadModel(Problem.DAMAGED, cause = e)
        } catch (e: IOException) {
            throw BadModel(Problem.DAMAGED, cause = e)
        }
    }
}

/** A vector's items; its length is not to be trusted, so that nothing is set aside for them. */
internal fun <T> items(count: Int, get: (Int) -> T): List<T> = (0 until count).asSequence().map(get).toList()
