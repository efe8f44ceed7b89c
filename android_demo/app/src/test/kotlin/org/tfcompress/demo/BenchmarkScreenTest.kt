package org.tfcompress.demo

import android.content.Intent
import android.net.Uri
import android.view.View
import android.widget.Button
import android.widget.ProgressBar
import java.io.File
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf

@RunWith(RobolectricTestRunner::class)
class BenchmarkScreenTest {
    private val MainActivity.start get() = findViewById<Button>(R.id.start)
    private val MainActivity.share get() = findViewById<Button>(R.id.share)
    private val state get() = context().app.benchmark.state.value

    @Test
    fun `it is cancelled and resumes, in this process or the next`() {
        launch().use { controller ->
            controller.get().choose(R.id.tab_benchmark)
            assertFalse(controller.get().share.isEnabled)
            await("a ready benchmark") { controller.get().start.isEnabled }
            controller.get().start.performClick()
            await("two rows") { state.rows.size == 2 }
            assertEquals(context().getString(R.string.cancel), controller.get().start.text)
            assertEquals(View.VISIBLE, controller.get().findViewById<ProgressBar>(R.id.progress).visibility)

            controller.recreate() // The benchmark does not stop.
            await("three rows") { state.rows.size == 3 }
            controller.get().start.performClick()
            await("the end") { !state.isRunning }
            val kept = state.rows
            assertEquals(context().getString(R.string.resume), controller.get().start.text)

            // As another process would, a new object reads the rows from the file.
            val later = quickBenchmark()
            assertEquals(kept, later.state.value.rows)
            assertTrue(later.state.value.isUnfinished)
            val models = library().all
            later.start(models)
            await("the end") { !later.state.value.isRunning }
            assertEquals(models.size * 3, later.state.value.rows.size)
            assertEquals(kept, later.state.value.rows.take(kept.size))
            assertFalse(later.state.value.isUnfinished)
        }
    }

    @Test
    fun `the shared report is in the format that tfcompress reads`() {
        val models = library().all
        val quick = quickBenchmark()
        quick.start(models.take(2))
        await("the end") { !quick.state.value.isRunning }
        launch().use { controller ->
            controller.get().choose(R.id.tab_benchmark)
            await("the rows") { controller.get().share.isEnabled }
            val shown = controller.get().findViewById<View>(R.id.rows).texts()
            assertTrue("$shown", shown.any { "median" in it && "p90" in it && "not available on this phone" in it })
            controller.get().share.performClick()
            await("the chooser") { shadowOf(controller.get()).peekNextStartedActivity() != null }
            val chooser = shadowOf(controller.get()).nextStartedActivity
            val intent = checkNotNull(chooser.getParcelableExtra(Intent.EXTRA_INTENT, Intent::class.java))
            assertEquals("application/json", intent.type)
            val uri = checkNotNull(intent.getParcelableExtra(Intent.EXTRA_STREAM, Uri::class.java))
            val text = checkNotNull(context().contentResolver.openInputStream(uri)).reader().use { it.readText() }
            File("target/phone.json").writeText(text) // For `tfcompress compare --from-phone`.
            val json = JSONObject(text)
            assertEquals("tfcompress.phone", json.getString("format"))
            assertEquals(35, json.getJSONObject("device").getInt("api"))
            val rows = json.getJSONArray("rows")
            assertEquals(listOf(1, 2, 4, 1, 2, 4), List(rows.length()) { rows.getJSONObject(it).getInt("threads") })
            assertEquals(models[0].sha256, rows.getJSONObject(0).getString("sha256"))
            assertTrue(rows.getJSONObject(0).getDouble("median_ms") > 0)
        }
    }
}
