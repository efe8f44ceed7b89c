package org.tfcompress.demo

/** An immutable value that is replaced as a whole, and its observers. All of it belongs to the main thread. */
class Observed<T>(initial: T) {
    private val observers = mutableListOf<(T) -> Unit>()

    var value = initial
        set(new) {
            field = new
            for (observer in observers.toList()) observer(new)
        }

    /** Calls the observer with the current value and with each new one, until the returned object is closed. */
    fun observe(observer: (T) -> Unit): AutoCloseable {
        observers += observer
        observer(value)
        return AutoCloseable { observers -= observer }
    }
}
