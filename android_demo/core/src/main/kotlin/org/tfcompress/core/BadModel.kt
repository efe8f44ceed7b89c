package org.tfcompress.core

/** What can be wrong with a model; the app says it in its user's language, with the details. */
enum class Problem {
    /** Details: its bytes, the most that there may be. */
    TOO_LARGE,

    /** It is no TensorFlow Lite flatbuffer. */
    NOT_A_MODEL,

    /** It is cut off or overwritten. */
    DAMAGED,

    /** Details: the operator's name and version, which this runtime lacks. */
    OPERATOR,

    /** Details: the name of an operator that is none of TensorFlow Lite's. */
    CUSTOM_OPERATOR,

    /** It is packed, and the clustered runtime does not load here. */
    CLUSTERED_RUNTIME,

    /** TensorFlow Lite refuses it. Details: what that says. */
    REFUSED,

    /** It does not say what it takes. */
    NO_METADATA,

    /** Details: name, type and shape of an input that is neither an image nor a text's tokens. */
    INPUT,

    /** Details: labels, values of the output. */
    LABELS,

    /** Details: what is wrong with its vocabulary. */
    VOCABULARY
}

/** A model that cannot be used, and why. */
class BadModel(val problem: Problem, vararg val details: Any, cause: Throwable? = null) :
    Exception("$problem ${details.joinToString()}", cause)
