package org.tfcompress.core

import org.json.JSONArray
import org.json.JSONObject

/** The phone, as Android describes it. */
data class Device(
    val manufacturer: String,
    val model: String,
    val android: String,
    val api: Int,
    val abi: String,
    val cores: Int
)

/**
 * What was measured of one model with one number of threads: a row of the benchmark.
 *
 * @property group the folder of the model's run, or `opened`.
 * @property bytes the size of the file.
 * @property delegate what runs the layers: `tfcompress` or `xnnpack`.
 * @property pssBeforeKib the app's memory (PSS) without the model, in KiB.
 * @property pssAfterKib the app's memory (PSS) with the model, in KiB.
 * @property energyUj the energy per inference in microjoules; null if the phone does not report it.
 * @property energySource `power monitors` or `battery`; null if there is no energy.
 */
data class Measured(
    val group: String,
    val model: String,
    val title: String,
    val bytes: Int,
    val sha256: String,
    val threads: Int,
    val delegate: String,
    val latency: Latency,
    val pssBeforeKib: Long,
    val pssAfterKib: Long,
    val energyUj: Double?,
    val energySource: String?
) {
    fun toJson(): JSONObject = JSONObject()
        .put("group", group)
        .put("model", model)
        .put("title", title)
        .put("bytes", bytes)
        .put("sha256", sha256)
        .put("threads", threads)
        .put("delegate", delegate)
        .put("runs", latency.runs)
        .put("median_ms", latency.medianMs)
        .put("p90_ms", latency.p90Ms)
        .put("pss_before_kib", pssBeforeKib)
        .put("pss_after_kib", pssAfterKib)
        .put("energy_uj", energyUj ?: JSONObject.NULL)
        .put("energy_source", energySource ?: JSONObject.NULL)

    companion object {
        fun of(json: JSONObject) = Measured(
            json.getString("group"),
            json.getString("model"),
            json.getString("title"),
            json.getInt("bytes"),
            json.getString("sha256"),
            json.getInt("threads"),
            json.getString("delegate"),
            Latency(json.getDouble("median_ms"), json.getDouble("p90_ms"), json.getInt("runs")),
            json.getLong("pss_before_kib"),
            json.getLong("pss_after_kib"),
            if (json.isNull("energy_uj")) null else json.getDouble("energy_uj"),
            if (json.isNull("energy_source")) null else json.getString("energy_source")
        )
    }
}

/** All rows of a benchmark, as `tfcompress compare --from-phone` reads them. */
data class PhoneReport(val app: String, val date: String, val device: Device, val rows: List<Measured>) {
    fun toJson(): String {
        val phone = JSONObject()
            .put("manufacturer", device.manufacturer)
            .put("model", device.model)
            .put("android", device.android)
            .put("api", device.api)
            .put("abi", device.abi)
            .put("cores", device.cores)
        val report = JSONObject()
            .put("format", "tfcompress.phone")
            .put("version", 1)
            .put("app", app)
            .put("date", date)
            .put("device", phone)
            .put("rows", JSONArray(rows.map(Measured::toJson)))
        return report.toString(2)
    }
}
