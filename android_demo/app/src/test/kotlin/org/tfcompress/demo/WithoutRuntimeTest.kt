package org.tfcompress.demo

import android.view.View
import android.widget.Spinner
import android.widget.TextView
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.tfcompress.runtime.ClusteredDelegate

/** Runs in a process of its own that cannot load the library of the packed runtime. */
@RunWith(RobolectricTestRunner::class)
class WithoutRuntimeTest {
    @Test
    fun `the stock model runs, and the page says why the packed one does not`() {
        assertFalse(ClusteredDelegate.isAvailable)
        launch().use { controller ->
            val page = controller.get().page(R.id.image)
            await("results") { null !in controller.get().best(R.id.image) }
            val notice = page.findViewById<TextView>(R.id.notice)
            assertTrue("${notice.text}", "libtfcompress_runtime.so" in notice.text)
            val second = page.findViewById<View>(R.id.second).findViewById<Spinner>(R.id.choice)
            val run = group("vit_digits").manifest
            val title = run.models.single { it.file == "compressed.tflite" }.title
            assertEquals("${run.title}: $title", second.selectedItem)
        }
    }

    @Test
    fun `the list of models says that packed ones cannot run`() {
        launch().use { controller ->
            controller.get().choose(R.id.tab_models)
            val why = context().getString(R.string.bad_no_packed_runtime)
            val packed = library().bundled.count { it.about.isPacked }
            await("$packed models refused") {
                controller.get().findViewById<View>(R.id.cards).texts().count { it == why } == packed
            }
        }
    }
}
