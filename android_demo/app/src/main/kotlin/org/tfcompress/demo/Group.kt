package org.tfcompress.demo

import android.content.res.AssetManager
import android.graphics.Bitmap
import java.io.FileNotFoundException
import org.tfcompress.core.Classifier
import org.tfcompress.core.Input
import org.tfcompress.core.Manifest
import org.tfcompress.core.Task

/** A run of tfcompress: the folder of the APK's assets in which its files are. */
class Group(val folder: String, val manifest: Manifest, private val assets: AssetManager) {
    val samples = manifest.samples.mapIndexed { place, content ->
        Sample(this, content, manifest.labels.getOrElse(place) { "#${place + 1}" })
    }

    /** The texts of the samples: one each, or two if the run's models compare texts. */
    val texts: List<List<String>>
        get() = when {
            manifest.input != Input.TEXT -> emptyList()
            manifest.task == Task.EMBEDDING -> manifest.samples.flatten().chunked(2)
            else -> manifest.samples
        }

    /** Reads the bundled models of the run. Not for the main thread. */
    fun models() = manifest.models.map { entry ->
        Model.read(this, entry.file, entry.title, AssetSource(assets, "$folder/${entry.file}"))
    }

    /** Decodes a sample that is an image. Not for the main thread. */
    fun picture(sample: Sample): Bitmap =
        assets.open("$folder/${sample.content.single()}").use { decodePicture(it.readBytes()) }

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
 * @property content the name of an image file, a text, or both texts of a pair.
 * @property label its class, or else its number.
 */
class Sample(private val group: Group, val content: List<String>, val label: String) {
    /** Decodes the image. Not for the main thread. */
    fun picture() = group.picture(this)

    /** Runs a model of the sample's run on it. Not for the main thread. */
    fun classify(classifier: Classifier): FloatArray = when (group.manifest.input) {
        Input.IMAGE -> classifier.classify(picture().toPicture())
        Input.TEXT -> classifier.classify(content[0], content.getOrElse(1) { "" })
    }
}

/** Sets a model's input to the first sample of its run; that of an opened file stays zero. */
fun Model.feed(classifier: Classifier) {
    group?.samples?.firstOrNull()?.classify(classifier)
}
