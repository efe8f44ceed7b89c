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
import org.tfcompress.core.cosine

@RunWith(RobolectricTestRunner::class)
class TextScreenTest {
    private val MainActivity.sentence get() = findViewById<EditText>(R.id.sentence)

    private val MainActivity.second get() = findViewById<EditText>(R.id.second_sentence)

    private val group get() = group("bert_half_trec")

    @Test
    fun `labels follow what is typed`() {
        launch().use { controller ->
            val activity = controller.get()
            activity.choose(R.id.tab_text)
            for ((place, texts) in group.manifest.samples.withIndex()) {
                val text = texts.single()
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
            await("a button per sample") { samples.childCount == library().groups.sumOf { it.texts.size } }
            samples.getChildAt(3).performClick()
            assertEquals((samples.getChildAt(3) as TextView).text.toString(), activity.sentence.text.toString())
            activity.awaitGolden(R.id.text, group, 3)
        }
    }

    @Test
    fun `an embedding model shows the similarity of two sentences`() {
        val group = group("text_embedding")
        val outputs = golden(group).getJSONObject("base_float32.tflite").getJSONArray("outputs")
        val embeddings = List(outputs.length()) { place ->
            outputs.getJSONArray(place).let { row -> FloatArray(row.length()) { row.getDouble(it).toFloat() } }
        }
        launch().use { controller ->
            val activity = controller.get()
            activity.choose(R.id.tab_text)
            assertEquals(View.GONE, activity.second.visibility)
            activity.select(R.id.text, R.id.first, group, "base_float32.tflite")
            assertEquals(View.VISIBLE, activity.second.visibility)
            for ((place, texts) in group.texts.withIndex()) {
                activity.sentence.setText(texts[0])
                activity.second.setText(texts[1])
                val cosine = cosine(embeddings[2 * place], embeddings[2 * place + 1])
                val expected = listOf(context().getString(R.string.similarity), number(cosine.toDouble(), 2))
                val card = activity.page(R.id.text).findViewById<View>(R.id.first)
                await("$expected") { card.texts().takeLast(2) == expected }
            }
            activity.select(R.id.text, R.id.first, this.group, "base_float32.tflite")
            assertEquals(View.GONE, activity.second.visibility)
        }
    }

    @Test
    fun `a model of pairs takes both fields`() {
        val group = group("text_pairs")
        launch().use { controller ->
            val activity = controller.get()
            activity.choose(R.id.tab_text)
            val samples = activity.findViewById<ViewGroup>(R.id.sentences)
            await("a button per sample") { samples.childCount == library().groups.sumOf { it.texts.size } }
            for (card in listOf(R.id.first, R.id.second)) {
                activity.select(R.id.text, card, group, "base_float32.tflite")
            }
            for ((place, texts) in group.texts.withIndex()) {
                val button = (0 until samples.childCount).map { samples.getChildAt(it) as TextView }
                    .single { it.text.toString() == texts.joinToString("\n") }
                button.performClick()
                assertEquals(texts, listOf(activity.sentence, activity.second).map { it.text.toString() })
                val outputs = golden(group).getJSONObject("base_float32.tflite").getJSONArray("outputs")
                val scores = outputs.getJSONArray(place)
                val best = (0 until scores.length()).maxOf(scores::getDouble)
                val card = activity.page(R.id.text).findViewById<View>(R.id.second)
                val expected = context().getString(R.string.percent, number(100 * best, 1))
                await("$expected for $texts") { expected in card.texts() }
                activity.awaitGolden(R.id.text, group, place)
            }
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
