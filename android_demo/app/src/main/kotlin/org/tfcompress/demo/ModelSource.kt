package org.tfcompress.demo

import android.content.res.AssetManager
import java.io.File
import java.io.FileInputStream
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel

/** Where the bytes of a model are. Nothing here is for the main thread. */
interface ModelSource {
    fun open(): InputStream

    /** Maps the file into memory. */
    fun map(): ByteBuffer
}

/** An asset, which the APK must hold uncompressed. */
class AssetSource(private val assets: AssetManager, private val path: String) : ModelSource {
    override fun open(): InputStream {
        checkNotMainThread()
        return assets.open(path)
    }

    override fun map(): ByteBuffer {
        checkNotMainThread()
        return assets.openFd(path).use { asset ->
            FileInputStream(asset.fileDescriptor).channel.use {
                it.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
            }
        }
    }
}

/** A file of the app's own folder. */
class FileSource(private val file: File) : ModelSource {
    override fun open(): InputStream {
        checkNotMainThread()
        return file.inputStream()
    }

    override fun map(): ByteBuffer {
        checkNotMainThread()
        return FileInputStream(file).channel.use { it.map(FileChannel.MapMode.READ_ONLY, 0, it.size()) }
    }
}
