package org.tfcompress.demo

import android.content.ClipData
import android.content.Intent
import android.os.Build
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.LinearLayout
import android.widget.ProgressBar
import android.widget.TextView
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import org.tfcompress.core.Device
import org.tfcompress.core.Measured
import org.tfcompress.core.PhoneReport

/** Shows what every model costs on this phone. */
class BenchmarkScreen(activity: MainActivity, view: View) : Screen(activity, view) {
    private val benchmark = activity.app.benchmark
    private val library = activity.app.models.library
    private val worker = own(Worker("report"))
    private val start: Button = view.findViewById(R.id.start)
    private val share: Button = view.findViewById(R.id.share)
    private val status: TextView = view.findViewById(R.id.status)
    private val bar: ProgressBar = view.findViewById(R.id.progress)
    private val rows: LinearLayout = view.findViewById(R.id.rows)

    init {
        start.setOnClickListener {
            if (benchmark.state.value.isRunning) benchmark.cancel() else library.value?.let { benchmark.start(it.all) }
        }
        share.setOnClickListener { share() }
        own(library.observe { update() })
        own(benchmark.state.observe { update() })
    }

    private fun update() {
        val state = benchmark.state.value
        val progress = state.progress
        start.setText(
            when {
                progress != null -> R.string.cancel
                state.isUnfinished -> R.string.resume
                else -> R.string.start
            }
        )
        start.isEnabled = state.isReady && library.value != null
        share.isEnabled = progress == null && state.rows.isNotEmpty()
        bar.visibility = if (progress == null) View.INVISIBLE else View.VISIBLE
        if (progress != null) {
            bar.max = progress.total
            bar.progress = progress.done
            val title = progress.model.title
            status.text =
                activity.getString(R.string.progress, progress.done + 1, progress.total, title, progress.threads)
            activity.window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        } else {
            status.text = if (state.rows.isEmpty()) activity.getString(R.string.no_rows) else ""
            activity.window.clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        }
        rows.removeAllViews()
        for (row in state.rows) add(heading(row), lines(row), null)
        for ((model, error) in state.failures) add(model.title, "", activity.message(error))
    }

    private fun add(title: String, details: String, problem: String?) {
        val card = activity.layoutInflater.inflate(R.layout.card, rows, false)
        card.findViewById<TextView>(R.id.title).text = title
        card.findViewById<TextView>(R.id.details).showIf(details.ifEmpty { null })
        card.findViewById<TextView>(R.id.problem).showIf(problem)
        rows.addView(card)
    }

    private fun heading(row: Measured): String {
        val group = library.value?.groups?.firstOrNull { it.folder == row.group }
        return activity.title(group, row.title)
    }

    private fun lines(row: Measured): String {
        val median = number(row.latency.medianMs, 2)
        val p90 = number(row.latency.p90Ms, 2)
        val energy = row.energyUj
        val source = if (row.energySource == "battery") R.string.battery else R.string.power_monitors
        return listOf(
            activity.resources.getQuantityString(R.plurals.row_times, row.threads, row.threads, median, p90),
            activity.getString(
                R.string.row_memory,
                activity.bytes(row.pssBeforeKib * KIBI),
                activity.bytes(row.pssAfterKib * KIBI),
                activity.bytes(row.bytes.toLong())
            ),
            if (energy == null) {
                activity.getString(R.string.row_no_energy)
            } else {
                activity.getString(R.string.row_energy, number(energy, 1), activity.getString(source))
            }
        ).joinToString("\n")
    }

    private fun share() {
        val report = report()
        val file = SharedFiles.report(activity.filesDir)
        worker.run({ runCatching { file.replace { it.writeText(report.toJson()) } } }) { result ->
            result.onSuccess { sendReport() }.onFailure { error -> activity.say(activity.message(error)) }
        }
    }

    private fun sendReport() {
        val uri = SharedFiles.uri(SharedFiles.REPORT)
        val intent = Intent(Intent.ACTION_SEND)
            .setType("application/json")
            .putExtra(Intent.EXTRA_STREAM, uri)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        intent.clipData = ClipData.newRawUri(SharedFiles.REPORT, uri) // The flag grants access to this.
        activity.startActivity(Intent.createChooser(intent, activity.getString(R.string.share)))
    }

    private fun report(): PhoneReport {
        val date = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'Z'", Locale.ROOT)
        date.timeZone = TimeZone.getTimeZone("UTC")
        val version = activity.packageManager.getPackageInfo(activity.packageName, 0).versionName
        val cores = Runtime.getRuntime().availableProcessors()
        val abi = Build.SUPPORTED_ABIS.first()
        val device =
            Device(Build.MANUFACTURER, Build.MODEL, Build.VERSION.RELEASE, Build.VERSION.SDK_INT, abi, cores)
        return PhoneReport(version.orEmpty(), date.format(Date()), device, benchmark.state.value.rows)
    }

    private companion object {
        const val KIBI = 1024L
    }
}
