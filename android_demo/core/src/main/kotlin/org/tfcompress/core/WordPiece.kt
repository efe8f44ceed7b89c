package org.tfcompress.core

/** A text or a pair as a BERT model's three inputs, each as long as the model's sequence length. */
class Tokens(val ids: IntArray, val segments: IntArray, val mask: IntArray)

/**
 * BERT's WordPiece tokenizer. It returns the token ids of keras-nlp, with which the model was trained.
 *
 * @param vocabulary the pieces, in the order of their token ids; a piece that continues a word starts with `##`.
 * @param lowercase whether text is case-folded first, which keeps accents.
 * @param stripAccents whether accents are removed before that.
 * @param length the number of tokens, including `[CLS]` and `[SEP]`, to which a text is cut or padded.
 * @throws IllegalArgumentException if the vocabulary lacks a special token, or the length is below 3
 */
class WordPiece(
    vocabulary: List<String>,
    private val lowercase: Boolean,
    private val stripAccents: Boolean,
    private val length: Int
) {
    private val idOf = HashMap<String, Int>()
    private val longest: Int
    private val start: Int
    private val end: Int
    private val padding: Int
    private val unknown: Int

    init {
        require(length >= LEAST_LENGTH) { "the sequence length is $length; it must be at least $LEAST_LENGTH" }
        vocabulary.forEachIndexed { id, piece -> idOf.putIfAbsent(piece, id) }
        longest = vocabulary.maxOfOrNull { it.length } ?: 0
        start = special("[CLS]")
        end = special("[SEP]")
        padding = special("[PAD]")
        unknown = special("[UNK]")
    }

    private fun special(token: String) = requireNotNull(idOf[token]) { "the vocabulary lacks $token" }

    /** Tokenizes a text up to its first NUL. */
    fun encode(text: String): Tokens = tokens(pieces(text).take(length - EDGES).toList(), null)

    /** Tokenizes a pair of texts, each up to its first NUL; the longer one is cut first. */
    fun encode(first: String, second: String): Tokens {
        val room = length - LEAST_LENGTH
        val half = room / 2
        val (one, other) = pieces(first).toList() to pieces(second).toList()
        val kept = minOf(one.size, if (one.size <= other.size) half else room - minOf(other.size, half))
        return tokens(one.take(kept), other.take(room - kept))
    }

    private fun tokens(first: List<Int>, second: List<Int>?): Tokens {
        val begin = listOf(start) + first + end
        val found = if (second == null) begin else begin + second + end
        val tokens = Tokens(IntArray(length) { padding }, IntArray(length), IntArray(length))
        for ((place, id) in found.withIndex()) {
            tokens.ids[place] = id
            tokens.segments[place] = if (place < begin.size) 0 else 1
            tokens.mask[place] = 1
        }
        return tokens
    }

    private fun pieces(text: String): Sequence<Int> {
        val valid = text.substringBefore('\u0000').withoutUnpairedSurrogates()
        val words = words(if (stripAccents) Characters.stripAccents(valid) else valid)
        // Folding follows the split: a space into which a character folds must not end a word.
        return (if (lowercase) words.map(Characters::fold) else words).flatMap(::split)
    }

    private fun words(text: String): Sequence<String> = sequence {
        var begin = 0
        var place = 0
        while (place < text.length) {
            val code = text.codePointAt(place)
            val next = place + Character.charCount(code)
            val kept = Characters.isKept(code)
            if (kept || Characters.isDropped(code)) {
                if (begin < place) yield(text.substring(begin, place))
                if (kept) yield(text.substring(place, next))
                begin = next
            }
            place = next
        }
        if (begin < text.length) yield(text.substring(begin))
    }

    /** Splits a word greedily into the longest pieces; a word that has no such split is the unknown token. */
    private fun split(word: String): List<Int> {
        val unknownWord = listOf(unknown)
        if (word.toByteArray().size > MOST_BYTES) return unknownWord
        val found = ArrayList<Int>()
        var begin = 0
        while (begin < word.length) {
            val prefix = if (begin == 0) "" else SUFFIX
            val ends = minOf(word.length, begin + longest) downTo begin + 1
            val stop = ends.firstOrNull { prefix + word.substring(begin, it) in idOf } ?: return unknownWord
            found += idOf.getValue(prefix + word.substring(begin, stop))
            begin = stop
        }
        return found
    }

    private companion object {
        const val SUFFIX = "##"

        /** `[CLS]` and `[SEP]`. */
        const val EDGES = 2

        /** A text has at least one token besides; of a pair, both texts end in `[SEP]`. */
        const val LEAST_LENGTH = 3

        /** Longer words are unknown, as in keras-nlp. */
        const val MOST_BYTES = 100
    }
}

/** Replaces each unpaired surrogate by three U+FFFD, as Python does with its three bytes of invalid UTF-8. */
private fun String.withoutUnpairedSurrogates(): String {
    if (none(Char::isSurrogate)) return this
    val result = StringBuilder(length)
    codePoints().forEach { code ->
        if (code in 0xD800..0xDFFF) result.append("\uFFFD\uFFFD\uFFFD") else result.appendCodePoint(code)
    }
    return result.toString()
}
