package org.tfcompress.demo

import android.content.ActivityNotFoundException
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.widget.TextView

/** One page of the activity; all are there from the beginning, one is seen. */
abstract class Screen(protected val activity: MainActivity, val view: View) {
    /** It is seen from now on. */
    open fun show() = Unit

    /** Keeps what must outlive the activity. */
    open fun save(state: Bundle) = Unit

    /** What another app gave back. */
    open fun onResult(request: Int, data: Intent?) = Unit

    /** The activity ends. */
    open fun close() = Unit

    /** Asks another app; says so if there is none. */
    protected fun ask(intent: Intent, request: Int, none: Int) {
        try {
            activity.startActivityForResult(intent, request)
        } catch (_: ActivityNotFoundException) {
            activity.say(activity.getString(none))
        }
    }
}

/** Shows a text, or nothing where there is none. */
fun TextView.showIf(message: String?) {
    text = message
    visibility = if (message == null) View.GONE else View.VISIBLE
}
