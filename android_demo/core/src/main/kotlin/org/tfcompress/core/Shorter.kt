package org.tfcompress.core

import org.tensorflow.lite.schema.Model
import org.tensorflow.lite.schema.SignatureDef
import org.tensorflow.lite.schema.TensorMap

/**
 * A signature of a text model for fewer tokens than its first graph takes, so that a short text costs less.
 *
 * @property name the signature's.
 * @property tokens how many it takes.
 * @property inputs the names of its inputs, in the order of those of the first graph.
 * @property output the name of its first output.
 */
class Shorter private constructor(val name: String, val tokens: Int, val inputs: List<String>, val output: String) {
    companion object {
        private val NAME = Regex("length_(\\d{1,6})")

        /** Returns the signatures whose names say that they are for fewer tokens, the fewest first. */
        internal fun read(model: Model): List<Shorter> {
            val signatures = items(model.signatureDefsLength(), model::signatureDefs)
            return signatures.mapNotNull { NAME.matchEntire(it.signatureKey().orEmpty()) }.map { match ->
                // All signatures call their inputs and their output the same.
                val longest = signatures.first { it.subgraphIndex() == 0L }
                of(model, longest, match.value, match.groupValues[1].toInt())
            }.sortedBy(Shorter::tokens)
        }

        private fun of(model: Model, longest: SignatureDef, name: String, tokens: Int): Shorter {
            val graph = model.subgraphs(0)
            val inputs = names(items(longest.inputsLength(), longest::inputs))
            val outputs = names(items(longest.outputsLength(), longest::outputs))
            val ordered = items(graph.inputsLength()) { inputs.getValue(graph.inputs(it)) }
            return Shorter(name, tokens, ordered, outputs.getValue(graph.outputs(0)))
        }

        /** Returns the names by the places of the tensors. */
        private fun names(tensors: List<TensorMap>) = tensors.associate { it.tensorIndex().toInt() to it.name() }
    }
}
