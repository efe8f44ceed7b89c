package org.tfcompress.demo

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.Spinner
import android.widget.TextView
import java.io.File
import org.json.JSONObject
import org.junit.Assert.assertNotEquals
import org.junit.Assert.fail
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.android.controller.ActivityController
import org.robolectric.shadows.ShadowLooper

/** Starts the app on Robolectric's phone. `qualifiers` are those of resource folders. */
fun launch(qualifiers: String = "", fontScale: Float = 1f): ActivityController<MainActivity> {
    RuntimeEnvironment.setQualifiers("+$qualifiers".removeSuffix("+").ifEmpty { "+port" })
    RuntimeEnvironment.setFontScale(fontScale)
    return Robolectric.buildActivity(MainActivity::class.java).setup()
}

/** The models of the app, once they have been read. */
fun library(): Library {
    val library = context().app.models.library
    await("the library") { library.value != null }
    return checkNotNull(library.value)
}

/** The run whose models are in a folder of the app. */
fun group(folder: String): Group = library().groups.single { it.folder == folder }

/** Returns a benchmark of the app that takes a moment, once it is ready. */
fun quickBenchmark() = Benchmark(context().filesDir, energyMeter(context()), seconds = 0.0, runs = 2).also {
    await("the benchmark") { it.state.value.isReady }
}

/** Fails on the main thread. Streams and providers of tests call it, as those of other apps may be slow. */
fun assertNotMainThread() = assertNotEquals("this blocks the main thread", Looper.getMainLooper(), Looper.myLooper())

/** Runs what is posted to the main thread until a condition holds. */
fun await(what: String, condition: () -> Boolean) {
    repeat(2400) {
        ShadowLooper.idleMainLooper()
        if (condition()) return
        Thread.sleep(50)
    }
    fail("two minutes have passed without $what")
}

/** Returns what Python got for the samples of a run. */
fun golden(group: Group) = JSONObject(File(System.getProperty("models"), "${group.folder}/golden.json").readText())

/** Returns the label that Python gave each sample of a run, with one of the run's models. */
fun golden(group: Group, file: String): List<String> {
    val outputs = golden(group).getJSONObject(file).getJSONArray("outputs")
    val labels = library().bundled.first { it.group == group }.about.labels
    return List(outputs.length()) { place ->
        val scores = outputs.getJSONArray(place)
        labels[labels.indices.maxBy(scores::getDouble)]
    }
}

/** Returns the best label in each of the two cards of a page. */
fun MainActivity.best(page: Int): List<String?> = listOf(R.id.first, R.id.second).map { card ->
    page(page).findViewById<View>(card).findViewById<TextView>(R.id.label)?.text?.toString()
}

/** Waits until both cards of a page show the label that Python gave a sample. */
fun MainActivity.awaitGolden(page: Int, group: Group, place: Int) {
    val shown = listOf(group.manifest.models.first(), group.manifest.models.last())
    val expected = shown.map { golden(group, it.file)[place] }
    await("$expected in the cards") { best(page) == expected }
}

/** Chooses a model of a run in a card of a page. */
fun MainActivity.select(page: Int, card: Int, group: Group, file: String) {
    val spinner = page(page).findViewById<View>(card).findViewById<Spinner>(R.id.choice)
    await("models to choose from") { spinner.count > 0 }
    val models = library().of(group.manifest.input)
    spinner.setSelection(models.indexOfFirst { it.group?.folder == group.folder && it.file == file })
    ShadowLooper.idleMainLooper()
}

fun MainActivity.page(id: Int): ViewGroup = findViewById(id)

fun MainActivity.choose(tab: Int) {
    findViewById<View>(tab).performClick()
    ShadowLooper.idleMainLooper()
}

/** Returns all visible text of a view, in the order of its layout. */
fun View.texts(): List<String> = when {
    visibility != View.VISIBLE -> emptyList()
    this is TextView -> listOf(text.toString()).filter(String::isNotEmpty)
    this is ViewGroup -> (0 until childCount).flatMap { getChildAt(it).texts() }
    else -> emptyList()
}

/** Returns a view and all views in it. */
fun View.all(): List<View> =
    listOf(this) + if (this is ViewGroup) (0 until childCount).flatMap { getChildAt(it).all() } else emptyList()

/** Saves the screen as a PNG file. */
fun MainActivity.screenshot(name: String) {
    ShadowLooper.idleMainLooper()
    val root = window.decorView
    val bitmap = Bitmap.createBitmap(root.width, root.height, Bitmap.Config.ARGB_8888)
    root.draw(Canvas(bitmap))
    val file = File(System.getProperty("screenshots"), "$name.png")
    checkNotNull(file.parentFile).mkdirs()
    file.outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
}

fun context(): Context = RuntimeEnvironment.getApplication()
