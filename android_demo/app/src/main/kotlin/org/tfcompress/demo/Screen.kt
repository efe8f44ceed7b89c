package org.tfcompress.demo

import android.content.ActivityNotFoundException
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.widget.TextView

/** One page of the activity. All pages exist as long as the activity, and one of them is visible. */
abstract class Screen(protected val activity: MainActivity, val view: View) : AutoCloseable {
    private val owned = mutableListOf<AutoCloseable>()

    /** The page becomes visible. */
    open fun show() = Unit

    /** Saves what must outlive the activity. */
    open fun save(state: Bundle) = Unit

    /** Another app answers the request that [ask] made. */
    open fun onResult(request: Int, data: Intent?) = Unit

    /** Drops what is still being computed for this page, because its activity ends. */
    final override fun close() = owned.forEach(AutoCloseable::close)

    /** Closes an object together with this page. */
    protected fun <T : AutoCloseable> own(it: T): T = it.also(owned::add)

    /** Starts another app that returns a result, or shows the message `none` if there is no such app. */
    protected fun ask(intent: Intent, request: Int, none: Int) {
        try {
            activity.startActivityForResult(intent, request)
        } catch (_: ActivityNotFoundException) {
            activity.say(activity.getString(none))
        }
    }
}

/** Shows a text, or hides the view if there is none. */
fun TextView.showIf(message: String?) {
    text = message
    visibility = if (message == null) View.GONE else View.VISIBLE
}
