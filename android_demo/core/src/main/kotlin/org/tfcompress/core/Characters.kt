package org.tfcompress.core

import java.text.Normalizer
import java.util.BitSet

/**
 * How keras-nlp's tokenizer treats each Unicode character.
 *
 * Android's own Unicode tables differ between versions, so this reads `unicode.txt`, which `tests/golden` writes.
 * A line of it is `dropped RANGES`, `kept RANGES`, `marks RANGES`, or a code point (or a range of them) followed by the code points to
 * which it case-folds, if any.
 */
internal object Characters {
    private val folded = HashMap<Int, IntArray>()
    private val dropped = BitSet()
    private val kept = BitSet()
    private val marks = BitSet()

    init {
        val table = checkNotNull(javaClass.getResourceAsStream("/org/tfcompress/unicode.txt"))
        table.bufferedReader(Charsets.US_ASCII).useLines { lines ->
            for (line in lines.filterNot { it.startsWith("#") }) {
                val fields = line.split(" ")
                when (fields[0]) {
                    "dropped" -> fields.drop(1).forEach { range -> dropped.set(range) }
                    "kept" -> fields.drop(1).forEach { range -> kept.set(range) }
                    "marks" -> fields.drop(1).forEach { range -> marks.set(range) }
                    else -> {
                        val to = fields.drop(1).map { it.toInt(HEXADECIMAL) }.toIntArray()
                        for (code in codes(fields[0])) folded[code] = to
                    }
                }
            }
        }
    }

    /** Returns whether a character ends a word and is dropped: white space and control characters. */
    fun isDropped(code: Int) = dropped[code]

    /** Returns whether a character is a word of its own: punctuation and ideographs. */
    fun isKept(code: Int) = kept[code]

    /** Case-folds a text by Unicode's NFKC_Casefold, which replaces compatibility forms and keeps accents. */
    fun fold(text: String): String {
        val result = StringBuilder(text.length)
        text.codePoints().forEach { code ->
            val to = folded[code]
            if (to == null) result.appendCodePoint(code) else to.forEach(result::appendCodePoint)
        }
        return Normalizer.normalize(result, Normalizer.Form.NFC)
    }

    /** Decomposes a text (NFD) and removes its accents: the marks that take no space of their own. */
    fun stripAccents(text: String): String {
        val result = StringBuilder(text.length)
        Normalizer.normalize(text, Normalizer.Form.NFD).codePoints().forEach { code ->
            if (!marks[code]) result.appendCodePoint(code)
        }
        return result.toString()
    }

    private fun BitSet.set(range: String) {
        val codes = codes(range)
        set(codes.first, codes.last + 1)
    }

    private fun codes(range: String): IntRange {
        val ends = range.split("-").map { it.toInt(HEXADECIMAL) }
        return ends.first()..ends.last()
    }

    private const val HEXADECIMAL = 16
}
