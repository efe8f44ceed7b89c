package org.tfcompress.demo

import android.graphics.Bitmap
import org.tfcompress.core.Classifier
import org.tfcompress.core.top

/** How many scores a card shows. */
const val SHOWN = 3

/**
 * A row of a card.
 *
 * @property value a probability, or the cosine of two embeddings if `isCosine`.
 * @property picture what the row is about, if that is a picture.
 */
class Score(val label: String, val value: Float, val isCosine: Boolean = false, val picture: Bitmap? = null)

/**
 * Returns the classes with the highest probabilities, highest first.
 *
 * @throws org.tfcompress.core.BadModel unless the model has exactly one label per output
 */
fun Classifier.best(probabilities: FloatArray): List<Score> {
    val labels = labels()
    return top(probabilities, SHOWN).map { (index, score) -> Score(labels[index], score) }
}
