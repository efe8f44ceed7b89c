package org.tfcompress.demo

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.OutcomeReceiver
import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import android.os.health.SystemHealthManager
import java.util.concurrent.CompletableFuture
import java.util.concurrent.Executor
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException

/** Energy in microjoules, and the name of its source. */
data class Energy(val microjoules: Double, val source: String)

/** Measures the energy used between `begin` and `end`. Both may block, so they are not for the main thread. */
interface EnergyMeter {
    fun begin()

    /** Returns null if the phone does not report its energy. */
    fun end(): Energy?
}

/** Returns the best meter of a phone: the processor's power monitors (Android 15 or later), else the battery. */
fun energyMeter(context: Context): EnergyMeter {
    val battery = Battery(context)
    if (Build.VERSION.SDK_INT < Build.VERSION_CODES.VANILLA_ICE_CREAM) return battery
    return Monitors(context, battery)
}

/** Reads the battery's counters. They cover the whole phone in coarse steps, and only count while it is unplugged. */
private class Battery(private val context: Context) : EnergyMeter {
    private val manager = context.getSystemService(BatteryManager::class.java)
    private var before: Double? = null

    override fun begin() {
        before = microjoules()
    }

    override fun end(): Energy? {
        val used = (before ?: return null) - (microjoules() ?: return null)
        return if (used > 0) Energy(used, "battery") else null
    }

    private fun microjoules(): Double? {
        val state = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED)) ?: return null
        if (state.getIntExtra(BatteryManager.EXTRA_PLUGGED, PLUGGED) != 0) return null
        val nanowattHours = manager.getLongProperty(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER)
        if (nanowattHours > 0) return nanowattHours * SECONDS_PER_HOUR / NANO_PER_MICRO
        val microampereHours = manager.getLongProperty(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER)
        val millivolts = state.getIntExtra(BatteryManager.EXTRA_VOLTAGE, 0)
        if (microampereHours <= 0 || millivolts <= 0) return null
        return microampereHours * SECONDS_PER_HOUR * millivolts / MILLI_PER_UNIT
    }

    private companion object {
        const val PLUGGED = 1
        const val SECONDS_PER_HOUR = 3600.0
        const val NANO_PER_MICRO = 1000.0
        const val MILLI_PER_UNIT = 1000.0
    }
}

/** Reads the power monitors of the processor, or the `other` meter if the phone has none. */
private class Monitors(context: Context, private val other: EnergyMeter) : EnergyMeter {
    private val health = context.getSystemService(SystemHealthManager::class.java)
    private val monitors by lazy(::processor)
    private var before: Double? = null

    override fun begin() {
        before = microjoules()
        if (before == null) other.begin()
    }

    override fun end(): Energy? {
        val begin = before ?: return other.end()
        val used = (microjoules() ?: return null) - begin
        return if (used > 0) Energy(used, "power monitors") else null
    }

    /** Returns the monitors of the processor as a consumer, or else those of the power rails that feed it. */
    private fun processor(): List<PowerMonitor> {
        val found = wait { executor, answer: (List<PowerMonitor>) -> Unit ->
            health?.getSupportedPowerMonitors(executor) { answer(it) } ?: answer(emptyList())
        }.orEmpty()
        val cpu = found.filter { "CPU" in it.name.uppercase() }
        return cpu.filter { it.type == PowerMonitor.POWER_MONITOR_TYPE_CONSUMER }.ifEmpty { cpu }
    }

    /** Returns the energy since the phone was started. Monitors count microwatt seconds, which are microjoules. */
    private fun microjoules(): Double? {
        if (monitors.isEmpty()) return null
        val readings = wait { executor, answer: (PowerMonitorReadings?) -> Unit ->
            health.getPowerMonitorReadings(
                monitors,
                executor,
                object : OutcomeReceiver<PowerMonitorReadings, RuntimeException> {
                    override fun onResult(result: PowerMonitorReadings) = answer(result)

                    override fun onError(error: RuntimeException) = answer(null)
                }
            )
        } ?: return null
        val each = monitors.map(readings::getConsumedEnergy)
        return if (each.any { it == PowerMonitorReadings.ENERGY_UNAVAILABLE.toLong() }) null else each.sum().toDouble()
    }

    private fun <T> wait(ask: (Executor, (T) -> Unit) -> Unit): T? {
        val answer = CompletableFuture<T>()
        ask({ it.run() }, answer::complete)
        return try {
            answer.get(TIMEOUT_SECONDS, TimeUnit.SECONDS)
        } catch (_: TimeoutException) {
            null
        }
    }

    private companion object {
        const val TIMEOUT_SECONDS = 5L
    }
}
