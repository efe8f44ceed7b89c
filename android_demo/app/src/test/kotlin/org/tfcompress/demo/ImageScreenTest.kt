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
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowToast
import org.tfcompress.core.Input

@RunWith(RobolectricTestRunner::class)
class ImageScreenTest {
    private val group get() = group("vit_digits")

    private fun bytes(file: String): String {
        val model = library().bundled.single { it.group == group && it.file == file }
        return context().bytes(model.about.bytes.toLong())
    }

    @Test
    fun `both models give each sample Python's label`() {
        launch().use { controller ->
            val activity = controller.get()
            val samples = activity.page(R.id.image).findViewById<ViewGroup>(R.id.samples)
            await("a button per sample") { samples.childCount == library().samples(Input.IMAGE).size }
            for (place in group.samples.indices) {
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
    fun `the choice of a model survives a rotation`() {
        launch().use { controller ->
            val card = controller.get().page(R.id.image).findViewById<View>(R.id.second)
            val spinner = card.findViewById<Spinner>(R.id.choice)
            await("models to choose from") { spinner.count > 0 }
            val titles = (0 until spinner.count).map { spinner.getItemAtPosition(it) as String }
            assertEquals(group.manifest.models.map { "${group.manifest.title}: ${it.title}" }, titles.take(3))
            assertEquals(2, spinner.selectedItemPosition)
            spinner.setSelection(1)
            val cost = { activity: MainActivity ->
                activity.page(R.id.image).findViewById<View>(R.id.second).findViewById<TextView>(R.id.cost).text
            }
            await("the other file's bytes") { bytes("compressed.tflite") in cost(controller.get()) }
            controller.get().page(R.id.image).findViewById<ViewGroup>(R.id.samples).getChildAt(3).performClick()
            controller.get().awaitGolden(R.id.image, 3, "base_float32.tflite", "compressed.tflite")
            controller.recreate()
            await("the same model") { bytes("compressed.tflite") in cost(controller.get()) }
            controller.get().awaitGolden(R.id.image, 3, "base_float32.tflite", "compressed.tflite")
        }
    }

    @Test
    fun `an embedding model finds the samples nearest to a picture`() {
        val group = group("vit_embedding")
        launch().use { controller ->
            val activity = controller.get()
            val samples = activity.page(R.id.image).findViewById<ViewGroup>(R.id.samples)
            await("a button per sample") { samples.childCount == library().samples(Input.IMAGE).size }
            activity.select(R.id.image, R.id.first, group, "base_float32.tflite")
            for (place in listOf(1, 4)) {
                samples.getChildAt(samples.childCount - group.samples.size + place).performClick()
                val first = { activity.page(R.id.image).findViewById<View>(R.id.first) }
                await("the sample itself") { listOf("#${place + 1}", "1.00") == first().texts().takeLast(6).take(2) }
                val rows = first().all().filter { it.id == R.id.label }.map { it as TextView }
                assertEquals(3, rows.count { it.compoundDrawablesRelative[0] != null })
                assertEquals(3, rows.map { it.text }.distinct().size)
            }
        }
    }

    @Test
    fun `a picked picture is read in the background and outlives the process`() {
        val uri = Uri.parse("content://pictures/1")
        val state = Bundle()
        launch().use { controller ->
            val activity = controller.get()
            activity.pick(uri, png(120, 90))
            await("the picture") { activity.shownWidth == 120 }
            await("results") { null !in activity.best(R.id.image) }
            controller.saveInstanceState(state)
        }
        Robolectric.buildActivity(MainActivity::class.java, Intent()).setup(state).use { controller ->
            await("the same picture") { controller.get().shownWidth == 120 }
            await("results") { null !in controller.get().best(R.id.image) }
        }
    }

    @Test
    fun `a file that is not a picture is refused`() {
        val uri = Uri.parse("content://pictures/2")
        launch().use { controller ->
            controller.get().pick(uri, "%PDF-1.7".toByteArray())
            val message = context().getString(R.string.picture_unreadable)
            await(message) { ShadowToast.getTextOfLatestToast() == message }
        }
    }

    @Test
    fun `the models do not replace a picture that is picked before they have been read`() {
        val models = library()
        context().app.models.library.value = null
        launch().use { controller ->
            val read = CountDownLatch(1)
            val activity = controller.get()
            activity.pick(Uri.parse("content://pictures/4"), png(120, 90), before = { read.await() })
            context().app.models.library.value = models
            read.countDown()
            await("the picture") { activity.shownWidth != null }
            assertEquals(120, activity.shownWidth)
        }
    }

    @Test
    fun `a slow picture does not replace what is chosen after it`() {
        val read = CountDownLatch(1)
        val isLate = CountDownLatch(1)
        launch().use { controller ->
            val activity = controller.get()
            val samples = activity.page(R.id.image).findViewById<ViewGroup>(R.id.samples)
            await("a button per sample") { samples.childCount == library().samples(Input.IMAGE).size }
            activity.pick(Uri.parse("content://pictures/3"), png(120, 90), before = {
                read.countDown()
                isLate.await()
            })
            assertTrue(read.await(1, TimeUnit.MINUTES))
            samples.getChildAt(3).performClick()
            isLate.countDown()
            activity.awaitGolden(R.id.image, group, 3)
            assertEquals(8, activity.shownWidth)
        }
    }

    @Test
    fun `pictures are not decoded on the main thread`() {
        assertThrows(IllegalStateException::class.java) { decodePicture(png(10, 10)) }
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
            await("the photo") { activity.shownWidth == 80 }
            await("results") { null !in activity.best(R.id.image) }
        }
    }

    /** Picks a picture of another app, which calls `before` when its stream is opened. */
    private fun MainActivity.pick(uri: Uri, bytes: ByteArray, before: () -> Unit = {}) {
        shadowOf(context().contentResolver).registerInputStreamSupplier(uri) {
            assertNotMainThread()
            before()
            bytes.inputStream()
        }
        page(R.id.image).findViewById<View>(R.id.pick).performClick()
        val asked = shadowOf(this).nextStartedActivityForResult
        assertEquals(Intent.ACTION_GET_CONTENT, asked.intent.action)
        shadowOf(this).receiveResult(asked.intent, Activity.RESULT_OK, Intent().setData(uri))
    }

    private val MainActivity.shownWidth: Int?
        get() {
            val picture = page(R.id.image).findViewById<ImageView>(R.id.picture)
            return (picture.drawable as BitmapDrawable?)?.bitmap?.width
        }

    private fun MainActivity.awaitGolden(page: Int, place: Int, vararg files: String) {
        val expected = files.map { golden(group, it)[place] }
        await("$expected in the cards") { best(page) == expected }
    }

    private fun png(width: Int, height: Int): ByteArray {
        val bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888).apply { eraseColor(Color.GRAY) }
        return ByteArrayOutputStream().apply { bitmap.compress(Bitmap.CompressFormat.PNG, 100, this) }.toByteArray()
    }
}
