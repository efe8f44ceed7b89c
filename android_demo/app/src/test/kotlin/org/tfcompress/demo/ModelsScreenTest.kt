package org.tfcompress.demo

import android.app.Activity
import android.content.ContentProvider
import android.content.ContentValues
import android.content.Intent
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import android.view.View
import android.widget.TextView
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.tfcompress.core.Input

@RunWith(RobolectricTestRunner::class)
class ModelsScreenTest {
    private val folder = File(context().cacheDir, "elsewhere").apply { mkdirs() }

    @Before
    fun provide() {
        Robolectric.setupContentProvider(Elsewhere::class.java, "elsewhere")
    }

    private fun MainActivity.open(name: String, bytes: ByteArray) {
        Elsewhere.file = File(folder, "served").apply { writeBytes(bytes) }
        Elsewhere.name = name
        choose(R.id.tab_models)
        findViewById<View>(R.id.open).performClick()
        val asked = shadowOf(this).nextStartedActivityForResult
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, asked.intent.action)
        val answer = Intent().setData(Uri.parse("content://elsewhere/1"))
        shadowOf(this).receiveResult(asked.intent, Activity.RESULT_OK, answer)
    }

    private val MainActivity.refused get() = findViewById<TextView>(R.id.refused).text.toString()
    private val MainActivity.shown get() = findViewById<View>(R.id.cards).texts().joinToString("\n")

    private fun asset(name: String) = context().assets.open(name).use { it.readBytes() }

    @Test
    fun `the bundled models run`() {
        launch().use { controller ->
            val activity = controller.get()
            activity.choose(R.id.tab_models)
            val runs = context().getString(R.string.model_runs)
            await("all run") { Regex(runs).findAll(activity.shown).count() == library().bundled.size }
            assertTrue("float32 1 x 8 x 8 x 3" in activity.shown)
            assertTrue("Labels: 0, 1, 2" in activity.shown)
            for ((task, output) in listOf(
                "regression" to "numbers: float32 1 x 1",
                "tokens" to "probabilities: float32 1 x 12 x 3",
                "embedding" to "embedding: float32 1 x 16"
            )) {
                assertTrue(task, "Task: $task" in activity.shown)
                assertTrue(output, "Output $output" in activity.shown)
            }
        }
    }

    @Test
    fun `a file is opened in the background, offered on the other pages, and removed`() {
        launch().use { controller ->
            val activity = controller.get()
            activity.open("../../mine?.tflite", asset("vit_digits/packed.tflite"))
            await("the model") { "mine" in activity.shown }
            assertEquals(listOf("______mine_.tflite"), File(context().filesDir, "opened").list().orEmpty().toList())
            activity.choose(R.id.tab_image)
            assertTrue(library().of(Input.IMAGE).any { it.group == null })
            activity.choose(R.id.tab_models)
            val remove = activity.findViewById<View>(R.id.cards).all().single { it.id == R.id.remove && it.isShown }
            remove.performClick()
            await("the removal") { "mine" !in activity.shown }
            assertEquals(0, File(context().filesDir, "opened").list().orEmpty().size)
        }
    }

    @Test
    fun `the outcome of opening a file survives a rotation`() {
        launch().use { controller ->
            controller.get().open("mine.tflite", asset("vit_digits/packed.tflite"))
            controller.recreate()
            await("the model") { "mine" in controller.get().shown }
            controller.get().open("file.tflite", ByteArray(0))
            val message = context().getString(R.string.bad_not_a_model)
            await(message) { controller.get().refused == message }
            controller.recreate()
            assertEquals(message, controller.get().refused)
        }
    }

    @Test
    fun `bad files are refused with the reason`() {
        val digits = asset("vit_digits/compressed.tflite")
        val cases = mapOf(
            ByteArray(0) to R.string.bad_not_a_model,
            "%PDF-1.7 and so on".toByteArray() to R.string.bad_not_a_model,
            digits.copyOf(digits.size / 2) to R.string.bad_damaged
        )
        launch().use { controller ->
            for ((bytes, message) in cases) {
                controller.get().open("file.tflite", bytes)
                await(context().getString(message)) { controller.get().refused == context().getString(message) }
            }
            assertEquals(0, File(context().filesDir, "opened").list().orEmpty().size)
        }
    }

    @Test
    fun `a file that claims 4 GB is refused unread`() {
        launch().use { controller ->
            Elsewhere.bytes = 4L shl 30
            controller.get().open("huge.tflite", ByteArray(10))
            await("refused") { "4,295.0 MB" in controller.get().refused }
            Elsewhere.bytes = null
        }
    }

    @Test
    fun `models that cannot be run say why`() {
        launch().use { controller ->
            val activity = controller.get()
            activity.open("newer.tflite", File("../core/src/test/resources/newer_operator.tflite").readBytes())
            val operator = context().getString(R.string.bad_operator, "FULLY_CONNECTED", 12)
            await(operator) { operator in activity.shown }
            // Some tools drop the archive with the labels when they rewrite a model.
            val digits = asset("vit_digits/compressed.tflite")
            val archive = digits.toString(Charsets.ISO_8859_1).lastIndexOf("PK\u0003\u0004")
            activity.open("cut.tflite", digits.copyOf(archive))
            await("labels") { context().getString(R.string.bad_labels, 0, 10) in activity.shown }
        }
    }

    @Test
    fun `models are not read on the main thread`() {
        val model = library().bundled[0]
        assertThrows(IllegalStateException::class.java) { model.reread() }
        assertThrows(IllegalStateException::class.java) { model.load(threads = 1) }
        assertThrows(IllegalStateException::class.java) { Group.all(context().assets) }
    }

    /** The files of another app, which must not be called on the main thread. */
    class Elsewhere : ContentProvider() {
        override fun onCreate() = true

        override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
            assertNotMainThread()
            return ParcelFileDescriptor.open(file, ParcelFileDescriptor.MODE_READ_ONLY)
        }

        override fun query(uri: Uri, columns: Array<String>?, s: String?, a: Array<String>?, o: String?): Cursor {
            assertNotMainThread()
            return MatrixCursor(arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)).apply {
                addRow(arrayOf<Any>(name, bytes ?: file.length()))
            }
        }

        override fun getType(uri: Uri) = "application/octet-stream"

        override fun insert(uri: Uri, values: ContentValues?) = null

        override fun delete(uri: Uri, s: String?, a: Array<String>?) = 0

        override fun update(uri: Uri, values: ContentValues?, s: String?, a: Array<String>?) = 0

        companion object {
            lateinit var file: File
            var name = ""
            var bytes: Long? = null
        }
    }
}
