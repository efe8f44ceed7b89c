package org.tfcompress.core

import java.io.IOException
import org.tensorflow.lite.support.metadata.MetadataExtractor
import org.tensorflow.lite.support.metadata.schema.AssociatedFileType
import org.tensorflow.lite.support.metadata.schema.BertTokenizerOptions
import org.tensorflow.lite.support.metadata.schema.ContentProperties
import org.tensorflow.lite.support.metadata.schema.NormalizationOptions
import org.tensorflow.lite.support.metadata.schema.ProcessUnitOptions

/** The TFLite Metadata of a file. Damaged metadata throws any kind of RuntimeException. */
internal class Metadata(private val extractor: MetadataExtractor) {
    private val model = extractor.modelMetadata
    private val graph = if (model.subgraphMetadataLength() > 0) model.subgraphMetadata(0) else null

    val name: String get() = model.name().orEmpty()
    val description: String get() = model.description().orEmpty()

    /** What the answers are; null if the file does not say. */
    val task: Task?
        get() {
            val entries = items(graph?.customMetadataLength() ?: 0) { graph!!.customMetadata(it) }
            val entry = entries.firstOrNull { it.name() == TASK } ?: return null
            return Task.of(ByteArray(entry.dataLength()) { entry.data(it).toByte() }.toString(Charsets.UTF_8))
        }

    /** The names of the outputs, in their order. */
    val outputs: List<String>
        get() = items(graph?.outputTensorMetadataLength() ?: 0) { graph!!.outputTensorMetadata(it).name().orEmpty() }

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
            // Files of other tools do not say; BERT models for phones are usually uncased.
            val settings = lines(SETTINGS).orEmpty()
            val lowercase = settings.none { CASED.containsMatchIn(it) }
            return TakesText(
                file?.let(::lines),
                lowercase,
                settings.any { STRIPPED.containsMatchIn(it) },
                settings.any { PAIRS.containsMatchIn(it) },
                names.ifEmpty { inputs.map(TensorInfo::name) }
            )
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

    /**
     * Returns the lines of a file in the archive that follows the flatbuffer.
     *
     * Null if the file is missing, or the whole archive: some tools drop it when they rewrite a model.
     */
    private fun lines(name: String): List<String>? {
        val names = try {
            extractor.associatedFileNames
        } catch (_: IllegalStateException) { // Thrown if there is no archive.
            return null
        }
        if (name !in names) return null
        val bytes = extractor.getAssociatedFile(name).use { it.readBytes() }
        if (bytes.size > MOST_BYTES) throw IOException("$name has ${bytes.size} bytes")
        return bytes.toString(Charsets.UTF_8).removeSuffix("\n").split("\n").map { it.removeSuffix("\r") }
    }

    private companion object {
        /** Under which tfcompress writes the task. */
        const val TASK = "tfcompress.task"

        /** In which tfcompress writes whether a text is case-folded, its accents are removed, or it is a pair. */
        const val SETTINGS = "tokenizer.json"
        val CASED = Regex(""""lowercase"\s*:\s*false""")
        val STRIPPED = Regex(""""strip_accents"\s*:\s*true""")
        val PAIRS = Regex(""""pairs"\s*:\s*true""")
        const val MOST_BYTES = 1 shl 24
    }
}
