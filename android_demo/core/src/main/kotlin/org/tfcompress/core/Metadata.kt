package org.tfcompress.core

import java.io.IOException
import org.tensorflow.lite.support.metadata.MetadataExtractor
import org.tensorflow.lite.support.metadata.schema.AssociatedFileType
import org.tensorflow.lite.support.metadata.schema.BertTokenizerOptions
import org.tensorflow.lite.support.metadata.schema.ContentProperties
import org.tensorflow.lite.support.metadata.schema.NormalizationOptions
import org.tensorflow.lite.support.metadata.schema.ProcessUnitOptions

/** How a phone makes a model's input. */
sealed interface Takes

/** An image: pixels of 0 to 255, less `mean`, divided by `std`; a number for all channels or one for each. */
data class TakesImage(val mean: List<Float>, val std: List<Float>) : Takes

/**
 * A text as BERT's token ids.
 *
 * @property vocabulary null if the file lacks the one that it names.
 * @property names of the inputs: `ids`, `segment_ids` and `mask`, in the inputs' order.
 */
class TakesText(val vocabulary: List<String>?, val lowercase: Boolean, val names: List<String>) : Takes

/** The TFLite Metadata of a file; whatever in it is damaged throws some RuntimeException. */
internal class Metadata(private val extractor: MetadataExtractor) {
    private val model = extractor.modelMetadata
    private val graph = if (model.subgraphMetadataLength() > 0) model.subgraphMetadata(0) else null

    val name: String get() = model.name().orEmpty()
    val description: String get() = model.description().orEmpty()

    val labels: List<String>
        get() {
            val outputs = items(graph?.outputTensorMetadataLength() ?: 0) { graph!!.outputTensorMetadata(it) }
            val files = outputs.flatMap { items(it.associatedFilesLength(), it::associatedFiles) }
            val file = files.firstOrNull { it.type() == AssociatedFileType.TENSOR_AXIS_LABELS }
            return file?.name()?.let(::lines).orEmpty()
        }

    fun takes(inputs: List<TensorInfo>): Takes? = text(inputs) ?: image()

    private fun text(inputs: List<TensorInfo>): TakesText? {
        if (graph == null) return null
        for (unit in items(graph.inputProcessUnitsLength(), graph::inputProcessUnits)) {
            if (unit.optionsType() != ProcessUnitOptions.BertTokenizerOptions) continue
            val options = unit.options(BertTokenizerOptions()) as BertTokenizerOptions
            val file = if (options.vocabFileLength() > 0) options.vocabFile(0).name() else null
            val names = items(graph.inputTensorMetadataLength()) { graph.inputTensorMetadata(it).name().orEmpty() }
            // Other tools do not say; BERTs on phones are uncased.
            val lowercase = lines(SETTINGS)?.none { CASED.containsMatchIn(it) } ?: true
            return TakesText(file?.let(::lines), lowercase, names.ifEmpty { inputs.map(TensorInfo::name) })
        }
        return null
    }

    private fun image(): TakesImage? {
        if (graph == null) return null
        for (tensor in items(graph.inputTensorMetadataLength(), graph::inputTensorMetadata)) {
            if (tensor.content()?.contentPropertiesType() != ContentProperties.ImageProperties) continue
            for (unit in items(tensor.processUnitsLength(), tensor::processUnits)) {
                if (unit.optionsType() != ProcessUnitOptions.NormalizationOptions) continue
                val options = unit.options(NormalizationOptions()) as NormalizationOptions
                return TakesImage(items(options.meanLength(), options::mean), items(options.stdLength(), options::std))
            }
            return TakesImage(listOf(0f), listOf(1f))
        }
        return null
    }

    /** A file of the archive behind the flatbuffer, by lines; null if it is not there: some tools cut the archive off. */
    private fun lines(name: String): List<String>? {
        val names = try {
            extractor.associatedFileNames
        } catch (_: IllegalStateException) { // There is no archive.
            return null
        }
        if (name !in names) return null
        val bytes = extractor.getAssociatedFile(name).use { it.readBytes() }
        if (bytes.size > MOST_BYTES) throw IOException("$name has ${bytes.size} bytes")
        return bytes.toString(Charsets.UTF_8).removeSuffix("\n").split("\n").map { it.removeSuffix("\r") }
    }

    private companion object {
        /** Of tfcompress's own files: whether a text is lower-cased. */
        const val SETTINGS = "tokenizer.json"
        val CASED = Regex(""""lowercase"\s*:\s*false""")
        const val MOST_BYTES = 1 shl 24
    }
}
