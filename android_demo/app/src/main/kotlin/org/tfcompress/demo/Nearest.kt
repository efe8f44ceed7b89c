package org.tfcompress.demo

import org.tfcompress.core.Classifier
import org.tfcompress.core.ModelFile
import org.tfcompress.core.Picture
import org.tfcompress.core.Ranked
import org.tfcompress.core.cosine
import org.tfcompress.core.top

/** Finds the samples that an embedding model puts nearest to a picture. Only one background thread may use it. */
class Nearest(private val samples: List<Sample>) {
    private val pictures by lazy { samples.map(Sample::picture) }
    private val known = HashMap<ModelFile, List<FloatArray>>()

    /** Returns the nearest samples with the cosine of each, the nearest first. */
    fun to(picture: Picture, model: Classifier): List<Score> {
        val all = known.getOrPut(model.file) { pictures.map { model.classify(it.toPicture()) } }
        val embedding = model.classify(picture)
        val cosines = FloatArray(all.size) { cosine(embedding, all[it]) }
        return top(cosines, SHOWN).map { (place, cosine): Ranked ->
            Score(samples[place].label, cosine, isCosine = true, picture = pictures[place])
        }
    }
}
