package org.tfcompress.demo

import java.io.File
import java.io.IOException

/** The ending of files that are not complete yet. */
const val PARTIAL = ".part"

/**
 * Writes a file by way of a temporary one beside it, so that readers find the old contents or all of the new.
 *
 * @param write fills the temporary file; if it throws, the old contents stay.
 * @throws IOException if the file cannot be written
 */
fun File.replace(write: (File) -> Unit) {
    checkNotMainThread()
    val partial = File.createTempFile(name, PARTIAL, parentFile)
    try {
        write(partial)
        if (!partial.renameTo(this)) throw IOException("$name cannot be replaced")
    } finally {
        partial.delete()
    }
}
