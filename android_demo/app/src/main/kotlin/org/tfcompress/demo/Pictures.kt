package org.tfcompress.demo

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import java.io.IOException
import org.tfcompress.core.Picture

/** Larger pictures are scaled down: still far more than a model needs, and little enough for any phone's memory. */
private const val LARGEST_SIDE = 2048

/**
 * Decodes a picture and turns it upright. Not for the main thread.
 *
 * @throws IOException if the bytes are not a picture
 */
fun decodePicture(bytes: ByteArray): Bitmap {
    checkNotMainThread()
    val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    BitmapFactory.decodeByteArray(bytes, 0, bytes.size, options)
    options.inSampleSize = 1
    while (maxOf(options.outWidth, options.outHeight) / options.inSampleSize > LARGEST_SIDE) options.inSampleSize *= 2
    options.inJustDecodeBounds = false
    val bitmap = BitmapFactory.decodeByteArray(bytes, 0, bytes.size, options) ?: throw IOException("not a picture")
    return upright(bitmap, bytes)
}

/** Cameras do not rotate the pixels but write into the EXIF data how the phone was held. */
private fun upright(bitmap: Bitmap, bytes: ByteArray): Bitmap {
    val exif = try {
        ExifInterface(bytes.inputStream())
    } catch (_: IOException) {
        return bitmap
    }
    val degrees = when (exif.getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)) {
        ExifInterface.ORIENTATION_ROTATE_90 -> 90f
        ExifInterface.ORIENTATION_ROTATE_180 -> 180f
        ExifInterface.ORIENTATION_ROTATE_270 -> 270f
        else -> return bitmap
    }
    return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, Matrix().apply { postRotate(degrees) }, true)
}

/** Copies the pixels into the form that models take. Not for the main thread. */
fun Bitmap.toPicture(): Picture {
    checkNotMainThread()
    val pixels = IntArray(width * height)
    getPixels(pixels, 0, width, 0, 0, width, height)
    val rgb = ByteArray(3 * pixels.size)
    for ((place, pixel) in pixels.withIndex()) {
        rgb[3 * place] = (pixel shr 16).toByte()
        rgb[3 * place + 1] = (pixel shr 8).toByte()
        rgb[3 * place + 2] = pixel.toByte()
    }
    return Picture(width, height, rgb)
}
