package org.tfcompress.core

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.schema.BuiltinOperator
import org.tensorflow.lite.schema.Model
import org.tensorflow.lite.schema.TensorType
import org.tensorflow.lite.support.metadata.MetadataExtractor

/** An input or output of a model. A size of -1 in `shape` is open: the caller chooses it. */
data class TensorInfo(val name: String, val type: String, val shape: List<Int>) {
    /** Returns the type and shape, such as `float32 1 x 224 x 224 x 3`. */
    override fun toString() = "${type.lowercase()} ${shape.joinToString(" x ")}"
}

/**
 * An operator that a model uses.
 *
 * @property custom whether it is not one of TensorFlow Lite's own.
 * @property count how often the model uses it.
 */
data class Operator(val name: String, val version: Int, val custom: Boolean, val count: Int) {
    /** Whether only the packed runtime has it. */
    val isPacked get() = custom && name.startsWith("tfcompress.")
}

/**
 * What a `.tflite` file says about its model, in the flatbuffer and in the TFLite Metadata.
 *
 * The zip archive of the metadata, which follows the flatbuffer, is read in place and never unpacked.
 *
 * @property bytes the size of the file.
 * @property outputs by the names that the metadata give them, or else their tensors.
 * @property task what the answers are; null if the file does not say.
 * @property takes how an app prepares the input; null if the file does not say.
 * @property labels the labels of the classes in the order of the outputs; empty if the file has none.
 * @property shorter the signatures for short texts, the shortest first; empty if the file has one length.
 */
class ModelFile private constructor(
    val bytes: Int,
    val name: String,
    val description: String,
    val inputs: List<TensorInfo>,
    val outputs: List<TensorInfo>,
    val operators: List<Operator>,
    val task: Task?,
    val takes: Takes?,
    val labels: List<String>,
    val shorter: List<Shorter>
) {
    /** Whether the file is packed, so that only the packed runtime can run it. */
    val isPacked get() = operators.any(Operator::isPacked)

    /** Whether the answers are one probability per class, which is assumed of files that do not say. */
    val isClassifier get() = task == null || task == Task.CLASSIFICATION

    companion object {
        private const val IDENTIFIER = "TFL3"
        private const val LEAST_BYTES = 8

        /**
         * Reads the file from the start of the buffer.
         *
         * @throws BadModel.NotAModel if it is not a `.tflite` file
         * @throws BadModel.Damaged if it is truncated or overwritten
         */
        fun read(content: ByteBuffer): ModelFile {
            val buffer = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
            if (buffer.remaining() < LEAST_BYTES || !Model.ModelBufferHasIdentifier(buffer)) {
                throw BadModel.NotAModel()
            }
            return orDamaged {
                val model = Model.getRootAsModel(buffer)
                check(model)
                val graph = model.subgraphs(0)
                val extractor = MetadataExtractor(buffer.duplicate())
                val metadata = if (extractor.hasMetadata()) Metadata(extractor) else null
                val inputs = items(graph.inputsLength()) { tensor(model, graph.inputs(it)) }
                val names = metadata?.outputs.orEmpty()
                val outputs = items(graph.outputsLength()) { place ->
                    val output = tensor(model, graph.outputs(place))
                    output.copy(name = names.getOrNull(place)?.ifEmpty { null } ?: output.name)
                }
                ModelFile(
                    buffer.remaining(),
                    metadata?.name.orEmpty(),
                    metadata?.description.orEmpty(),
                    inputs,
                    outputs,
                    operators(model),
                    metadata?.task,
                    metadata?.takes(inputs),
                    metadata?.labels.orEmpty(),
                    Shorter.read(model)
                )
            }
        }

        /** Reads the last byte of each buffer and checks each index, which finds a truncated file. */
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
                for (operator in items(graph.operatorsLength(), graph::operators)) {
                    counts.merge(operator.opcodeIndex().toInt(), 1, Int::plus)
                }
            }
            return counts.toSortedMap().map { (index, count) ->
                val code = model.operatorCodes(index)
                // Files written before TensorFlow 2.4 keep the number in another field, of one byte.
                val number = maxOf(code.builtinCode(), code.deprecatedBuiltinCode().toInt())
                val custom = number == BuiltinOperator.CUSTOM
                val name = if (custom) code.customCode() else BuiltinOperator.names.getOrNull(number)
                Operator(name ?: "$number", code.version(), custom, count)
            }
        }

        /** Offsets of a truncated or overwritten flatbuffer lead outside the buffer, which throws various exceptions. */
        private fun <T> orDamaged(read: () -> T): T = try {
            read()
        } catch (e: RuntimeException) {
            throw BadModel.Damaged(e)
        } catch (e: IOException) {
            throw BadModel.Damaged(e)
        }
    }
}

/** Returns a vector's items. A damaged file may claim any length, so no memory is reserved for it in advance. */
internal fun <T> items(count: Int, get: (Int) -> T): List<T> = (0 until count).asSequence().map(get).toList()
