package org.tfcompress.runtime

import org.tensorflow.lite.Delegate

/**
 * Runs packed files, which `tfcompress pack` writes, in the Interpreter of TensorFlow Lite 2.16 or LiteRT 1.4:
 *
 *     val delegate = ClusteredDelegate()
 *     val interpreter = Interpreter(packed, Interpreter.Options().addDelegate(delegate))
 *     …
 *     interpreter.close()
 *     delegate.close()
 *
 * The weights of a packed file stay packed in memory. The delegate only runs the operators of packed files and leaves
 * all others to the interpreter, so other files run as they do without it. It can serve several interpreters at once and
 * must be closed after all of them.
 *
 * @param numThreads the number of threads per kernel, 1 to 64, or 0 for that of the interpreter.
 * @throws IllegalArgumentException if numThreads is out of range
 * @throws UnsupportedOperationException if the native library does not load (see [isAvailable])
 */
class ClusteredDelegate @JvmOverloads constructor(numThreads: Int = 0) :
    Delegate,
    AutoCloseable {
    private var handle: Long

    init {
        require(numThreads in 0..MOST_THREADS) {
            "numThreads is $numThreads; it must be 1 to $MOST_THREADS, or 0 for that of the interpreter"
        }
        whyNot?.let { throw UnsupportedOperationException(it) }
        handle = Native.create(numThreads)
    }

    /** Returns the address of the native delegate, which the interpreter uses. */
    override fun getNativeHandle(): Long {
        check(handle != 0L) { "this ClusteredDelegate has been closed" }
        return handle
    }

    /** Frees the native delegate. Close all interpreters that use it first. A second call does nothing. */
    override fun close() {
        if (handle != 0L) Native.delete(handle)
        handle = 0L
    }

    companion object {
        private const val MOST_THREADS = 64

        /** Why the native library does not load on this device; null if it does. */
        @JvmStatic
        val whyNot: String? = load()

        /** Whether the native library is loaded. */
        @JvmStatic
        val isAvailable: Boolean get() = whyNot == null

        /** The version of the native library, such as "0.1.0"; null if it is not available. */
        @JvmStatic
        val version: String? get() = if (isAvailable) Native.version() else null

        /** The instruction set that the kernels use on this processor, such as "dotprod"; null if there is none. */
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
