package org.tfcompress.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import javax.imageio.ImageIO
import org.tfcompress.runtime.ClusteredDelegate

fun resource(name: String) = File(checkNotNull(Golden.javaClass.getResource("/$name")).toURI())

fun content(file: File): ByteBuffer {
    val bytes = file.readBytes()
    return ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes).apply { rewind() }
}

fun classifier(file: File): Classifier {
    val content = content(file)
    return Classifier(ModelFile.read(content), content, 1, ClusteredDelegate())
}

fun picture(file: File): Picture {
    val image = ImageIO.read(file)
    val pixels = ByteArray(image.width * image.height * 3) { place ->
        val pixel = place / 3
        (image.getRGB(pixel % image.width, pixel / image.width) shr (16 - 8 * (place % 3))).toByte()
    }
    return Picture(image.width, image.height, pixels)
}
