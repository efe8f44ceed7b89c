package org.tfcompress.core

import kotlin.math.abs
import kotlin.math.exp

/** A class and its score. */
data class Ranked(val index: Int, val score: Float)

/** The `count` highest scores, highest first; of equal ones the first. */
fun top(scores: FloatArray, count: Int): List<Ranked> =
    scores.indices.map { Ranked(it, scores[it]) }.sortedByDescending(Ranked::score).take(count)

/** Probabilities of a model that gives logits. */
fun softmax(logits: FloatArray): FloatArray {
    val largest = logits.maxOrNull() ?: return logits
    val powers = FloatArray(logits.size) { exp(logits[it] - largest) }
    val total = powers.sum()
    return FloatArray(logits.size) { powers[it] / total }
}

/** What a model gave, as probabilities: as it is if it is some already, else by [softmax]. */
fun probabilities(scores: FloatArray): FloatArray {
    val already = scores.all { it in 0f..1f } && abs(scores.sum() - 1) < ROUNDING
    return if (already) scores else softmax(scores)
}

private const val ROUNDING = 0.02f
