package org.tfcompress.demo

import android.content.ContentResolver
import android.net.Uri
import android.provider.OpenableColumns
import java.io.File
import java.io.IOException
import java.io.InputStream
import org.tfcompress.core.BadModel

/**
 * A file that another app hands out. That app may be slow or read from a network: nothing here is for the main thread.
 *
 * @property name the name to show.
 * @property bytes the size; 0 if the other app does not know it.
 */
class Document private constructor(
    private val resolver: ContentResolver,
    private val uri: Uri,
    val name: String,
    val bytes: Long
) {
    /**
     * Copies the file.
     *
     * @throws BadModel.TooLarge if it has more bytes than `limit`, whatever size it claims
     * @throws IOException if it cannot be read or written
     */
    fun copyTo(file: File, limit: Long = Long.MAX_VALUE) {
        val source = resolver.openInputStream(uri) ?: throw IOException(name)
        source.use { from -> file.outputStream().use { to -> from.copyAtMost(limit, to::write) } }
    }

    private fun InputStream.copyAtMost(limit: Long, write: (ByteArray, Int, Int) -> Unit) {
        val buffer = ByteArray(1 shl 16)
        var total = 0L
        while (true) {
            val count = read(buffer)
            if (count < 0) return
            total += count
            if (total > limit) throw BadModel.TooLarge(total, limit)
            write(buffer, 0, count)
        }
    }

    companion object {
        /** Asks the other app for the name and the size. */
        fun of(resolver: ContentResolver, uri: Uri): Document {
            checkNotMainThread()
            val fallback = uri.lastPathSegment.orEmpty()
            val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
            resolver.query(uri, columns, null, null, null)?.use { cursor ->
                if (cursor.moveToFirst()) {
                    val name = cursor.getColumnIndex(OpenableColumns.DISPLAY_NAME)
                    val size = cursor.getColumnIndex(OpenableColumns.SIZE)
                    val shown = if (name < 0) null else cursor.getString(name)
                    return Document(resolver, uri, shown ?: fallback, if (size < 0) 0 else cursor.getLong(size))
                }
            }
            return Document(resolver, uri, fallback, 0)
        }
    }
}
