package org.tfcompress.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class WordPieceTest {
    private val golden = Golden.load("golden_tokens")
    private val vocabulary = golden.getJSONArray("vocabulary").strings()
    private val length = golden.getInt("sequence_length")

    private fun differing(key: String, lowercase: Boolean, stripAccents: Boolean = false): List<String> {
        val tokenizer = WordPiece(vocabulary, lowercase, stripAccents, length)
        val lines = golden.getJSONArray("lines").objects()
        assertTrue(lines.size >= 2000)
        return lines.mapNotNull { line ->
            val text = line.getString("text")
            val tokens = tokenizer.encode(text)
            val expected = line.getJSONArray(key).ints()
            val found = tokens.ids.take(tokens.mask.sum())
            if (found == expected) null else "${text.take(60)}: $expected, here $found"
        }
    }

    @Test
    fun `lowercase ids equal those of keras-nlp`() = assertEquals(emptyList<String>(), differing("ids", true))

    @Test
    fun `cased ids equal those of keras-nlp`() = assertEquals(emptyList<String>(), differing("cased_ids", false))

    @Test
    fun `ids without accents equal those of keras-nlp`() =
        assertEquals(emptyList<String>(), differing("stripped_ids", true, stripAccents = true))

    @Test
    fun `pairs are cut and joined as in Python`() {
        val tokenizers = HashMap<Int, WordPiece>()
        val lines = golden.getJSONArray("lines").objects().map { it.getString("text") }
        val pairs = golden.getJSONArray("pairs").objects()
        assertTrue(pairs.size >= 400)
        for (pair in pairs) {
            val (first, second) = listOf("first", "second").map { lines[pair.getInt(it)] }
            val tokenizer = tokenizers.getOrPut(pair.getInt("sequence_length")) {
                WordPiece(vocabulary, true, false, pair.getInt("sequence_length"))
            }
            val tokens = tokenizer.encode(first, second)
            val count = tokens.mask.sum()
            val name = "${first.take(60)} | ${second.take(60)}"
            assertEquals(name, pair.getJSONArray("ids").ints(), tokens.ids.take(count))
            assertEquals(name, pair.getJSONArray("segment_ids").ints(), tokens.segments.take(count))
            assertEquals(name, 0, tokens.segments.drop(count).sum())
        }
    }

    @Test
    fun `a text is padded or cut to the sequence length`() {
        val tokenizer = WordPiece(listOf("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"), true, false, 5)
        val short = tokenizer.encode("A")
        assertArrayEquals(intArrayOf(2, 4, 3, 0, 0), short.ids)
        assertArrayEquals(intArrayOf(1, 1, 1, 0, 0), short.mask)
        assertArrayEquals(IntArray(5), short.segments)
        assertArrayEquals(intArrayOf(2, 4, 1, 4, 3), tokenizer.encode("a b a a").ids)
    }

    @Test
    fun `a vocabulary without a special token is refused`() {
        val error = assertThrows(IllegalArgumentException::class.java) { WordPiece(listOf("[CLS]"), true, false, 8) }
        assertEquals("the vocabulary lacks [SEP]", error.message)
    }
}
