package org.tfcompress.demo

import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.EditText
import android.widget.TextView
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner

@RunWith(RobolectricTestRunner::class)
class TextScreenTest {
    private val MainActivity.sentence get() = findViewById<EditText>(R.id.sentence)

    private val group get() = group("bert_half_trec")

    @Test
    fun `labels follow what is typed`() {
        launch().use { controller ->
            val activity = controller.get()
            activity.choose(R.id.tab_text)
            for ((place, text) in group.manifest.samples.withIndex()) {
                for (end in 1..text.length) activity.sentence.setText(text.take(end))
                activity.awaitGolden(R.id.text, group, place)
            }
        }
    }

    @Test
    fun `a sample is classified when it is tapped`() {
        launch().use { controller ->
            val activity = controller.get()
            val samples = activity.findViewById<ViewGroup>(R.id.sentences)
            await("a button per sample") { samples.childCount == group.samples.size }
            samples.getChildAt(3).performClick()
            assertEquals((samples.getChildAt(3) as TextView).text.toString(), activity.sentence.text.toString())
            activity.awaitGolden(R.id.text, group, 3)
        }
    }

    @Test
    fun `unusual text is classified`() {
        launch().use { controller ->
            val activity = controller.get()
            for (text in listOf("", " ", "\u0000", "\uD83D", "日本語 🎉 é", "a".repeat(2000))) {
                activity.sentence.setText(text)
                await("results for $text") { null !in activity.best(R.id.text) }
            }
        }
    }

    @Test
    fun `typed text outlives a rotation and the process`() {
        val state = Bundle()
        launch().use { controller ->
            controller.get().sentence.setText("Where is")
            controller.recreate()
            assertEquals("Where is", controller.get().sentence.text.toString())
            controller.pause().stop().saveInstanceState(state)
        }
        Robolectric.buildActivity(MainActivity::class.java).setup(state).use { controller ->
            assertEquals("Where is", controller.get().sentence.text.toString())
            await("results") { null !in controller.get().best(R.id.text) }
        }
    }
}
