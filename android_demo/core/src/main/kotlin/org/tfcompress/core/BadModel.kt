package org.tfcompress.core

/**
 * A model that cannot be used, with one subclass per reason.
 *
 * The message is for developers; the app shows its user a text of its own for each subclass.
 */
sealed class BadModel(message: String, cause: Throwable? = null) : Exception(message, cause) {
    /** The file has more bytes than the app accepts. */
    class TooLarge(val bytes: Long, val limit: Long) : BadModel("$bytes bytes exceed the limit of $limit")

    /** The file is not a TensorFlow Lite flatbuffer. */
    class NotAModel : BadModel("not a TensorFlow Lite flatbuffer")

    /** The file is a TensorFlow Lite flatbuffer, but truncated or overwritten. */
    class Damaged(cause: Throwable) : BadModel("damaged: $cause", cause)

    /** This version of TensorFlow Lite lacks one of the model's built-in operators. */
    class MissingOperator(val operator: String, val version: Int, cause: Throwable) :
        BadModel("needs the operator $operator in version $version", cause)

    /** The model uses a custom operator that neither TensorFlow Lite nor the packed runtime has. */
    class CustomOperator(val operator: String, cause: Throwable) :
        BadModel("needs the custom operator $operator", cause)

    /** The model is packed, but the packed runtime does not load on this device. */
    class NoPackedRuntime : BadModel("packed, but there is no packed runtime")

    /** TensorFlow Lite does not load the model, for the `reason` that it gives. */
    class Refused(val reason: String, cause: Throwable) : BadModel("refused by TensorFlow Lite: $reason", cause)

    /** The file has no metadata that describes the model's inputs. */
    class NoMetadata : BadModel("no metadata for its inputs")

    /** An input is neither an image nor the tokens of a text. */
    class UnsupportedInput(val input: TensorInfo) : BadModel("unsupported input ${input.name}: $input")

    /** The number of labels differs from the number of outputs, so a score has no label. */
    class LabelCount(val labels: Int, val outputs: Int) : BadModel("$labels labels for $outputs outputs")

    /** The metadata names a vocabulary file that is missing. */
    class NoVocabulary : BadModel("no vocabulary")

    /** The tokenizer cannot use the vocabulary, for the given `reason`. */
    class BadVocabulary(val reason: String, cause: Throwable) : BadModel("bad vocabulary: $reason", cause)
}
