package org.tfcompress.core

import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.sqrt

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

/** Turns a model's output into probabilities: by [softmax], unless it already is one probability or a distribution. */
fun probabilities(scores: FloatArray): FloatArray {
    val already = scores.all { it in 0f..1f } && (scores.size == 1 || abs(scores.sum() - 1) < ROUNDING)
    return if (already) scores else softmax(scores)
}

/** Returns the cosine of the angle between two embeddings: 1 if they point the same way; 0 if one has no direction. */
fun cosine(first: FloatArray, second: FloatArray): Float {
    require(first.size == second.size) { "embeddings of ${first.size} and ${second.size} numbers" }
    val lengths = sqrt(dot(first, first)) * sqrt(dot(second, second))
    return (dot(first, second) / max(lengths, SHORTEST)).toFloat()
}

private fun dot(first: FloatArray, second: FloatArray) = first.indices.sumOf { first[it].toDouble() * second[it] }

private const val ROUNDING = 0.02f
private const val SHORTEST = 1e-12
