package org.tfcompress.demo

import android.content.Context
import java.io.IOException
import java.text.NumberFormat
import org.tfcompress.core.BadModel

/**
 * Returns what to tell the user about a model or file that cannot be used.
 *
 * @throws Throwable the error itself if it is a fault of the app
 */
fun Context.message(error: Throwable): String = when (error) {
    is BadModel -> message(error)
    is IOException, is SecurityException -> getString(R.string.bad_file, error.message.orEmpty())
    else -> throw error
}

private fun Context.message(error: BadModel): String = when (error) {
    is BadModel.TooLarge -> getString(R.string.bad_too_large, bytes(error.bytes), bytes(error.limit))
    is BadModel.NotAModel -> getString(R.string.bad_not_a_model)
    is BadModel.Damaged -> getString(R.string.bad_damaged)
    is BadModel.MissingOperator -> getString(R.string.bad_operator, error.operator, error.version)
    is BadModel.CustomOperator -> getString(R.string.bad_custom_operator, error.operator)
    is BadModel.NoPackedRuntime -> getString(R.string.bad_no_packed_runtime)
    is BadModel.Refused -> getString(R.string.bad_refused, error.reason)
    is BadModel.NoMetadata -> getString(R.string.bad_no_metadata)
    is BadModel.UnsupportedInput -> getString(R.string.bad_input, error.input.name, "${error.input}")
    is BadModel.LabelCount -> getString(R.string.bad_labels, error.labels, error.outputs)
    is BadModel.NoVocabulary -> getString(R.string.bad_no_vocabulary)
    is BadModel.BadVocabulary -> getString(R.string.bad_vocabulary, error.reason)
}

/** Returns a model's title after that of its run, or of the opened files if it is not from a run. */
fun Context.title(group: Group?, title: String): String =
    getString(R.string.row_title, group?.manifest?.title ?: getString(R.string.opened_file), title)

/** Formats a number of bytes in kB or MB. */
fun Context.bytes(count: Long): String = when {
    count < MEGA -> getString(R.string.kilobytes, number(count / KILO, 0))
    else -> getString(R.string.megabytes, number(count / MEGA, 1))
}

/** Formats a number as the user's language does. */
fun number(value: Double, decimals: Int): String = NumberFormat.getInstance().run {
    minimumFractionDigits = decimals
    maximumFractionDigits = decimals
    format(value)
}

fun Context.milliseconds(value: Double): String = getString(R.string.milliseconds, number(value, 2))

private const val KILO = 1e3
private const val MEGA = 1e6
