package org.tfcompress.demo

import android.os.Handler
import android.os.Looper
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/**
 * A background thread for work that must not block the main thread.
 *
 * All functions are called on the main thread. Work runs in the order in which it was submitted.
 */
class Worker(name: String) : AutoCloseable {
    private val executor: ExecutorService = Executors.newSingleThreadExecutor { Thread(it, name) }
    private var isClosed = false

    /** Runs `work` on the background thread, and then `done` with its result on the main thread. */
    fun <T> run(work: () -> T, done: (T) -> Unit = {}) {
        executor.execute {
            val result = work()
            main.post { if (!isClosed) done(result) }
        }
    }

    /** Stops the thread once it has finished all submitted work, whose results are dropped. */
    override fun close() {
        isClosed = true
        executor.shutdown()
    }

    private companion object {
        val main = Handler(Looper.getMainLooper())
    }
}

/** @throws IllegalStateException on the main thread, which would freeze the app */
fun checkNotMainThread() = check(Looper.myLooper() != Looper.getMainLooper()) { "too slow for the main thread" }
