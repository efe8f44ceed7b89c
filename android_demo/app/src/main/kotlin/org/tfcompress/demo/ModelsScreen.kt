package org.tfcompress.demo

import android.content.Intent
import android.net.Uri
import android.view.View
import android.widget.LinearLayout
import android.widget.TextView
import java.io.IOException
import org.tfcompress.core.BadModel
import org.tfcompress.core.Problem

/** The models in the app and any other `.tflite`: what they are, and whether they run here. */
class ModelsScreen(activity: MainActivity, view: View) : Screen(activity, view) {
    private val models = activity.app.models
    private val worker = Worker("models")
    private val refused: TextView = view.findViewById(R.id.refused)
    private val cards: LinearLayout = view.findViewById(R.id.cards)
    private val verdicts = HashMap<Model, Throwable?>()

    init {
        view.findViewById<View>(R.id.open).setOnClickListener {
            // Files of this kind have no type of their own.
            val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).setType("*/*").addCategory(Intent.CATEGORY_OPENABLE)
            ask(intent, OPENED, R.string.no_picker)
        }
    }

    override fun show() {
        list()
        for (model in models.all.filter { it !in verdicts }) {
            worker.run({ runCatching { tryOut(model) }.exceptionOrNull() }) { error ->
                verdicts[model] = error
                list()
            }
        }
    }

    override fun onResult(request: Int, data: Intent?) {
        val uri = data?.data
        if (request == OPENED && uri != null) open(uri)
    }

    override fun close() = worker.close()

    private fun open(uri: Uri) {
        refused.showIf(null)
        worker.run({ runCatching { models.open(uri) }.exceptionOrNull() }) { error ->
            refused.showIf(error?.let { activity.message(it) ?: throw it })
            show()
        }
    }

    /** Loads it, runs it once, and looks whether the other screens can use it. */
    private fun tryOut(model: Model) {
        model.load(threads = 1).use { classifier ->
            classifier.run()
            if (model.task == null) throw BadModel(Problem.NO_METADATA)
            models.feed(model, classifier)
            classifier.labels()
        }
    }

    private fun list() {
        cards.removeAllViews()
        for (model in models.all) {
            val card = activity.layoutInflater.inflate(R.layout.card, cards, false)
            val whence = model.group?.manifest?.title ?: activity.getString(R.string.from_a_file)
            card.findViewById<TextView>(R.id.title).text = activity.getString(R.string.row_title, whence, model.title)
            card.findViewById<TextView>(R.id.details).text = details(model).joinToString("\n")
            val error = verdicts[model]
            if (error != null && error !is BadModel && error !is IOException) throw error
            card.findViewById<TextView>(R.id.problem).showIf(error?.let(activity::message))
            if (model.group == null) remover(card.findViewById(R.id.remove), model)
            cards.addView(card)
        }
    }

    private fun details(model: Model): List<String> {
        val about = try {
            model.about
        } catch (_: BadModel) { // The verdict says so.
            return emptyList()
        }
        val lines = mutableListOf(activity.getString(R.string.model_bytes, activity.bytes(about.bytes.toLong())))
        if (about.description.isNotEmpty()) lines += about.description
        for (tensor in about.inputs) lines += activity.getString(R.string.model_input, tensor.name, "$tensor")
        for (tensor in about.outputs) lines += activity.getString(R.string.model_output, tensor.name, "$tensor")
        if (about.labels.isNotEmpty()) {
            lines += activity.getString(R.string.model_labels, about.labels.take(SHOWN).joinToString())
        }
        if (model in verdicts && verdicts[model] == null) lines += activity.getString(R.string.model_runs)
        return lines
    }

    private fun remover(button: View, model: Model) {
        button.visibility = View.VISIBLE
        button.contentDescription = activity.getString(R.string.remove_description, model.title)
        button.setOnClickListener {
            models.remove(model)
            list()
        }
    }

    private companion object {
        const val OPENED = 3
        const val SHOWN = 20
    }
}
