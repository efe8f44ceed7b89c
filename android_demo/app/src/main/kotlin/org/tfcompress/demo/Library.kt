package org.tfcompress.demo

import org.tfcompress.core.Input
import org.tfcompress.runtime.ClusteredDelegate

/**
 * The models that the app has at one time. It is immutable, so any thread may read it.
 *
 * @property groups the runs whose models are in the APK.
 * @property bundled the models in the APK.
 * @property opened the models that the user opened from files.
 * @property whyNotPacked why the packed runtime does not load on this phone; null if it does.
 */
class Library(
    val groups: List<Group>,
    val bundled: List<Model>,
    val opened: List<Model>,
    val whyNotPacked: String? = ClusteredDelegate.whyNot
) {
    val all = bundled + opened

    /** The models for an input that can run on this phone, and whose answers its page can show. */
    fun of(input: Input) =
        all.filter { it.input == input && it.isShown && (!it.about.isPacked || whyNotPacked == null) }

    /** The samples of all runs for an input. */
    fun samples(input: Input): List<Sample> = groups.filter { it.manifest.input == input }.flatMap(Group::samples)

    /** Returns the library with a model that the user opened, in place of any of the same file name. */
    fun with(model: Model) = Library(groups, bundled, without(model.file).opened + model, whyNotPacked)

    /** Returns the library without the file that the user had opened. */
    fun without(file: String) = Library(groups, bundled, opened.filter { it.file != file }, whyNotPacked)
}
