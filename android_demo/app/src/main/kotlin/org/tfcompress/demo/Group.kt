package org.tfcompress.demo

import android.content.res.AssetManager
import android.graphics.Bitmap
import java.io.FileNotFoundException
import org.tfcompress.core.Classifier
import org.tfcompress.core.Manifest
import org.tfcompress.core.Task

/** A run of tfcompress: the folder of the APK's assets in which its files are. */
class Group(val folder: String, val manifest: Manifest, private val assets: AssetManager) {
    val samples = manifest.samples.mapIndexed { place, name ->
        Sample(this, name, manifest.labels.getOrElse(place) { name })
    }

    /** Reads the bundled models of the run. Not for the main thread. */
    fun models() = manifest.models.map { entry ->
        Model.read(this, entry.file, entry.title, AssetSource(assets, "$folder/${entry.file}"))
    }

    /** Decodes a sample that is an image. Not for the main thread. */
    fun picture(sample: Sample): Bitmap = assets.open("$folder/${sample.content}").use { decodePicture(it.readBytes()) }

    companion object {
        private const val MANIFEST = "manifest.json"

        /** Reads the manifests of all runs in the assets. Not for the main thread. */
        fun all(assets: AssetManager): List<Group> {
            checkNotMainThread()
            // Robolectric lists the files of the folders, too.
            val folders = assets.list("").orEmpty().map { it.substringBefore("/") }.distinct().sorted()
            return folders.mapNotNull { folder ->
                val manifest = try {
                    assets.open("$folder/$MANIFEST").bufferedReader().use { it.readText() }
                } catch (_: FileNotFoundException) { // Android adds folders of its own.
                    return@mapNotNull null
                }
                Group(folder, Manifest.parse(manifest), assets)
            }
        }
    }
}

/**
 * An input that comes with a run.
 *
 * @property content the name of an image file, or a text.
 */
class Sample(private val group: Group, val content: String, val label: String) {
    /** Decodes the image. Not for the main thread. */
    fun picture() = group.picture(this)

    /** Classifies the sample with a model of its run. Not for the main thread. */
    fun classify(classifier: Classifier): FloatArray = when (group.manifest.task) {
        Task.IMAGE -> classifier.classify(picture().toPicture())
        Task.TEXT -> classifier.classify(content)
    }
}

/** Sets a model's input to the first sample of its run; that of an opened file stays zero. */
fun Model.feed(classifier: Classifier) {
    group?.samples?.firstOrNull()?.classify(classifier)
}
