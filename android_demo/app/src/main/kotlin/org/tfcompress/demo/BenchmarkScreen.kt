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

/** What every model costs on this phone. */
class BenchmarkScreen(activity: MainActivity, view: View) : Screen(activity, view) {
    private val benchmark = activity.app.benchmark
    private val models = activity.app.models
    private val start: Button = view.findViewById(R.id.start)
    private val share: Button = view.findViewById(R.id.share)
    private val status: TextView = view.findViewById(R.id.status)
    private val bar: ProgressBar = view.findViewById(R.id.progress)
    private val rows: LinearLayout = view.findViewById(R.id.rows)

    init {
        start.setOnClickListener {
            if (benchmark.isRunning) benchmark.cancel() else benchmark.start(models.all, models::feed)
        }
        share.setOnClickListener { share() }
        benchmark.listener = ::update
        update()
    }

    override fun close() {
        benchmark.listener = {}
    }

    private fun update() {
        val progress = benchmark.progress
        start.setText(
            when {
                progress != null -> R.string.cancel
                benchmark.isUnfinished -> R.string.go_on
                else -> R.string.start
            }
        )
        share.isEnabled = progress == null && benchmark.rows.isNotEmpty()
        bar.visibility = if (progress == null) View.INVISIBLE else View.VISIBLE
        if (progress != null) {
            bar.max = progress.total
            bar.progress = progress.done
            val title = progress.model.title
            status.text =
                activity.getString(R.string.progress, progress.done + 1, progress.total, title, progress.threads)
            activity.window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        } else {
            status.text = if (benchmark.rows.isEmpty()) activity.getString(R.string.no_rows) else ""
            activity.window.clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        }
        rows.removeAllViews()
        for (row in benchmark.rows) add(heading(row), lines(row), null)
        for ((model, error) in benchmark.failures) add(model.title, "", activity.message(error))
    }

    private fun add(title: String, details: String, problem: String?) {
        val card = activity.layoutInflater.inflate(R.layout.card, rows, false)
        card.findViewById<TextView>(R.id.title).text = title
        card.findViewById<TextView>(R.id.details).showIf(details.ifEmpty { null })
        card.findViewById<TextView>(R.id.problem).showIf(problem)
        rows.addView(card)
    }

    private fun heading(row: Measured): String {
        val group = models.groups.firstOrNull { it.folder == row.group }?.manifest?.title
        return activity.getString(R.string.row_title, group ?: activity.getString(R.string.from_a_file), row.title)
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
        SharedFiles.report(activity.filesDir).writeText(report().toJson())
        val uri = SharedFiles.uri(SharedFiles.REPORT)
        val intent = Intent(Intent.ACTION_SEND)
            .setType("application/json")
            .putExtra(Intent.EXTRA_STREAM, uri)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        intent.clipData = ClipData.newRawUri(SharedFiles.REPORT, uri) // What the permission is for.
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
        return PhoneReport(version.orEmpty(), date.format(Date()), device, benchmark.rows)
    }

    private companion object {
        const val KIBI = 1024L
    }
}
