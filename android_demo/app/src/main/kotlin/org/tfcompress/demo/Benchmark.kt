package org.tfcompress.demo

import android.os.Debug
import java.io.File
import java.io.IOException
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject
import org.tfcompress.core.BadModel
import org.tfcompress.core.Latency
import org.tfcompress.core.Measured

/**
 * Measures models with several numbers of threads, one after the other, in the background.
 *
 * It belongs to the process, so neither a rotation nor another app in front stops it. Each row is written to the app's
 * folder once it is measured; if the process is killed, the next one resumes after the last row.
 *
 * @param seconds the least time to measure for each row.
 * @param runs the least number of inferences to measure for each row.
 */
class Benchmark(
    folder: File,
    private val meter: EnergyMeter,
    private val seconds: Double = 3.0,
    private val runs: Int = 20
) {
    /** A row that is being measured: number `done` of `total`, counted from 0. */
    class Progress(val done: Int, val total: Int, val model: Model, val threads: Int)

    /**
     * A benchmark at one time.
     *
     * @property total the number of rows when it is complete.
     * @property progress null if it is not running.
     * @property failures models that cannot be measured, and why.
     * @property isReady whether the rows of an earlier process have been read.
     */
    data class State(
        val rows: List<Measured> = emptyList(),
        val total: Int = 0,
        val progress: Progress? = null,
        val failures: List<Pair<Model, Throwable>> = emptyList(),
        val isReady: Boolean = false
    ) {
        val isRunning get() = progress != null

        /** Whether it was interrupted and can resume. */
        val isUnfinished get() = !isRunning && rows.size in 1 until total
    }

    val state = Observed(State())
    private val file = File(folder, "rows.json")
    private val worker = Worker("benchmark")

    @Volatile
    private var isCancelled = false

    init {
        worker.run(::restore) { state.value = it }
    }

    /** Starts, or resumes if it was interrupted. */
    fun start(models: List<Model>) {
        val before = state.value
        check(before.isReady && !before.isRunning) { "the benchmark is not ready, or already running" }
        val plan = models.flatMap { model -> THREADS.map { model to it } }
        isCancelled = false
        state.value = State(if (before.isUnfinished) before.rows else emptyList(), plan.size, isReady = true)
        next(plan, 0)
    }

    fun cancel() {
        isCancelled = true
    }

    private fun next(plan: List<Pair<Model, Int>>, place: Int) {
        if (isCancelled || place == plan.size) {
            state.value = state.value.copy(progress = null)
            return
        }
        val (model, threads) = plan[place]
        val now = state.value.copy(progress = Progress(place, plan.size, model, threads))
        state.value = now
        worker.run({ runCatching { row(model, threads, now) } }) { result ->
            state.value = result.fold({ rows -> now.copy(rows = rows) }) { error ->
                if (error !is BadModel && error !is IOException) throw error
                val isKnown = now.failures.any { it.first == model }
                now.copy(
                    total = now.total - 1,
                    failures = if (isKnown) now.failures else now.failures + (model to error)
                )
            }
            next(plan, place + 1)
        }
    }

    /** Returns the rows with the one of a model, which is measured unless an earlier process did. */
    private fun row(model: Model, threads: Int, before: State): List<Measured> {
        val isKnown = before.rows.any { it.sha256 == model.sha256 && it.threads == threads }
        val row = if (isKnown) null else measure(model, threads)
        return if (row == null) before.rows else (before.rows + row).also { save(it, before.total) }
    }

    private fun restore(): State = try {
        val json = JSONObject(file.readText())
        val array = json.getJSONArray("rows")
        State(List(array.length()) { Measured.of(array.getJSONObject(it)) }, json.getInt("total"), isReady = true)
    } catch (_: IOException) { // There was no benchmark yet.
        State(isReady = true)
    } catch (_: JSONException) { // Another version of the app wrote it.
        State(isReady = true)
    }

    private fun save(rows: List<Measured>, total: Int) {
        val json = JSONObject().put("total", total).put("rows", JSONArray(rows.map(Measured::toJson)))
        file.replace { it.writeText(json.toString()) }
    }

    /** Returns null if the benchmark was cancelled. */
    private fun measure(model: Model, threads: Int): Measured? {
        Runtime.getRuntime().gc() // Otherwise the memory of the model before would count as this one's.
        val before = Debug.getPss()
        return model.reread().load(threads).use { classifier ->
            model.feed(classifier)
            repeat(WARM_UP) { classifier.run() }
            val after = Debug.getPss()
            meter.begin()
            val latency = Latency.measure(runs, seconds, goOn = { !isCancelled }) { classifier.run() }
            val energy = meter.end()
            if (latency == null) return null
            Measured(
                group = model.group?.folder ?: "opened",
                model = model.file,
                title = model.title,
                bytes = model.about.bytes,
                sha256 = model.sha256,
                threads = threads,
                delegate = if (model.about.isPacked) "tfcompress" else "xnnpack",
                latency = latency,
                pssBeforeKib = before,
                pssAfterKib = after,
                energyUj = energy?.let { it.microjoules / latency.runs },
                energySource = energy?.source
            )
        }
    }

    private companion object {
        val THREADS = listOf(1, 2, 4)
        const val WARM_UP = 5
    }
}
