package org.tfcompress.demo

import java.io.IOException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.tfcompress.core.BadModel
import org.tfcompress.core.TensorInfo

@RunWith(RobolectricTestRunner::class)
class MessagesTest {
    private val cause = IOException()

    @Test
    fun `each reason is told with its details`() {
        val audio = TensorInfo("waveform", "FLOAT32", listOf(1, 16_000))
        val expected = mapOf(
            BadModel.TooLarge(2_000_000, 1_000) to
                "The file is too large: it has 2.0 MB, and this app opens up to 1 kB.",
            BadModel.CustomOperator("Mine", cause) to
                "The model needs the custom operator Mine, which is not part of TensorFlow Lite.",
            BadModel.Refused("no memory", cause) to "TensorFlow Lite cannot load the model: no memory",
            BadModel.NoMetadata() to
                "The model has no TFLite Metadata that describes its inputs, so it can only be measured.",
            BadModel.UnsupportedInput(audio) to "The model's input waveform (float32 1 x 16000) is neither an RGB " +
                "picture nor tokenized text, so it can only be measured.",
            BadModel.NoVocabulary() to "The model's vocabulary is missing from the file.",
            BadModel.BadVocabulary("the vocabulary lacks [SEP]", cause) to
                "The model's vocabulary cannot be used: the vocabulary lacks [SEP]",
            IOException("no such file") to "The file cannot be read: no such file",
            SecurityException("denied") to "The file cannot be read: denied"
        )
        for ((error, message) in expected) assertEquals(message, context().message(error))
    }

    @Test
    fun `a fault of the app is not hidden from its developers`() {
        val fault = IllegalStateException()
        assertEquals(fault, assertThrows(IllegalStateException::class.java) { context().message(fault) })
    }
}
