package org.tfcompress.demo

import android.app.Application
import android.content.Context

/** Owns what outlives the activity: the models, and a running benchmark. */
class DemoApp : Application() {
    val models by lazy { Models(this) }
    val benchmark by lazy { Benchmark(filesDir, energyMeter(this)) }
}

val Context.app get() = applicationContext as DemoApp
