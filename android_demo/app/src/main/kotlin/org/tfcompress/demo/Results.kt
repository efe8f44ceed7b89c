package org.tfcompress.demo

import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.LinearLayout
import android.widget.ProgressBar
import android.widget.Spinner
import android.widget.TextView
import org.tfcompress.core.BadModel
import org.tfcompress.core.Classifier
import org.tfcompress.core.Latency
import org.tfcompress.core.Ranked
import org.tfcompress.core.Task
import org.tfcompress.core.top
import org.tfcompress.runtime.ClusteredDelegate

/** Two models of a task side by side, each with the top 3 of the same input and what that took. */
class Results(private val activity: MainActivity, view: View, private val task: Task, none: Int, state: Bundle?) {
    private val models = activity.app.models
    private val worker = Worker("results")
    private val cards: List<Card>
    private val notice: TextView = view.findViewById(R.id.notice)
    private val nothing = activity.getString(none)
    private var choices = emptyList<Model>()
    private var input: ((Classifier) -> FloatArray)? = null

    @Volatile
    private var newest = 0

    init {
        val kept = state?.getStringArray(key)
        stackIfNarrow(view.findViewById(R.id.pair))
        cards =
            listOf(R.id.first, R.id.second).mapIndexed { place, id -> Card(view.findViewById(id), kept?.get(place)) }
        offer()
    }

    private val key get() = "results $task"

    /** Offers the models that there are now. */
    fun offer() {
        val now = models.of(task)
        val whyNot = ClusteredDelegate.whyNot
        val packed = models.bundled.any { it.about.isPacked }
        notice.showIf(
            when {
                now.isEmpty() -> nothing
                packed && whyNot != null -> activity.getString(R.string.runtime_missing, whyNot)
                else -> null
            }
        )
        if (now == choices) return
        choices = now
        for ((place, card) in cards.withIndex()) card.offer(place)
    }

    fun save(state: Bundle) = state.putStringArray(key, cards.map(Card::chosen).toTypedArray())

    /** Runs both models on an input, later ones in place of this. */
    fun show(input: (Classifier) -> FloatArray) {
        this.input = input
        newest++
        for (card in cards) card.run()
    }

    fun close() {
        worker.run({ cards.forEach(Card::unload) })
        worker.close()
    }

    /** Puts the cards one below the other where half the width would break words: on a narrow phone, or in large type. */
    private fun stackIfNarrow(pair: LinearLayout) {
        val screen = activity.resources.configuration
        if (screen.screenWidthDp / screen.fontScale >= PAIR_DP) return
        pair.orientation = LinearLayout.VERTICAL
        for (place in 0 until pair.childCount) {
            (pair.getChildAt(place).layoutParams as LinearLayout.LayoutParams).run {
                width = ViewGroup.LayoutParams.MATCH_PARENT
                weight = 0f
            }
        }
    }

    private class Answer(val top: List<Pair<String, Float>>, val milliseconds: Double)

    private inner class Card(private val view: View, var chosen: String?) {
        private val choice: Spinner = view.findViewById(R.id.choice)
        private val cost: TextView = view.findViewById(R.id.cost)
        private val scores: LinearLayout = view.findViewById(R.id.scores)
        private val problem: TextView = view.findViewById(R.id.problem)
        private var loaded: Pair<Model, Classifier>? = null // The worker's.

        /** The original in the first card, the last of the same run in the second, unless another one was chosen. */
        fun offer(place: Int) {
            view.visibility = if (choices.isEmpty()) View.GONE else View.VISIBLE
            if (choices.isEmpty()) return
            val several = choices.mapNotNull { it.group }.distinct().size > 1
            val titles = choices.map {
                if (several && it.group != null) "${it.group.manifest.title}: ${it.title}" else it.title
            }
            choice.adapter = ArrayAdapter(activity, R.layout.choice, titles).apply {
                setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
            }
            val last = if (place == 0) 0 else choices.indexOfLast { it.group == choices[0].group }
            val before = choices.indexOfFirst { key(it) == chosen }
            choice.setSelection(if (before < 0) last else before, false)
            chosen = key(choices[choice.selectedItemPosition])
            choice.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(parent: AdapterView<*>, view: View?, position: Int, id: Long) {
                    if (chosen == key(choices[position])) return
                    chosen = key(choices[position])
                    run()
                }

                override fun onNothingSelected(parent: AdapterView<*>) = Unit
            }
        }

        private fun key(model: Model) = "${model.group?.folder}/${model.file}"

        fun run() {
            val classify = input ?: return
            val model = choices.firstOrNull { key(it) == chosen } ?: return
            val number = newest
            worker.run({ if (number == newest) runCatching { answer(model, classify) } else null }) { result ->
                if (result != null && number == newest && key(model) == chosen) show(model, result)
            }
        }

        private fun answer(model: Model, classify: (Classifier) -> FloatArray): Answer {
            val kept = loaded
            val classifier = if (kept?.first == model) {
                kept.second
            } else {
                unload()
                model.load(THREADS).also { loaded = model to it }
            }
            val best = top(classify(classifier), SHOWN)
            val labels = classifier.labels()
            val latency = checkNotNull(Latency.measure(TIMED, 0.0) { classifier.run() })
            return Answer(best.map { (index, score): Ranked -> labels[index] to score }, latency.medianMs)
        }

        fun unload() {
            loaded?.second?.close()
            loaded = null
        }

        private fun show(model: Model, result: Result<Answer>) {
            val bytes = activity.bytes(model.about.bytes.toLong())
            val error = result.exceptionOrNull()
            problem.showIf(error?.let { activity.message(it) ?: throw it })
            scores.removeAllViews()
            cost.text = bytes
            val answer = result.getOrNull() ?: return
            cost.text = activity.getString(R.string.cost, activity.milliseconds(answer.milliseconds), bytes)
            for ((label, score) in answer.top) scores.addView(row(scores, label, score))
        }

        private fun row(parent: ViewGroup, label: String, score: Float): View {
            val row = activity.layoutInflater.inflate(R.layout.score, parent, false)
            val percent = activity.getString(R.string.percent, number(PERCENT * score, 1))
            row.findViewById<TextView>(R.id.label).text = label
            row.findViewById<TextView>(R.id.score).text = percent
            row.findViewById<ProgressBar>(R.id.bar).run { progress = (score * max).toInt() }
            row.contentDescription = activity.getString(R.string.score_description, label, percent)
            return row
        }
    }

    private companion object {
        const val PAIR_DP = 300
        const val THREADS = 1
        const val SHOWN = 3
        const val TIMED = 3
        const val PERCENT = 100.0
    }
}
