package org.tfcompress.core

/** What a model's answers are. The names are those of tasks in recipes of tfcompress, in upper case. */
enum class Task {
    /** A probability per class, of which one is right. */
    CLASSIFICATION,

    /** A probability per class, of which any may be right. */
    MULTILABEL,

    /** A number. */
    REGRESSION,

    /** A vector whose direction tells what the input means. */
    EMBEDDING,

    /** A probability per class for each token. */
    TOKENS;

    /** The name in recipes, manifests and files. */
    val word get() = name.lowercase()

    companion object {
        /** Returns the task of that name; null if there is none. */
        fun of(word: String): Task? = entries.firstOrNull { it.word == word }
    }
}
