package org.tfcompress.demo

import android.os.Handler
import android.os.Looper
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** One thread beside the main one; what belongs to it is touched by it alone. */
class Worker(name: String) {
    private val executor: ExecutorService = Executors.newSingleThreadExecutor { Thread(it, name) }

    /** Runs `work` on the thread, then `done` with what it gave on the main one. */
    fun <T> run(work: () -> T, done: (T) -> Unit = {}) {
        executor.execute {
            val result = work()
            main.post { done(result) }
        }
    }

    /** Runs what has been asked for, then stops. */
    fun close() = executor.shutdown()

    companion object {
        private val main = Handler(Looper.getMainLooper())
    }
}
