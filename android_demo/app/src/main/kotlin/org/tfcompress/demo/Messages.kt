package org.tfcompress.demo

import android.content.Context
import java.io.IOException
import java.text.NumberFormat
import org.tfcompress.core.BadModel
import org.tfcompress.core.Problem

/** What to tell the user; null of an error that is none of his. */
fun Context.message(error: Throwable): String? = when (error) {
    is BadModel -> getString(text(error.problem), *details(error))
    is IOException -> getString(R.string.bad_file, error.message.orEmpty())
    is SecurityException -> getString(R.string.bad_file, error.message.orEmpty())
    else -> null
}

private fun text(problem: Problem) = when (problem) {
    Problem.TOO_LARGE -> R.string.bad_too_large
    Problem.NOT_A_MODEL -> R.string.bad_not_a_model
    Problem.DAMAGED -> R.string.bad_damaged
    Problem.OPERATOR -> R.string.bad_operator
    Problem.CUSTOM_OPERATOR -> R.string.bad_custom_operator
    Problem.CLUSTERED_RUNTIME -> R.string.bad_clustered_runtime
    Problem.REFUSED -> R.string.bad_refused
    Problem.NO_METADATA -> R.string.bad_no_metadata
    Problem.INPUT -> R.string.bad_input
    Problem.LABELS -> R.string.bad_labels
    Problem.VOCABULARY -> R.string.bad_vocabulary
}

private fun Context.details(error: BadModel): Array<Any> = when (error.problem) {
    Problem.TOO_LARGE -> error.details.map { bytes((it as Long)) }.toTypedArray()
    else -> arrayOf(*error.details)
}

/** Bytes in kB or MB. */
fun Context.bytes(count: Long): String = when {
    count < MEGA -> getString(R.string.kilobytes, number(count / KILO, 0))
    else -> getString(R.string.megabytes, number(count / MEGA, 1))
}

/** A number in the user's language. */
fun number(value: Double, decimals: Int): String = NumberFormat.getInstance().run {
    minimumFractionDigits = decimals
    maximumFractionDigits = decimals
    format(value)
}

fun Context.milliseconds(value: Double): String = getString(R.string.milliseconds, number(value, 2))

private const val KILO = 1e3
private const val MEGA = 1e6
