package org.tfcompress.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.widget.LinearLayout
import android.widget.Toast

/** The tabs and the page of each. */
class MainActivity : Activity() {
    private lateinit var screens: List<Screen>
    private lateinit var tabs: LinearLayout
    private var chosen = 0

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.activity_main)
        screens = listOf(
            ImageScreen(this, findViewById(R.id.image), state),
            TextScreen(this, findViewById(R.id.text), state),
            BenchmarkScreen(this, findViewById(R.id.benchmark)),
            ModelsScreen(this, findViewById(R.id.models))
        )
        tabs = findViewById(R.id.tabs)
        for (index in screens.indices) tabs.getChildAt(index).setOnClickListener { choose(index) }
        choose(state?.getInt(CHOSEN) ?: 0)
    }

    private fun choose(index: Int) {
        chosen = index
        for ((place, screen) in screens.withIndex()) {
            screen.view.visibility = if (place == index) View.VISIBLE else View.GONE
            tabs.getChildAt(place).isSelected = place == index
        }
        screens[index].show()
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putInt(CHOSEN, chosen)
        for (screen in screens) screen.save(state)
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        if (result == RESULT_OK) for (screen in screens) screen.onResult(request, data)
    }

    override fun onDestroy() {
        for (screen in screens) screen.close()
        super.onDestroy()
    }

    /** Shows a message for a moment. */
    fun say(message: String) = Toast.makeText(this, message, Toast.LENGTH_LONG).show()

    private companion object {
        const val CHOSEN = "chosen"
    }
}
