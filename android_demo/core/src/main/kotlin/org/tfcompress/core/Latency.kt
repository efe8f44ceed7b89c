package org.tfcompress.core

import kotlin.math.ceil

/** The median and the 90th percentile (nearest rank) of the times of `runs` inferences, in milliseconds. */
data class Latency(val medianMs: Double, val p90Ms: Double, val runs: Int) {
    companion object {
        /**
         * Times `inference` until it has run at least `runs` times and for at least `seconds`.
         *
         * @param now returns the nanoseconds of a monotonic clock.
         * @param goOn is called before each inference; false stops the measurement.
         * @return null if the measurement was stopped
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

        /** @throws IllegalArgumentException if there are no times */
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
