package org.tfcompress.demo

import android.content.ContentResolver
import android.content.Context
import android.net.Uri
import java.io.File
import org.tfcompress.core.BadModel
import org.tfcompress.core.ModelFile

/** Reads the app's models in the background, opens further ones from files, and removes those. */
class Models(context: Context) {
    private val assets = context.assets
    private val resolver: ContentResolver = context.contentResolver
    private val folder = File(context.filesDir, "opened")
    private val worker = Worker("models")
    private var openings = 0

    /** Null until the models have been read. */
    val library = Observed<Library?>(null)

    /** Why the file that the user opened last was refused; null if it was not. */
    val refusal = Observed<Throwable?>(null)

    init {
        worker.run(::read) { library.value = it }
    }

    /**
     * Copies a file into the app's folder in the background, and adds it to the library or sets [refusal].
     *
     * Of several files that are opened before the first is copied, only the last one's refusal is set.
     */
    fun open(uri: Uri) {
        refusal.value = null
        val number = ++openings
        worker.run({ runCatching { copy(uri) } }) { result ->
            result.onSuccess { model -> library.value = library.value?.with(model) }
            if (number == openings) refusal.value = result.exceptionOrNull()
        }
    }

    /** Deletes a model that was opened from a file, in the background. */
    fun remove(model: Model) {
        worker.run({ File(folder, model.file).delete() }) { library.value = library.value?.without(model.file) }
    }

    private fun read(): Library {
        val groups = Group.all(assets)
        val files = folder.listFiles().orEmpty().sorted()
        files.filter { it.name.endsWith(PARTIAL) }.forEach(File::delete) // The process ended while it copied them.
        return Library(groups, groups.flatMap(Group::models), files.filter { it.name.endsWith(ENDING) }.map(::model))
    }

    private fun copy(uri: Uri): Model {
        val document = Document.of(resolver, uri)
        val limit = minOf(MOST_BYTES, folder.apply { mkdirs() }.usableSpace / 2)
        if (document.bytes > limit) throw BadModel.TooLarge(document.bytes, limit)
        val name = document.name.removeSuffix(ENDING).replace(Regex("[^\\w-]"), "_").take(LONGEST_NAME)
        val file = File(folder, name.ifEmpty { "model" } + ENDING)
        file.replace { partial ->
            document.copyTo(partial, limit)
            ModelFile.read(FileSource(partial).map())
        }
        return model(file)
    }

    private fun model(file: File) = Model.read(null, file.name, file.name.removeSuffix(ENDING), FileSource(file))

    private companion object {
        const val ENDING = ".tflite"
        const val LONGEST_NAME = 60

        /** More than this, a phone may not be able to map into memory. */
        const val MOST_BYTES = 1L shl 30
    }
}
