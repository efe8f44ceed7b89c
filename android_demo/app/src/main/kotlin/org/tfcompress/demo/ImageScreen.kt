package org.tfcompress.demo

import android.content.Intent
import android.graphics.Bitmap
import android.graphics.drawable.BitmapDrawable
import android.os.Bundle
import android.provider.MediaStore
import android.view.View
import android.widget.ImageButton
import android.widget.ImageView
import android.widget.LinearLayout
import java.io.IOException
import org.tfcompress.core.Task

/** A picture, bundled or the user's own, through two models. */
class ImageScreen(activity: MainActivity, view: View, state: Bundle?) : Screen(activity, view) {
    private val models = activity.app.models
    private val results = Results(activity, view, Task.IMAGE, R.string.no_images, state)
    private val picture: ImageView = view.findViewById(R.id.picture)
    private val samples = models.samples(Task.IMAGE)

    /** The place of the sample that is shown; -1: the user's own picture. */
    private var shown = state?.getInt(SHOWN) ?: 0

    init {
        val row: LinearLayout = view.findViewById(R.id.samples)
        for (place in samples.indices) row.addView(button(place))
        view.findViewById<View>(R.id.pick).setOnClickListener {
            ask(Intent(Intent.ACTION_GET_CONTENT).setType("image/*"), PICKED, R.string.no_picker)
        }
        view.findViewById<View>(R.id.camera).setOnClickListener {
            val intent = Intent(MediaStore.ACTION_IMAGE_CAPTURE)
                .putExtra(MediaStore.EXTRA_OUTPUT, SharedFiles.uri(SharedFiles.PHOTO))
                .addFlags(Intent.FLAG_GRANT_WRITE_URI_PERMISSION)
            ask(intent, TAKEN, R.string.no_camera)
        }
        choose(shown)
    }

    override fun show() = results.offer()

    override fun save(state: Bundle) {
        state.putInt(SHOWN, shown)
        results.save(state)
    }

    override fun onResult(request: Int, data: Intent?) {
        if (request != PICKED && request != TAKEN) return
        val uri = data?.data
        try {
            if (request == PICKED && uri != null) {
                activity.contentResolver.openInputStream(uri)?.use { from ->
                    photo(activity.filesDir).outputStream().use(from::copyTo)
                }
            }
            choose(OWN)
        } catch (e: IOException) {
            activity.say(activity.message(e).orEmpty())
        } catch (e: SecurityException) { // Providers ask what they like.
            activity.say(activity.message(e).orEmpty())
        }
    }

    override fun close() = results.close()

    private fun choose(place: Int) {
        val bitmap = try {
            if (place == OWN) readPicture(photo(activity.filesDir).readBytes()) else sample(place)
        } catch (_: IOException) {
            if (place == OWN) activity.say(activity.getString(R.string.picture_unreadable))
            return
        }
        shown = place
        picture.setImageDrawable(sharp(bitmap))
        val pixels = bitmap.toPicture()
        results.show { it.classify(pixels) }
    }

    private fun sample(place: Int): Bitmap {
        val (group, name) = samples.getOrNull(place) ?: throw IOException()
        return models.picture(group, name)
    }

    private fun button(place: Int) = ImageButton(activity).apply {
        val (group, name) = samples[place]
        val label = group.manifest.labels.getOrElse(group.manifest.samples.indexOf(name)) { name }
        val side = resources.getDimensionPixelSize(R.dimen.sample)
        layoutParams = LinearLayout.LayoutParams(side, side)
        scaleType = ImageView.ScaleType.FIT_CENTER
        contentDescription = activity.getString(R.string.sample_description, label)
        setImageDrawable(sharp(sample(place)))
        setOnClickListener { choose(place) }
    }

    /** Small pictures are shown by their pixels. */
    private fun sharp(bitmap: Bitmap) = BitmapDrawable(activity.resources, bitmap).apply { isFilterBitmap = false }

    private companion object {
        const val SHOWN = "picture"
        const val OWN = -1
        const val PICKED = 1
        const val TAKEN = 2
    }
}
