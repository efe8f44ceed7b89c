package org.tfcompress.demo

import android.os.Bundle
import android.text.Editable
import android.text.TextWatcher
import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import org.tfcompress.core.Task

/** Classifies a sentence with two models while it is typed. */
class TextScreen(activity: MainActivity, view: View, state: Bundle?) : Screen(activity, view) {
    private val results = own(Results(activity, view, Task.TEXT, R.string.no_texts, state))
    private val sentence: EditText = view.findViewById(R.id.sentence)
    private val list: LinearLayout = view.findViewById(R.id.sentences)
    private val isNew = state == null

    init {
        sentence.addTextChangedListener(object : TextWatcher {
            override fun beforeTextChanged(text: CharSequence, start: Int, count: Int, after: Int) = Unit

            override fun onTextChanged(text: CharSequence, start: Int, before: Int, count: Int) = Unit

            override fun afterTextChanged(text: Editable) = classify(text.toString())
        })
        own(activity.app.models.library.observe { library -> if (library != null) offer(library) })
    }

    override fun save(state: Bundle) = results.save(state)

    private fun offer(library: Library) {
        results.offer(library)
        if (list.childCount > 0) return // Only the opened models of a library change.
        val samples = library.samples(Task.TEXT).map(Sample::content)
        for (text in samples) {
            val button = activity.layoutInflater.inflate(R.layout.sentence, list, false) as Button
            button.text = text
            button.setOnClickListener { sentence.setText(text) }
            list.addView(button)
        }
        if (isNew && sentence.text.isEmpty()) samples.firstOrNull()?.let(sentence::setText)
    }

    private fun classify(text: String) = results.show { it.classify(text) }
}
