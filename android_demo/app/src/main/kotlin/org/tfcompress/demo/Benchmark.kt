package org.tfcompress.demo

import android.os.Debug
import java.io.File
import java.io.IOException
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject
import org.tfcompress.core.BadModel
import org.tfcompress.core.Classifier
import org.tfcompress.core.Latency
import org.tfcompress.core.Measured

/**
 * Measures models with each number of threads, one after the other, on a thread of its own.
 *
 * It belongs to the process, not to the screen: a rotation or another app does not stop it. Each row is written to the
 * app's folder as soon as it is there; a benchmark that was cut off goes on with the next one.
 *
 * @param seconds that each row takes at least.
 * @param runs that each row has at least.
 */
class Benchmark(
    folder: File,
    private val meter: EnergyMeter,
    private val seconds: Double = 3.0,
    private val runs: Int = 20
) {
    /** The row that is being measured. */
    class Progress(val done: Int, val total: Int, val model: Model, val threads: Int)

    private val file = File(folder, "rows.json")
    private val worker = Worker("benchmark")

    @Volatile
    private var cancelled = false

    /** All below belong to the main thread. */
    var rows = emptyList<Measured>()
        private set
    private var total = 0
    var progress: Progress? = null
        private set

    /** Models that cannot be run, and why. */
    var failures = emptyList<Pair<Model, Throwable>>()
        private set

    /** Called whenever something here has changed. */
    var listener: () -> Unit = {}

    init {
        try {
            val kept = JSONObject(file.readText())
            val array = kept.getJSONArray("rows")
            rows = List(array.length()) { Measured.of(array.getJSONObject(it)) }
            total = kept.getInt("total")
        } catch (_: IOException) { // The first time.
        } catch (_: JSONException) { // Another version's.
        }
    }

    val isRunning get() = progress != null

    /** Whether it was cut off and can go on. */
    val isUnfinished get() = !isRunning && rows.size in 1 until total

    /** Begins, or goes on where it was cut off; `feed` gives a model its input. */
    fun start(models: List<Model>, feed: (Model, Classifier) -> Unit) {
        check(!isRunning) { "it is running already" }
        if (!isUnfinished) rows = emptyList()
        cancelled = false
        failures = emptyList()
        total = models.size * THREADS.size
        val plan = models.flatMap { model -> THREADS.map { model to it } }
        next(plan, 0, feed)
    }

    fun cancel() {
        cancelled = true
    }

    private fun next(plan: List<Pair<Model, Int>>, place: Int, feed: (Model, Classifier) -> Unit) {
        if (cancelled || place == plan.size) {
            progress = null
            listener()
            return
        }
        val (model, threads) = plan[place]
        progress = Progress(place, plan.size, model, threads)
        listener()
        val known = rows
        worker.run({ runCatching { measure(model, threads, known, feed) } }) { result ->
            result.onSuccess { row ->
                if (row != null) keep(row)
            }.onFailure { error ->
                if (error !is BadModel && error !is IOException) throw error
                if (failures.none { it.first == model }) failures = failures + (model to error)
                total--
            }
            next(plan, place + 1, feed)
        }
    }

    private fun keep(row: Measured) {
        if (row in rows) return
        rows = rows + row
        val beside = File(file.path + ".part")
        val json = JSONObject().put("total", total).put("rows", JSONArray(rows.map(Measured::toJson)))
        beside.writeText(json.toString())
        beside.renameTo(file)
    }

    /** Null if it was cancelled. */
    private fun measure(
        model: Model,
        threads: Int,
        known: List<Measured>,
        feed: (Model, Classifier) -> Unit
    ): Measured? {
        known.firstOrNull { it.sha256 == model.sha256 && it.threads == threads }?.let { return it }
        Runtime.getRuntime().gc() // So that the last model's memory is not taken for this one's.
        val before = Debug.getPss()
        return model.fresh().load(threads).use { classifier ->
            feed(model, classifier)
            repeat(WARM_UP) { classifier.run() }
            val after = Debug.getPss()
            meter.begin()
            val latency = Latency.measure(runs, seconds, goOn = { !cancelled }) { classifier.run() }
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
