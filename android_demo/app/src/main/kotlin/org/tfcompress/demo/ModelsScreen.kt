package org.tfcompress.demo

import android.content.Intent
import android.view.View
import android.widget.LinearLayout
import android.widget.TextView
import org.tfcompress.core.BadModel

/** Lists the models in the app and those opened from files: what they are, and whether they run on this phone. */
class ModelsScreen(activity: MainActivity, view: View) : Screen(activity, view) {
    private val models = activity.app.models
    private val worker = own(Worker("trials"))
    private val cards: LinearLayout = view.findViewById(R.id.cards)
    private var trials = emptyMap<Model, Trial>()
    private var isShown = false

    /** Whether a model runs on this phone. */
    private sealed interface Trial {
        object Pending : Trial

        object Runs : Trial

        class Fails(val message: String) : Trial
    }

    init {
        view.findViewById<View>(R.id.open).setOnClickListener {
            // Android has no MIME type for .tflite files.
            val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).setType("*/*").addCategory(Intent.CATEGORY_OPENABLE)
            ask(intent, OPENED, R.string.no_picker)
        }
        val refused: TextView = view.findViewById(R.id.refused)
        own(models.refusal.observe { error -> refused.showIf(error?.let(activity::message)) })
        own(models.library.observe { update() })
    }

    override fun show() {
        isShown = true
        update()
    }

    override fun onResult(request: Int, data: Intent?) {
        val uri = data?.data
        if (request == OPENED && uri != null) models.open(uri)
    }

    private fun update() {
        val all = models.library.value?.all.orEmpty()
        if (isShown) for (model in all) if (model !in trials) tryOut(model)
        list(all)
    }

    private fun tryOut(model: Model) {
        trials = trials + (model to Trial.Pending)
        worker.run({ runCatching { runOnce(model) } }) { result ->
            val trial = result.fold({ Trial.Runs }) { error -> Trial.Fails(activity.message(error)) }
            trials = trials + (model to trial)
            list(models.library.value?.all.orEmpty())
        }
    }

    /** Loads and runs a model. Throws if that fails, or if the other pages cannot use the model. */
    private fun runOnce(model: Model) {
        model.load(threads = 1).use { classifier ->
            classifier.run()
            if (model.input == null) throw BadModel.NoMetadata()
            model.feed(classifier)
            if (model.about.isClassifier) classifier.labels()
        }
    }

    private fun list(all: List<Model>) {
        cards.removeAllViews()
        for (model in all) {
            val card = activity.layoutInflater.inflate(R.layout.card, cards, false)
            card.findViewById<TextView>(R.id.title).text = activity.title(model.group, model.title)
            card.findViewById<TextView>(R.id.details).text = details(model).joinToString("\n")
            card.findViewById<TextView>(R.id.problem).showIf((trials[model] as? Trial.Fails)?.message)
            if (model.group == null) addRemove(card.findViewById(R.id.remove), model)
            cards.addView(card)
        }
    }

    private fun details(model: Model): List<String> {
        val about = model.aboutOrNull ?: return emptyList() // The trial says why.
        val lines = mutableListOf(activity.getString(R.string.model_bytes, activity.bytes(about.bytes.toLong())))
        if (about.description.isNotEmpty()) lines += about.description
        about.task?.let { lines += activity.getString(R.string.model_task, it.word) }
        for (tensor in about.inputs) lines += activity.getString(R.string.model_input, tensor.name, "$tensor")
        for (tensor in about.outputs) lines += activity.getString(R.string.model_output, tensor.name, "$tensor")
        if (about.labels.isNotEmpty()) {
            lines += activity.getString(R.string.model_labels, about.labels.take(SHOWN_LABELS).joinToString())
        }
        if (trials[model] == Trial.Runs) lines += activity.getString(R.string.model_runs)
        return lines
    }

    private fun addRemove(button: View, model: Model) {
        button.visibility = View.VISIBLE
        button.contentDescription = activity.getString(R.string.remove_description, model.title)
        button.setOnClickListener { models.remove(model) }
    }

    private companion object {
        const val OPENED = 3
        const val SHOWN_LABELS = 20
    }
}
