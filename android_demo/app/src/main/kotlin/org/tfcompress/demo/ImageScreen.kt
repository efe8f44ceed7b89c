package org.tfcompress.demo

import android.content.Intent
import android.graphics.Bitmap
import android.graphics.drawable.BitmapDrawable
import android.net.Uri
import android.os.Bundle
import android.provider.MediaStore
import android.view.View
import android.widget.ImageButton
import android.widget.ImageView
import android.widget.LinearLayout
import java.io.File
import java.io.IOException
import org.tfcompress.core.Classifier
import org.tfcompress.core.Input
import org.tfcompress.core.Picture
import org.tfcompress.core.Task

/** Classifies a picture, bundled or the user's own, with two models, or finds the samples nearest to it. */
class ImageScreen(activity: MainActivity, view: View, state: Bundle?) : Screen(activity, view) {
    private val worker = own(Worker("pictures"))
    private val latest = Latest(worker)
    private val results = own(Results(activity, view, Input.IMAGE, R.string.no_images, state))
    private val picture: ImageView = view.findViewById(R.id.picture)
    private val row: LinearLayout = view.findViewById(R.id.samples)
    private val photo = SharedFiles.photo(activity.filesDir)
    private var samples: List<Sample>? = null

    @Volatile
    private var nearest = Nearest(emptyList()) // Only the main thread writes it.

    /** The index of the sample that is shown, or [OWN] for the user's own picture. */
    private var shown = state?.getInt(SHOWN) ?: 0

    /** Whether a picture was asked for. If none was, the sample [shown] is, as soon as there are samples. */
    private var isAsked = false

    init {
        view.findViewById<View>(R.id.pick).setOnClickListener {
            ask(Intent(Intent.ACTION_GET_CONTENT).setType("image/*"), PICKED, R.string.no_picker)
        }
        view.findViewById<View>(R.id.camera).setOnClickListener {
            val intent = Intent(MediaStore.ACTION_IMAGE_CAPTURE)
                .putExtra(MediaStore.EXTRA_OUTPUT, SharedFiles.uri(SharedFiles.PHOTO))
                .addFlags(Intent.FLAG_GRANT_WRITE_URI_PERMISSION)
            ask(intent, TAKEN, R.string.no_camera)
        }
        if (shown == OWN) showOwn { photo }
        own(activity.app.models.library.observe { library -> if (library != null) offer(library) })
    }

    override fun save(state: Bundle) {
        state.putInt(SHOWN, shown)
        results.save(state)
    }

    override fun onResult(request: Int, data: Intent?) {
        val uri = data?.data
        when {
            request == PICKED && uri != null -> showOwn { photo.also { copy(uri, it) } }
            request == TAKEN -> showOwn { photo }
        }
    }

    private fun copy(uri: Uri, file: File) = file.replace(Document.of(activity.contentResolver, uri)::copyTo)

    private fun offer(library: Library) {
        if (samples == null) nearest = Nearest(library.samples(Input.IMAGE))
        results.offer(library)
        if (samples != null) return // Only the opened models of a library change.
        samples = library.samples(Input.IMAGE).also(::addButtons)
        if (!isAsked) showSample(shown)
    }

    private fun addButtons(samples: List<Sample>) = worker.run({ samples.map(Sample::picture) }) { bitmaps ->
        for ((place, bitmap) in bitmaps.withIndex()) row.addView(button(place, samples[place], bitmap))
    }

    private fun button(place: Int, sample: Sample, bitmap: Bitmap) = ImageButton(activity).apply {
        val side = resources.getDimensionPixelSize(R.dimen.sample)
        layoutParams = LinearLayout.LayoutParams(side, side)
        scaleType = ImageView.ScaleType.FIT_CENTER
        contentDescription = activity.getString(R.string.sample_description, sample.label)
        setImageDrawable(unfiltered(bitmap))
        setOnClickListener { showSample(place) }
    }

    private fun showSample(place: Int) {
        val sample = samples?.getOrNull(place) ?: return
        load(place, sample::picture)
    }

    /** Shows the picture in the file that `get` returns; `get` runs in the background. */
    private fun showOwn(get: () -> File) = load(OWN) {
        val file = get()
        try {
            decodePicture(file.readBytes())
        } catch (e: IOException) {
            throw Unreadable(e)
        }
    }

    /** Decodes a picture in the background and displays it, unless another one is asked for in the meantime. */
    private fun load(place: Int, decode: () -> Bitmap) {
        isAsked = true
        latest.run({ decode().let { it to it.toPicture() } }) { result ->
            result.onSuccess { (bitmap, pixels) -> display(place, bitmap, pixels) }.onFailure { error ->
                val isUnreadable = error is Unreadable
                activity.say(
                    if (isUnreadable) activity.getString(R.string.picture_unreadable) else activity.message(error)
                )
            }
        }
    }

    private fun display(place: Int, bitmap: Bitmap, pixels: Picture) {
        shown = place
        picture.setImageDrawable(unfiltered(bitmap))
        results.show { answer(it, pixels) }
    }

    private fun answer(model: Classifier, pixels: Picture) = when (model.file.task) {
        Task.EMBEDDING -> nearest.to(pixels, model)
        else -> model.best(model.classify(pixels))
    }

    /** Enlarges small pictures without blurring, so that their pixels can be seen. */
    private fun unfiltered(bitmap: Bitmap) = BitmapDrawable(activity.resources, bitmap).apply { isFilterBitmap = false }

    /** The user's file is not a picture. */
    private class Unreadable(cause: Throwable) : IOException(cause)

    private companion object {
        const val SHOWN = "picture"
        const val OWN = -1
        const val PICKED = 1
        const val TAKEN = 2
    }
}
