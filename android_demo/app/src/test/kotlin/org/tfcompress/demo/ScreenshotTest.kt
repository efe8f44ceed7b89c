package org.tfcompress.demo

import android.view.View
import android.widget.TextView
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner

/** Takes screenshots of every page in light, dark, landscape and large type, and fails if text is cut off. */
@RunWith(RobolectricTestRunner::class)
class ScreenshotTest {
    @Test
    fun light() = pictures("light", "w360dp-h740dp-port-notnight-xhdpi")

    @Test
    fun dark() = pictures("dark", "w360dp-h740dp-port-night-xhdpi")

    @Test
    fun landscape() = pictures("landscape", "w740dp-h360dp-land-notnight-xhdpi")

    @Test
    fun `large type`() = pictures("large", "w360dp-h740dp-port-notnight-xhdpi", 1.5f)

    private fun pictures(name: String, qualifiers: String, fontScale: Float = 1f) {
        quickBenchmark().run {
            start(library().all.take(1))
            await("rows") { !state.value.isRunning }
        }
        launch(qualifiers, fontScale).use { controller ->
            val activity = controller.get()
            val pages = listOf(
                Triple("image", R.id.tab_image, R.id.image),
                Triple("text", R.id.tab_text, R.id.text),
                Triple("benchmark", R.id.tab_benchmark, R.id.benchmark),
                Triple("models", R.id.tab_models, R.id.models)
            )
            for ((page, tab, id) in pages) {
                activity.choose(tab)
                await("the page's content") { isComplete(activity, id) }
                activity.screenshot("$page-$name")
                for (view in activity.window.decorView.all()) if (view.isShown) assertNotCut(view)
            }
        }
    }

    private fun isComplete(activity: MainActivity, id: Int): Boolean {
        val texts = activity.page(id).texts()
        return when (id) {
            R.id.image, R.id.text -> texts.count { it.endsWith(" %") } == 6
            R.id.models -> texts.count { context().getString(R.string.model_runs) in it } ==
                library().all.size
            else -> texts.size > 5
        }
    }

    private fun assertNotCut(view: View) {
        if (view !is TextView || view.text.isEmpty()) return
        val layout = checkNotNull(view.layout) { "${view.text} is not laid out" }
        val height = view.height - view.totalPaddingTop - view.totalPaddingBottom
        assertTrue("${view.text} is cut off below", layout.height <= height + 1 || view.maxLines < layout.lineCount)
        if (view.id == R.id.label) assertEquals("${view.text} is broken", 1, layout.lineCount)
        for (line in 0 until layout.lineCount) {
            assertTrue("${view.text} is shortened", layout.getEllipsisCount(line) == 0)
        }
    }
}
