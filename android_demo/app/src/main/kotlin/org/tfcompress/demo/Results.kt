package org.tfcompress.demo

import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.LinearLayout
import android.widget.TextView
import org.tfcompress.core.Classifier
import org.tfcompress.core.Task

/**
 * Two models side by side, each with its results for the same input.
 *
 * @param none the message if the app has no model of the task.
 */
class Results(
    private val activity: MainActivity,
    view: View,
    private val task: Task,
    private val none: Int,
    state: Bundle?
) : AutoCloseable {
    private val worker = Worker("results")
    private val cards: List<ResultCard>
    private val notice: TextView = view.findViewById(R.id.notice)
    private val key = "results $task"

    init {
        val chosen = state?.getStringArray(key)
        stackIfNarrow(view.findViewById(R.id.pair))
        cards = listOf(R.id.first, R.id.second).mapIndexed { place, id ->
            ResultCard(activity, view.findViewById(id), worker, isFirst = place == 0, chosen?.get(place))
        }
    }

    /** Offers the models of a library. */
    fun offer(library: Library) {
        val models = library.of(task)
        val hasPacked = library.bundled.any { it.task == task && it.about.isPacked }
        notice.showIf(
            when {
                models.isEmpty() -> activity.getString(none)
                hasPacked && library.whyNotPacked != null ->
                    activity.getString(R.string.runtime_missing, library.whyNotPacked)
                else -> null
            }
        )
        for (card in cards) card.offer(models)
    }

    fun save(state: Bundle) = state.putStringArray(key, cards.map(ResultCard::chosen).toTypedArray())

    /** Runs both models on an input, in place of the one before. `classify` runs in the background. */
    fun show(classify: (Classifier) -> FloatArray) {
        for (card in cards) card.show(classify)
    }

    override fun close() {
        worker.run({ cards.forEach(ResultCard::unload) })
        worker.close()
    }

    /** Puts one card below the other if words would not fit into half the width: on narrow phones or in large type. */
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

    private companion object {
        const val PAIR_DP = 300
    }
}
