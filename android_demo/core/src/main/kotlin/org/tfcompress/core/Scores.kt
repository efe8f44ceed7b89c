package org.tfcompress.core

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
