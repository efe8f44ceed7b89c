package org.tfcompress.demo

import android.content.ContentProvider
import android.content.ContentValues
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Gives other apps access to two files on request: they may read the benchmark's report and write a photo. */
class SharedFiles : ContentProvider() {
    override fun onCreate() = true

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        val read = ParcelFileDescriptor.MODE_READ_ONLY
        val write = ParcelFileDescriptor.MODE_WRITE_ONLY or ParcelFileDescriptor.MODE_CREATE or
            ParcelFileDescriptor.MODE_TRUNCATE
        return ParcelFileDescriptor.open(file(uri), if (uri.lastPathSegment == PHOTO && "w" in mode) write else read)
    }

    override fun query(
        uri: Uri,
        columns: Array<String>?,
        selection: String?,
        arguments: Array<String>?,
        order: String?
    ): Cursor {
        val file = file(uri)
        return MatrixCursor(arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)).apply {
            addRow(arrayOf<Any>(file.name, file.length()))
        }
    }

    override fun getType(uri: Uri) = if (uri.lastPathSegment == REPORT) "application/json" else "image/jpeg"

    override fun insert(uri: Uri, values: ContentValues?) = null

    override fun delete(uri: Uri, selection: String?, arguments: Array<String>?) = 0

    override fun update(uri: Uri, values: ContentValues?, selection: String?, arguments: Array<String>?) = 0

    private fun file(uri: Uri): File {
        val folder = checkNotNull(context).filesDir
        return when (uri.path) {
            "/$REPORT" -> report(folder)
            "/$PHOTO" -> photo(folder)
            else -> throw FileNotFoundException("$uri")
        }
    }

    companion object {
        const val REPORT = "benchmark.json"
        const val PHOTO = "photo"

        fun uri(name: String): Uri = Uri.parse("content://org.tfcompress.demo.files/$name")

        fun report(folder: File) = File(folder, REPORT)

        /** The photo that was taken or picked last. It is kept when the process ends. */
        fun photo(folder: File) = File(folder, PHOTO)
    }
}
