package org.tfcompress.core

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max

/** A picture. `rgb` holds the red, green and blue of each pixel, row by row from the top. */
class Picture(val width: Int, val height: Int, private val rgb: ByteArray) {
    init {
        require(width > 0 && height > 0) { "a picture of $width x $height pixels" }
        require(rgb.size == CHANNELS * width * height) { "${rgb.size} bytes for $width x $height pixels" }
    }

    /**
     * Crops the picture to its central square and resizes that to `size` x `size` with antialiasing.
     *
     * The result equals that of TensorFlow's `tf.image.resize(antialias=True)`: each value is an average, weighted by a
     * triangle whose width follows from the area that a pixel of the result covers.
     *
     * @return red, green and blue in [0, 1], row by row
     */
    fun square(size: Int): FloatArray {
        val side = minOf(width, height)
        val left = (width - side) / 2
        val top = (height - side) / 2
        val spans = List(size) { Span.of(it, side, size) }
        val narrow = FloatArray(side * size * CHANNELS) // `side` rows of `size` pixels each.
        for (y in 0 until side) {
            for ((x, span) in spans.withIndex()) {
                for (channel in 0 until CHANNELS) {
                    var sum = 0f
                    for ((i, weight) in span.weights.withIndex()) {
                        val pixel = (top + y) * width + left + span.first + i
                        sum += weight * (rgb[pixel * CHANNELS + channel].toInt() and BYTE)
                    }
                    narrow[(y * size + x) * CHANNELS + channel] = sum / BYTE
                }
            }
        }
        val row = size * CHANNELS
        return FloatArray(size * row) { place ->
            val span = spans[place / row]
            var sum = 0f
            for ((i, weight) in span.weights.withIndex()) sum += weight * narrow[(span.first + i) * row + place % row]
            sum.coerceIn(0f, 1f)
        }
    }

    /** The source pixels, from `first` on, that one pixel of the result averages, and their weights. */
    private class Span(val first: Int, val weights: FloatArray) {
        companion object {
            fun of(place: Int, from: Int, to: Int): Span {
                val scale = from.toFloat() / to
                val radius = max(scale, 1f)
                val centre = (place + HALF) * scale
                val first = ceil(centre - radius - HALF).toInt().coerceIn(0, from - 1)
                val last = floor(centre + radius - HALF).toInt().coerceIn(0, from - 1)
                val weights = FloatArray(last - first + 1) { max(0f, 1 - abs(first + it + HALF - centre) / radius) }
                val total = weights.sum()
                return Span(first, FloatArray(weights.size) { weights[it] / total })
            }
        }
    }

    private companion object {
        const val CHANNELS = 3
        const val BYTE = 255
        const val HALF = 0.5f
    }
}
