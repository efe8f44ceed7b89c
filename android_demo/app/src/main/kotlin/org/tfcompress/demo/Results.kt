package org.tfcompress.demo

import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.LinearLayout
import android.widget.TextView
import org.tfcompress.core.Classifier
import org.tfcompress.core.Input

/**
 * Two models side by side, each with its results for the same input.
 *
 * @param none the message if the app has no model for the input.
 * @param chosen is called with both models whenever one of them changes.
 */
class Results(
    private val activity: MainActivity,
    view: View,
    private val input: Input,
    private val none: Int,
    state: Bundle?,
    private val chosen: (List<Model>) -> Unit = {}
) : AutoCloseable {
    private val worker = Worker("results")
    private val cards: List<ResultCard>
    private val notice: TextView = view.findViewById(R.id.notice)
    private val key = "results $input"

    init {
        val kept = state?.getStringArray(key)
        stackIfNarrow(view.findViewById(R.id.pair))
        cards = listOf(R.id.first, R.id.second).mapIndexed { place, id ->
            ResultCard(activity, view.findViewById(id), worker, isFirst = place == 0, kept?.get(place), ::tell)
        }
    }

    /** Offers the models of a library. */
    fun offer(library: Library) {
        val models = library.of(input)
        val hasPacked = library.bundled.any { it.input == input && it.about.isPacked }
        notice.showIf(
            when {
                models.isEmpty() -> activity.getString(none)
                hasPacked && library.whyNotPacked != null ->
                    activity.getString(R.string.runtime_missing, library.whyNotPacked)
                else -> null
            }
        )
        for (card in cards) card.offer(models)
        tell()
    }

    private fun tell() = chosen(cards.mapNotNull(ResultCard::model))

    fun save(state: Bundle) = state.putStringArray(key, cards.map(ResultCard::chosen).toTypedArray())

    /** Shows what `answer` makes of an input with each model, in place of the one before, in the background. */
    fun show(answer: (Classifier) -> List<Score>) {
        for (card in cards) card.show(answer)
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
