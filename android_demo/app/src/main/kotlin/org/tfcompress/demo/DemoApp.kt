package org.tfcompress.demo

import android.app.Application
import android.content.Context

/** What outlives the activity: the models, and a benchmark that runs. */
class DemoApp : Application() {
    val models by lazy { Models(this) }
    val benchmark by lazy { Benchmark(filesDir, energyMeter(this)) }
}

val Context.app get() = applicationContext as DemoApp
