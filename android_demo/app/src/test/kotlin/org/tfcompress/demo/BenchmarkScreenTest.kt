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
    private val benchmark get() = context().app.benchmark

    @Test
    fun `it is cancelled, goes on where it was, and is shared`() {
        launch().use { controller ->
            controller.get().choose(R.id.tab_benchmark)
            assertFalse(controller.get().share.isEnabled)
            controller.get().start.performClick()
            await("two rows") { benchmark.rows.size == 2 }
            assertEquals(context().getString(R.string.cancel), controller.get().start.text)
            assertEquals(View.VISIBLE, controller.get().findViewById<ProgressBar>(R.id.progress).visibility)

            controller.recreate() // It runs on.
            await("three rows") { benchmark.rows.size == 3 }
            controller.get().start.performClick()
            await("the end") { !benchmark.isRunning }
            val kept = benchmark.rows
            assertEquals(context().getString(R.string.go_on), controller.get().start.text)

            // Another process finds the rows in the file.
            val later = quickBenchmark()
            assertEquals(kept, later.rows)
            assertTrue(later.isUnfinished)
            val models = context().app.models
            later.start(models.all, models::feed)
            await("the end") { !later.isRunning }
            assertEquals(models.all.size * 3, later.rows.size)
            assertEquals(kept, later.rows.take(kept.size))
            assertFalse(later.isUnfinished)
        }
    }

    @Test
    fun `what is shared is what tfcompress reads`() {
        val models = context().app.models
        val quick = quickBenchmark()
        quick.start(models.all.take(2), models::feed)
        await("the end") { !quick.isRunning }
        launch().use { controller ->
            controller.get().choose(R.id.tab_benchmark)
            val shown = controller.get().findViewById<View>(R.id.rows).texts()
            assertTrue("$shown", shown.any { "median" in it && "p90" in it && "not available on this phone" in it })
            controller.get().share.performClick()
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
            assertEquals(models.all[0].sha256, rows.getJSONObject(0).getString("sha256"))
            assertTrue(rows.getJSONObject(0).getDouble("median_ms") > 0)
        }
    }
}
