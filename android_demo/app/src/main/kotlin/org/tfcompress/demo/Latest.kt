package org.tfcompress.demo

/**
 * Work of which only the most recent request matters, such as classifying a text while it is typed.
 *
 * A newer request replaces an older one: the older one is skipped if it has not started, and its result is dropped
 * otherwise.
 */
class Latest(private val worker: Worker) {
    @Volatile
    private var newest = 0 // Only the main thread writes it.

    /** Runs `work` on the worker, and then `done` on the main thread unless there is a newer request. */
    fun <T> run(work: () -> T, done: (Result<T>) -> Unit) {
        val number = newest + 1
        newest = number
        worker.run({ if (number == newest) runCatching(work) else null }) { result ->
            if (result != null && number == newest) done(result)
        }
    }
}
