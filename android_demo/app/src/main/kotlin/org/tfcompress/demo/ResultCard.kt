package org.tfcompress.demo

import android.graphics.Bitmap
import android.graphics.drawable.BitmapDrawable
import android.view.View
import android.view.ViewGroup
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.LinearLayout
import android.widget.ProgressBar
import android.widget.Spinner
import android.widget.TextView
import org.tfcompress.core.Classifier
import org.tfcompress.core.Latency

/**
 * A model that the user chooses, its answers for an input, and the time that they took.
 *
 * @param isFirst whether this is the card on the left, which starts with the original model.
 * @param tell is called when the user has chosen another model.
 * @property chosen the key of the chosen model, which outlives the activity.
 */
class ResultCard(
    private val activity: MainActivity,
    private val view: View,
    private val worker: Worker,
    private val isFirst: Boolean,
    var chosen: String?,
    private val tell: () -> Unit
) {
    private val choice: Spinner = view.findViewById(R.id.choice)
    private val cost: TextView = view.findViewById(R.id.cost)
    private val scores: LinearLayout = view.findViewById(R.id.scores)
    private val problem: TextView = view.findViewById(R.id.problem)
    private val latest = Latest(worker)
    private var models = emptyList<Model>()
    private var answer: ((Classifier) -> List<Score>)? = null
    private var loaded: Pair<Model, Classifier>? = null // Only the worker uses it.

    private class Outcome(val scores: List<Score>, val milliseconds: Double)

    /** The chosen model; null if there is none to choose from. */
    val model get() = models.firstOrNull { key(it) == chosen }

    init {
        view.visibility = View.GONE // Until there are models.
    }

    /** Offers models. Without an earlier choice, the first card starts with the original, the second with the last. */
    fun offer(models: List<Model>) {
        if (models == this.models) return
        this.models = models
        view.visibility = if (models.isEmpty()) View.GONE else View.VISIBLE
        if (models.isEmpty()) return
        choice.adapter = ArrayAdapter(activity, R.layout.choice, titles()).apply {
            setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
        }
        val start = if (isFirst) 0 else models.indexOfLast { it.group == models[0].group }
        val before = models.indexOfFirst { key(it) == chosen }
        choice.setSelection(if (before < 0) start else before, false)
        choice.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>, view: View?, position: Int, id: Long) =
                choose(models[position])

            override fun onNothingSelected(parent: AdapterView<*>) = Unit
        }
        chosen = key(models[choice.selectedItemPosition])
        run()
    }

    /** Shows what `answer` makes of an input with the chosen model, and with models that are chosen later. */
    fun show(answer: (Classifier) -> List<Score>) {
        this.answer = answer
        run()
    }

    /** Frees the loaded model. Only the worker may call it. */
    fun unload() {
        loaded?.second?.close()
        loaded = null
    }

    private fun titles(): List<String> {
        val hasSeveralGroups = models.mapNotNull(Model::group).distinct().size > 1
        return models.map {
            if (hasSeveralGroups && it.group != null) "${it.group.manifest.title}: ${it.title}" else it.title
        }
    }

    private fun key(model: Model) = "${model.group?.folder}/${model.file}"

    private fun choose(model: Model) {
        if (chosen == key(model)) return
        chosen = key(model)
        tell()
        run()
    }

    private fun run() {
        val answer = answer ?: return
        val model = model ?: return
        latest.run({ outcome(model, answer) }) { result -> show(model, result) }
    }

    private fun outcome(model: Model, answer: (Classifier) -> List<Score>): Outcome {
        val classifier = load(model)
        val found = answer(classifier)
        val latency = checkNotNull(Latency.measure(TIMED, 0.0) { classifier.again() })
        return Outcome(found, latency.medianMs)
    }

    private fun load(model: Model): Classifier {
        loaded?.let { (kept, classifier) -> if (kept == model) return classifier }
        unload()
        return model.load(THREADS).also { loaded = model to it }
    }

    private fun show(model: Model, result: Result<Outcome>) {
        val bytes = activity.bytes(model.about.bytes.toLong())
        problem.showIf(result.exceptionOrNull()?.let(activity::message))
        scores.removeAllViews()
        cost.text = bytes
        result.onSuccess { outcome ->
            cost.text = activity.getString(R.string.cost, activity.milliseconds(outcome.milliseconds), bytes)
            for (score in outcome.scores) scores.addView(row(scores, score))
        }
    }

    private fun row(parent: ViewGroup, score: Score): View {
        val row = activity.layoutInflater.inflate(R.layout.score, parent, false)
        val value = when {
            score.isCosine -> number(score.value.toDouble(), 2)
            else -> activity.getString(R.string.percent, number(PERCENT * score.value, 1))
        }
        row.findViewById<TextView>(R.id.label).run {
            text = score.label
            setCompoundDrawablesRelative(score.picture?.let(::thumbnail), null, null, null)
        }
        row.findViewById<TextView>(R.id.score).text = value
        row.findViewById<ProgressBar>(R.id.bar).run { progress = (score.value * max).toInt() }
        row.contentDescription = activity.getString(R.string.score_description, score.label, value)
        return row
    }

    private fun thumbnail(picture: Bitmap) = BitmapDrawable(activity.resources, picture).apply {
        val side = activity.resources.getDimensionPixelSize(R.dimen.thumbnail)
        setBounds(0, 0, side, side)
        isFilterBitmap = false
    }

    private companion object {
        const val THREADS = 1
        const val TIMED = 3
        const val PERCENT = 100.0
    }
}
