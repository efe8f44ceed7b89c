package org.tfcompress.demo

import java.io.IOException
import java.security.DigestInputStream
import java.security.MessageDigest
import org.tfcompress.core.BadModel
import org.tfcompress.core.Classifier
import org.tfcompress.core.Input
import org.tfcompress.core.ModelFile
import org.tfcompress.core.TakesImage
import org.tfcompress.core.TakesText
import org.tfcompress.core.Task
import org.tfcompress.runtime.ClusteredDelegate

/**
 * A model that the app lists, with what its file says about it.
 *
 * @property group the run that the model is from; null if the user opened it from a file.
 * @property file the name of the file.
 */
class Model private constructor(
    val group: Group?,
    val file: String,
    val title: String,
    private val source: ModelSource,
    private val reading: Result<ModelFile>
) {
    /**
     * What the file says about the model.
     *
     * @throws BadModel if the file is damaged
     * @throws IOException if it cannot be read
     */
    val about: ModelFile get() = reading.getOrThrow()

    /** What the file says about the model; null if it is damaged. */
    val aboutOrNull: ModelFile? get() = reading.getOrNull()

    /** What the model takes; null if the file does not say or is damaged. */
    val input: Input? = when (aboutOrNull?.takes) {
        is TakesImage -> Input.IMAGE
        is TakesText -> Input.TEXT
        null -> null
    }

    /** Whether the pages for images and texts can show the model's answers. */
    val isShown get() = aboutOrNull?.run { isClassifier || task == Task.EMBEDDING } ?: false

    /** Whether the model compares two texts. */
    val takesTwoTexts: Boolean
        get() {
            val takes = aboutOrNull?.takes as? TakesText ?: return false
            return takes.pairs || about.task == Task.EMBEDDING
        }

    /** The SHA-256 of the file, in lower-case hexadecimal. Its first use reads the whole file. */
    val sha256: String by lazy {
        val digest = DigestInputStream(source.open(), MessageDigest.getInstance("SHA-256"))
        digest.use { while (it.read(ByteArray(1 shl 16)) >= 0) continue }
        digest.messageDigest.digest().joinToString("") { "%02x".format(it) }
    }

    /** Reads the file again, so that the new object shares no memory with this one. */
    fun reread() = read(group, file, title, source)

    /**
     * Loads the model. Not for the main thread.
     *
     * @throws BadModel if it does not run on this phone
     */
    fun load(threads: Int): Classifier =
        Classifier(about, source.map(), threads, if (about.isPacked) packedRuntime else null)

    companion object {
        /** One delegate serves all interpreters for as long as the app runs. */
        private val packedRuntime by lazy { if (ClusteredDelegate.isAvailable) ClusteredDelegate() else null }

        /** Reads what the file says about the model. Not for the main thread. */
        fun read(group: Group?, file: String, title: String, source: ModelSource): Model {
            val about = try {
                Result.success(ModelFile.read(source.map()))
            } catch (e: BadModel) {
                Result.failure(e)
            } catch (e: IOException) {
                Result.failure(e)
            }
            return Model(group, file, title, source, about)
        }
    }
}
