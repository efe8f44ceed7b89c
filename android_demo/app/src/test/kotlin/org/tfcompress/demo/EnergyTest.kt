package org.tfcompress.demo

import android.content.Intent
import android.os.BatteryManager
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf

/** Measures with the battery's counters, on a phone without power monitors. */
@RunWith(RobolectricTestRunner::class)
class EnergyTest {
    private val battery = shadowOf(context().getSystemService(BatteryManager::class.java))
    private val meter = energyMeter(context())

    private fun plug(into: Int) {
        val state = Intent(Intent.ACTION_BATTERY_CHANGED)
            .putExtra(BatteryManager.EXTRA_PLUGGED, into)
            .putExtra(BatteryManager.EXTRA_VOLTAGE, 4_000)
        @Suppress("DEPRECATION")
        context().sendStickyBroadcast(state)
    }

    private fun used(property: Int, before: Long, after: Long): Energy? {
        battery.setLongProperty(property, before)
        meter.begin()
        battery.setLongProperty(property, after)
        return meter.end()
    }

    @Test
    fun `the energy counter is in nanowatt hours`() {
        plug(into = 0)
        val found = used(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER, 10_010_000, 10_000_000)
        assertEquals(Energy(36_000.0, "battery"), found)
    }

    @Test
    fun `the charge counter is in microampere hours, to be multiplied by the voltage`() {
        plug(into = 0)
        val found = used(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER, 3_000_010, 3_000_000)
        assertEquals(144_000.0, checkNotNull(found).microjoules, 0.01)
    }

    @Test
    fun `there is no energy while the phone is plugged in, or without counters`() {
        plug(into = BatteryManager.BATTERY_PLUGGED_USB)
        assertNull(used(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER, 10_010_000, 10_000_000))
        plug(into = 0)
        assertNull(used(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER, 0, 0))
        assertNull(used(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER, 1_000, 1_000))
    }
}
