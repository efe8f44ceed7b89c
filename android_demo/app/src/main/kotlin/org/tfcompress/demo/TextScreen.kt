package org.tfcompress.demo

import android.os.Bundle
import android.text.Editable
import android.text.TextWatcher
import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import org.tfcompress.core.Classifier
import org.tfcompress.core.Input
import org.tfcompress.core.Task
import org.tfcompress.core.cosine

/** Classifies a sentence or a pair of them with two models, or compares the two, while they are typed. */
class TextScreen(activity: MainActivity, view: View, state: Bundle?) : Screen(activity, view) {
    private val sentence: EditText = view.findViewById(R.id.sentence)
    private val second: EditText = view.findViewById(R.id.second_sentence)
    private val list: LinearLayout = view.findViewById(R.id.sentences)
    private val results = own(Results(activity, view, Input.TEXT, R.string.no_texts, state, ::makeRoom))
    private val isNew = state == null

    init {
        for (field in listOf(sentence, second)) {
            field.addTextChangedListener(object : TextWatcher {
                override fun beforeTextChanged(text: CharSequence, start: Int, count: Int, after: Int) = Unit

                override fun onTextChanged(text: CharSequence, start: Int, before: Int, count: Int) = Unit

                override fun afterTextChanged(text: Editable) = answer()
            })
        }
        own(activity.app.models.library.observe { library -> if (library != null) offer(library) })
    }

    override fun save(state: Bundle) = results.save(state)

    /** Shows the second field if one of the models needs it. */
    private fun makeRoom(models: List<Model>) {
        second.visibility = if (models.any(Model::takesTwoTexts)) View.VISIBLE else View.GONE
    }

    private fun offer(library: Library) {
        results.offer(library)
        if (list.childCount > 0) return // Only the opened models of a library change.
        val samples = library.groups.flatMap(Group::texts)
        for (texts in samples) {
            val button = activity.layoutInflater.inflate(R.layout.sentence, list, false) as Button
            button.text = texts.joinToString("\n")
            button.setOnClickListener { show(texts) }
            list.addView(button)
        }
        if (isNew && sentence.text.isEmpty()) samples.firstOrNull()?.let(::show)
    }

    private fun show(texts: List<String>) {
        sentence.setText(texts[0])
        if (texts.size > 1) second.setText(texts[1])
    }

    private fun answer() {
        val (first, other) = sentence.text.toString() to second.text.toString()
        results.show { answer(it, first, other) }
    }

    private fun answer(model: Classifier, first: String, other: String) = when (model.file.task) {
        Task.EMBEDDING -> {
            val similarity = cosine(model.classify(first), model.classify(other))
            listOf(Score(activity.getString(R.string.similarity), similarity, isCosine = true))
        }
        else -> model.best(model.classify(first, other))
    }
}
