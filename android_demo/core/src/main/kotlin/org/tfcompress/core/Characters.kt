package org.tfcompress.core

import java.text.Normalizer
import java.util.BitSet

/**
 * How keras-nlp's tokenizer takes each character, from a table that is the same on every phone: `unicode.txt`, which
 * `tests/golden` makes.
 *
 * A line is `dropped RANGES`, `kept RANGES`, or a code point (or a range) and what case folding makes of it, possibly
 * nothing.
 */
internal object Characters {
    private val folded = HashMap<Int, IntArray>()
    private val dropped = BitSet()
    private val kept = BitSet()

    init {
        val table = checkNotNull(javaClass.getResourceAsStream("/org/tfcompress/unicode.txt"))
        table.bufferedReader(Charsets.US_ASCII).useLines { lines ->
            for (line in lines.filterNot { it.startsWith("#") }) {
                val fields = line.split(" ")
                when (fields[0]) {
                    "dropped" -> fields.drop(1).forEach { range -> dropped.set(range) }
                    "kept" -> fields.drop(1).forEach { range -> kept.set(range) }
                    else -> {
                        val to = fields.drop(1).map { it.toInt(HEXADECIMAL) }.toIntArray()
                        for (code in codes(fields[0])) folded[code] = to
                    }
                }
            }
        }
    }

    /** White space and control characters: they end a word and vanish. */
    fun isDropped(code: Int) = dropped[code]

    /** Punctuation and ideographs: each is a word of its own. */
    fun isKept(code: Int) = kept[code]

    /** Case folding, Unicode's NFKC_Casefold: compatibility forms are taken apart, accents stay. */
    fun fold(text: String): String {
        val result = StringBuilder(text.length)
        text.codePoints().forEach { code ->
            val to = folded[code]
            if (to == null) result.appendCodePoint(code) else to.forEach(result::appendCodePoint)
        }
        return Normalizer.normalize(result, Normalizer.Form.NFC)
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
