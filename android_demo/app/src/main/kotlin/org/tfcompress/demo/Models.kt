package org.tfcompress.demo

import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import android.provider.OpenableColumns
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.security.DigestInputStream
import java.security.MessageDigest
import org.tfcompress.core.BadModel
import org.tfcompress.core.Classifier
import org.tfcompress.core.Manifest
import org.tfcompress.core.ModelFile
import org.tfcompress.core.Problem
import org.tfcompress.core.TakesImage
import org.tfcompress.core.TakesText
import org.tfcompress.core.Task
import org.tfcompress.runtime.ClusteredDelegate

/**
 * A model that can be looked at and run.
 *
 * @property group the run that it is from, or null if it was opened from a file.
 */
class Model(
    val group: Group?,
    val file: String,
    val title: String,
    private val stream: () -> InputStream,
    private val map: () -> ByteBuffer
) {
    /** The file, mapped into memory. */
    val content: ByteBuffer by lazy(map)

    /** @throws BadModel if it is damaged */
    val about: ModelFile by lazy { ModelFile.read(content) }

    val task: Task?
        get() = when (about.takes) {
            is TakesImage -> Task.IMAGE
            is TakesText -> Task.TEXT
            null -> null
        }

    /** In lower-case hexadecimal. */
    val sha256: String by lazy {
        val digest = DigestInputStream(stream(), MessageDigest.getInstance("SHA-256"))
        digest.use { while (it.read(ByteArray(1 shl 16)) >= 0) continue }
        digest.messageDigest.digest().joinToString("") { "%02x".format(it) }
    }

    /** The same, of which nothing is in memory yet. */
    fun fresh() = Model(group, file, title, stream, map)

    /** @throws BadModel if it cannot be run here */
    fun load(threads: Int): Classifier = Classifier(about, content, threads, if (about.isPacked) delegate else null)

    private companion object {
        /** One serves all interpreters, as long as the app runs. */
        val delegate by lazy { if (ClusteredDelegate.isAvailable) ClusteredDelegate() else null }
    }
}

/** What a run of tfcompress left: its folder of the APK, and what is in it. */
class Group(val folder: String, val manifest: Manifest)

/** The models in the APK, and those opened from the phone's files, which are copied into the app's own folder. */
class Models(private val context: Context) {
    private val opened = File(context.filesDir, "opened")

    val groups: List<Group> = folders().mapNotNull { folder ->
        val manifest = try {
            context.assets.open("$folder/$MANIFEST").bufferedReader().use { it.readText() }
        } catch (_: FileNotFoundException) { // Android has folders of its own here.
            return@mapNotNull null
        }
        Group(folder, Manifest.parse(manifest))
    }

    /** Those of the APK. */
    val bundled: List<Model> = groups.flatMap { group ->
        group.manifest.models.map { entry ->
            val asset = "${group.folder}/${entry.file}"
            Model(group, entry.file, entry.title, { context.assets.open(asset) }, { map(asset) })
        }
    }

    /** Those opened from files. */
    var added: List<Model> = opened.listFiles { file -> file.name.endsWith(ENDING) }.orEmpty().sorted().map(::model)
        private set

    val all get() = bundled + added

    /** The models that take this; a packed one only if it can be run here. */
    fun of(task: Task) = all.filter { it.task == task && (!it.about.isPacked || ClusteredDelegate.isAvailable) }

    /** Samples of a task: the run's folder, and a file's name or a text. */
    fun samples(task: Task): List<Pair<Group, String>> =
        groups.filter { it.manifest.task == task }.flatMap { group -> group.manifest.samples.map { group to it } }

    /** Gives a model the first sample of its run; one from a file keeps its zeros. */
    fun feed(model: Model, classifier: Classifier) {
        val sample = model.group?.manifest?.samples?.firstOrNull() ?: return
        when (model.group.manifest.task) {
            Task.IMAGE -> classifier.classify(picture(model.group, sample).toPicture())
            Task.TEXT -> classifier.classify(sample)
        }
    }

    /** A sample of a run of images. */
    fun picture(group: Group, name: String): Bitmap =
        context.assets.open("${group.folder}/$name").use { readPicture(it.readBytes()) }

    /**
     * Copies a file into the app's folder. Takes long: not for the main thread.
     *
     * @throws BadModel if it is too large or no model
     * @throws IOException if it cannot be read or written
     */
    fun open(uri: Uri): Model {
        val (shown, bytes) = describe(uri)
        val limit = minOf(MOST_BYTES, opened.apply { mkdirs() }.usableSpace / 2)
        if (bytes > limit) throw BadModel(Problem.TOO_LARGE, bytes, limit)
        val name = shown.removeSuffix(ENDING).replace(Regex("[^\\w-]"), "_").take(LONGEST_NAME).ifEmpty { "model" }
        val beside = File(opened, "$name.part")
        try {
            val source = context.contentResolver.openInputStream(uri) ?: throw IOException(shown)
            source.use { from -> beside.outputStream().use { to -> from.copyAtMost(limit, to::write) } }
            ModelFile.read(map(beside))
            val file = File(opened, "$name$ENDING")
            if (!beside.renameTo(file)) throw IOException(file.name)
            added = added.filter { it.file != file.name } + model(file)
            return added.last()
        } finally {
            beside.delete()
        }
    }

    /** The folders of the assets; Robolectric gives the paths in them. */
    private fun folders() = context.assets.list("").orEmpty().map { it.substringBefore("/") }.distinct().sorted()

    /** Deletes a model that was opened from a file. */
    fun remove(model: Model) {
        File(opened, model.file).delete()
        added = added - model
    }

    private fun model(file: File) = Model(null, file.name, file.name.removeSuffix(ENDING), file::inputStream, {
        map(file)
    })

    /** Needs an asset that the APK holds uncompressed. */
    private fun map(asset: String): ByteBuffer = context.assets.openFd(asset).use { place ->
        FileInputStream(place.fileDescriptor).channel.use {
            it.map(FileChannel.MapMode.READ_ONLY, place.startOffset, place.declaredLength)
        }
    }

    private fun map(file: File): ByteBuffer = FileInputStream(file).channel.use {
        it.map(FileChannel.MapMode.READ_ONLY, 0, it.size())
    }

    /** The name that a provider shows, and the bytes if it knows them, else 0. */
    private fun describe(uri: Uri): Pair<String, Long> {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        context.contentResolver.query(uri, columns, null, null, null)?.use { cursor ->
            if (cursor.moveToFirst()) {
                val name = cursor.getColumnIndex(OpenableColumns.DISPLAY_NAME)
                val size = cursor.getColumnIndex(OpenableColumns.SIZE)
                val shown = if (name < 0) null else cursor.getString(name)
                return (shown ?: uri.lastPathSegment.orEmpty()) to (if (size < 0) 0 else cursor.getLong(size))
            }
        }
        return uri.lastPathSegment.orEmpty() to 0
    }

    private fun InputStream.copyAtMost(limit: Long, write: (ByteArray, Int, Int) -> Unit) {
        val buffer = ByteArray(1 shl 16)
        var total = 0L
        while (true) {
            val count = read(buffer)
            if (count < 0) return
            total += count
            if (total > limit) throw BadModel(Problem.TOO_LARGE, total, limit)
            write(buffer, 0, count)
        }
    }

    companion object {
        private const val MANIFEST = "manifest.json"
        private const val ENDING = ".tflite"
        private const val LONGEST_NAME = 60

        /** What a phone can map and still use. */
        const val MOST_BYTES = 1L shl 30
    }
}
