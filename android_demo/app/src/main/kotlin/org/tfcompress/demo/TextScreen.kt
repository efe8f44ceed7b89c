package org.tfcompress.demo

import android.os.Bundle
import android.text.Editable
import android.text.TextWatcher
import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import org.tfcompress.core.Task

/** A sentence through two models while it is typed. */
class TextScreen(activity: MainActivity, view: View, state: Bundle?) : Screen(activity, view) {
    private val models = activity.app.models
    private val results = Results(activity, view, Task.TEXT, R.string.no_texts, state)
    private val sentence: EditText = view.findViewById(R.id.sentence)

    init {
        sentence.addTextChangedListener(object : TextWatcher {
            override fun beforeTextChanged(text: CharSequence, start: Int, count: Int, after: Int) = Unit

            override fun onTextChanged(text: CharSequence, start: Int, before: Int, count: Int) = Unit

            override fun afterTextChanged(text: Editable) = classify(text.toString())
        })
        val samples = models.samples(Task.TEXT).map { (_, text) -> text }
        val list: LinearLayout = view.findViewById(R.id.sentences)
        for (text in samples) {
            val button = activity.layoutInflater.inflate(R.layout.sentence, list, false) as Button
            button.text = text
            button.setOnClickListener { sentence.setText(text) }
            list.addView(button)
        }
        if (state == null) samples.firstOrNull()?.let(sentence::setText)
    }

    override fun show() = results.offer()

    override fun save(state: Bundle) = results.save(state)

    override fun close() = results.close()

    private fun classify(text: String) = results.show { it.classify(text) }
}
