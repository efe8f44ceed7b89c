package org.tfcompress.runtime

/** Declares the functions of clustered_delegate.cc. */
internal object Native {
    @JvmStatic
    external fun create(numThreads: Int): Long

    @JvmStatic
    external fun delete(handle: Long)

    @JvmStatic
    external fun version(): String

    @JvmStatic
    external fun instructionSet(): String?
}
