package org.tfcompress.demo

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Color
import android.graphics.drawable.BitmapDrawable
import android.net.Uri
import android.os.Bundle
import android.provider.MediaStore
import android.view.View
import android.view.ViewGroup
import android.widget.ImageView
import android.widget.Spinner
import android.widget.TextView
import java.io.ByteArrayOutputStream
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowToast
import org.tfcompress.core.Entry

@RunWith(RobolectricTestRunner::class)
class ImageScreenTest {
    private val group get() = context().app.models.groups.single { it.folder == "vit_digits" }

    private fun bytes(file: String): String {
        val model = context().app.models.bundled.single { it.group == group && it.file == file }
        return context().bytes(model.about.bytes.toLong())
    }

    @Test
    fun `each sample is what Python takes it for, in both models`() {
        launch().use { controller ->
            val activity = controller.get()
            val samples = activity.page(R.id.image).findViewById<ViewGroup>(R.id.samples)
            assertEquals(group.manifest.samples.size, samples.childCount)
            for (place in group.manifest.samples.indices) {
                samples.getChildAt(place).performClick()
                activity.awaitGolden(R.id.image, group, place)
            }
            val first = activity.page(R.id.image).findViewById<View>(R.id.first).texts()
            val cost = Regex("""[\d.]+ ms · """ + bytes("base_float32.tflite"))
            assertTrue("$first", first.any(cost::matches))
            assertEquals(3, first.count { it.endsWith(" %") })
        }
    }

    @Test
    fun `another model can be chosen, and is after the phone was turned`() {
        launch().use { controller ->
            val card = controller.get().page(R.id.image).findViewById<View>(R.id.second)
            val spinner = card.findViewById<Spinner>(R.id.choice)
            val titles = (0 until spinner.count).map { spinner.getItemAtPosition(it) as String }
            assertEquals(group.manifest.models.map(Entry::title), titles)
            assertEquals(2, spinner.selectedItemPosition)
            spinner.setSelection(1)
            val cost = { activity: MainActivity ->
                activity.page(R.id.image).findViewById<View>(R.id.second).findViewById<TextView>(R.id.cost).text
            }
            await("the other file's bytes") { bytes("compressed.tflite") in cost(controller.get()) }
            controller.get().page(R.id.image).findViewById<ViewGroup>(R.id.samples).getChildAt(3).performClick()
            controller.recreate()
            await("the same model") { bytes("compressed.tflite") in cost(controller.get()) }
            val expected = listOf("base_float32.tflite", "compressed.tflite").map { golden(group, it)[3] }
            await("$expected") { controller.get().best(R.id.image) == expected }
        }
    }

    @Test
    fun `a picked picture outlives the process`() {
        val uri = Uri.parse("content://pictures/1")
        val state = Bundle()
        launch().use { controller ->
            shadowOf(context().contentResolver).registerInputStream(uri, png(120, 90).inputStream())
            val activity = controller.get()
            activity.page(R.id.image).findViewById<View>(R.id.pick).performClick()
            val asked = shadowOf(activity).nextStartedActivityForResult
            assertEquals(Intent.ACTION_GET_CONTENT, asked.intent.action)
            shadowOf(activity).receiveResult(asked.intent, Activity.RESULT_OK, Intent().setData(uri))
            await("an answer") { null !in activity.best(R.id.image) }
            controller.saveInstanceState(state)
        }
        Robolectric.buildActivity(MainActivity::class.java, Intent()).setup(state).use { controller ->
            await("an answer") { null !in controller.get().best(R.id.image) }
        }
    }

    @Test
    fun `something that is no picture`() {
        val uri = Uri.parse("content://pictures/2")
        launch().use { controller ->
            shadowOf(context().contentResolver).registerInputStream(uri, "%PDF-1.7".byteInputStream())
            val activity = controller.get()
            activity.page(R.id.image).findViewById<View>(R.id.pick).performClick()
            val asked = shadowOf(activity).nextStartedActivityForResult
            shadowOf(activity).receiveResult(asked.intent, Activity.RESULT_OK, Intent().setData(uri))
            assertEquals(context().getString(R.string.picture_unreadable), ShadowToast.getTextOfLatestToast())
        }
    }

    @Test
    fun `the camera is asked to write into the app's folder`() {
        launch().use { controller ->
            val activity = controller.get()
            activity.page(R.id.image).findViewById<View>(R.id.camera).performClick()
            val intent = shadowOf(activity).nextStartedActivityForResult.intent
            assertEquals(MediaStore.ACTION_IMAGE_CAPTURE, intent.action)
            val uri = checkNotNull(intent.getParcelableExtra(MediaStore.EXTRA_OUTPUT, Uri::class.java))
            checkNotNull(context().contentResolver.openOutputStream(uri)).use { it.write(png(80, 80)) }
            shadowOf(activity).receiveResult(intent, Activity.RESULT_OK, null)
            await("an answer") { null !in activity.best(R.id.image) }
            val picture = activity.page(R.id.image).findViewById<ImageView>(R.id.picture)
            assertEquals(80, (picture.drawable as BitmapDrawable).bitmap.width)
        }
    }

    private fun png(width: Int, height: Int): ByteArray {
        val bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888).apply { eraseColor(Color.GRAY) }
        return ByteArrayOutputStream().apply { bitmap.compress(Bitmap.CompressFormat.PNG, 100, this) }.toByteArray()
    }
}
