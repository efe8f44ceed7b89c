package org.tfcompress.core

/** How an app prepares a model's input. */
sealed interface Takes

/**
 * An image: from each value in 0 to 255, `mean` is subtracted and the difference divided by `std`.
 *
 * Both lists hold one number per channel, or a single number for all channels.
 */
data class TakesImage(val mean: List<Float>, val std: List<Float>) : Takes

/**
 * A text or a pair of texts, as the token ids of a BERT model.
 *
 * @property vocabulary the WordPiece vocabulary; null if the file does not contain it.
 * @property lowercase whether the text is case-folded first.
 * @property stripAccents whether accents are removed before that.
 * @property pairs whether the model was made for pairs of texts.
 * @property names `ids`, `segment_ids` and `mask` in the order of the inputs.
 */
class TakesText(
    val vocabulary: List<String>?,
    val lowercase: Boolean,
    val stripAccents: Boolean,
    val pairs: Boolean,
    val names: List<String>
) : Takes
