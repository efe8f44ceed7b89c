package org.tfcompress.runtime

import org.tensorflow.lite.Delegate

/**
 * Runs the operators of `.tflite` files packed by tfcompress, whose weights stay clustered in memory, in the Interpreter
 * of TensorFlow Lite 2.16 or LiteRT 1.4:
 *
 *     val delegate = ClusteredDelegate()
 *     val interpreter = Interpreter(packed, Interpreter.Options().addDelegate(delegate))
 *     …
 *     interpreter.close()
 *     delegate.close()
 *
 * It leaves other operators to the interpreter, so a stock file runs as without it. One delegate serves any number of
 * interpreters; it must be closed after all of them.
 *
 * @param numThreads threads that a kernel uses, 1 to 64; 0: as many as the interpreter.
 * @throws IllegalArgumentException if numThreads is something else
 * @throws UnsupportedOperationException if the native library does not load: see [isAvailable]
 */
class ClusteredDelegate @JvmOverloads constructor(numThreads: Int = 0) :
    Delegate,
    AutoCloseable {
    private var handle: Long

    init {
        require(numThreads in 0..MOST_THREADS) {
            "numThreads is $numThreads; needed is 1 to $MOST_THREADS, or 0 for the interpreter's"
        }
        whyNot?.let { throw UnsupportedOperationException(it) }
        handle = Native.create(numThreads)
    }

    /** The address of the native delegate, for the interpreter. */
    override fun getNativeHandle(): Long {
        check(handle != 0L) { "this ClusteredDelegate has been closed" }
        return handle
    }

    /** Frees the native delegate; interpreters that use it must have been closed. A second call does nothing. */
    override fun close() {
        if (handle != 0L) Native.delete(handle)
        handle = 0L
    }

    companion object {
        private const val MOST_THREADS = 64

        /** Why the native library cannot be used here, or null if it can. */
        @JvmStatic
        val whyNot: String? = load()

        /** Whether the native library could be loaded. */
        @JvmStatic
        val isAvailable: Boolean get() = whyNot == null

        /** Of the native library, such as "0.1.0"; null where that is not available. */
        @JvmStatic
        val version: String? get() = if (isAvailable) Native.version() else null

        /** The instruction set that kernels use on this processor, such as "dotprod"; null where there is none. */
        @JvmStatic
        val instructionSet: String? get() = if (isAvailable) Native.instructionSet() else null

        private fun load(): String? = try {
            System.loadLibrary("tfcompress_runtime")
            null
        } catch (e: UnsatisfiedLinkError) {
            "libtfcompress_runtime.so does not load: ${e.message}"
        } catch (e: SecurityException) {
            "libtfcompress_runtime.so may not be loaded: ${e.message}"
        }
    }
}
