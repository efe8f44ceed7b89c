package org.tfcompress.core

import kotlin.math.abs
import kotlin.math.exp

/** The index of a class and its score. */
data class Ranked(val index: Int, val score: Float)

/** Returns the `count` highest scores, highest first; of equal scores, the lower index comes first. */
fun top(scores: FloatArray, count: Int): List<Ranked> =
    scores.indices.map { Ranked(it, scores[it]) }.sortedByDescending(Ranked::score).take(count)

/** Turns logits into probabilities. */
fun softmax(logits: FloatArray): FloatArray {
    val largest = logits.maxOrNull() ?: return logits
    val powers = FloatArray(logits.size) { exp(logits[it] - largest) }
    val total = powers.sum()
    return FloatArray(logits.size) { powers[it] / total }
}

/** Turns a model's output into probabilities: by [softmax], unless it already is a distribution. */
fun probabilities(scores: FloatArray): FloatArray {
    val already = scores.all { it in 0f..1f } && abs(scores.sum() - 1) < ROUNDING
    return if (already) scores else softmax(scores)
}

private const val ROUNDING = 0.02f
