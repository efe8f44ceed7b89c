package org.tfcompress.core

import kotlin.math.ceil

/** Times of inferences in milliseconds: the median, and what nine of ten do not exceed (nearest rank). */
data class Latency(val medianMs: Double, val p90Ms: Double, val runs: Int) {
    companion object {
        /**
         * Runs `inference` until both `runs` inferences and `seconds` are over.
         *
         * @param now nanoseconds of a clock that only goes forward.
         * @param goOn asked before each inference; null comes back if it says no.
         */
        fun measure(
            runs: Int,
            seconds: Double,
            now: () -> Long = System::nanoTime,
            goOn: () -> Boolean = { true },
            inference: () -> Unit
        ): Latency? {
            val times = ArrayList<Double>()
            val begin = now()
            while (times.size < runs || now() - begin < seconds * NANOSECONDS) {
                if (!goOn()) return null
                val start = now()
                inference()
                times += (now() - start) / NANOSECONDS_OF_MS
            }
            return of(times)
        }

        /** @throws IllegalArgumentException if there are no times. */
        fun of(times: List<Double>): Latency {
            require(times.isNotEmpty()) { "no inference was timed" }
            val sorted = times.sorted()
            val middle = sorted.size / 2
            val median = if (sorted.size % 2 == 1) sorted[middle] else (sorted[middle - 1] + sorted[middle]) / 2
            return Latency(median, sorted[ceil(NINE_OF_TEN * sorted.size).toInt() - 1], sorted.size)
        }

        private const val NINE_OF_TEN = 0.9
        private const val NANOSECONDS = 1e9
        private const val NANOSECONDS_OF_MS = 1e6
    }
}
