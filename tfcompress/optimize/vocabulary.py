"""Vocabulary trimming: tokens that a corpus never uses are removed (Abdaoui et al., arXiv 2010.05609)."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import tf_keras
from pydantic import Field

from tfcompress.data import registry
from tfcompress.data.dataset import Dataset
from tfcompress.data.text import texts, tokenized
from tfcompress.data.tokenizer import IntArray, Tokenizer
from tfcompress.errors import UserError
from tfcompress.models.anatomy import input_tables
from tfcompress.optimize.resizing import resized
from tfcompress.optimize.technique import Context, Technique
from tfcompress.traits import Traits


class TrimVocabulary(Technique):
    """Removes the rows of unused tokens from the embedding table, and their pieces from the tokenizer.

    Texts of used tokens give the same outputs as before. Special tokens and single characters stay, so that other words
    can still be spelled.
    """

    name: ClassVar[str] = "trim_vocabulary"

    corpus: tuple[registry.TextSet, ...] = Field(
        (), description="text data sets, NAME or NAME:PATH, whose training texts count as used besides those of the run"
    )

    def check(self, model: tf_keras.Model) -> None:
        _token_table(model)

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        table = _token_table(model)
        tokenizer = _tokenizer(context.data)
        if table.input_dim < len(tokenizer.vocabulary):
            raise UserError(
                f"trim_vocabulary: {table.name} has {table.input_dim} rows, but the tokenizer of {context.data.name} "
                f"has {len(tokenizer.vocabulary)} pieces; use the tokenizer that the model was trained with"
            )
        kept = tokenizer.kept(self._used(context.data))
        rows = table.get_weights()[0][kept]
        return resized(model, {table.name: {"input_dim": len(rows)}}, {table.name: [rows]})

    def adapt(self, data: Dataset) -> Dataset:
        return tokenized(data, _tokenizer(data).restricted(self._used(data)))

    def rehearsed(self, model: tf_keras.Model) -> Self:
        return super().rehearsed(model).model_copy(update={"corpus": ()})

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        return traits if self.fit is None else {}  # Its training is of all weights.

    def _used(self, data: Dataset) -> IntArray:
        tokenizer = _tokenizer(data)
        corpora = [texts(source, "train") for source in (data, *map(registry.load_texts, self.corpus))]
        if not corpora[0] and data.unlabelled is not None:
            corpora[0] = [text.decode("utf-8", "replace") for text in data.unlabelled.as_numpy_iterator()]
        if not any(corpora):
            raise UserError(
                f"trim_vocabulary: data set {data.name} has no training texts, whose tokens would stay; give texts "
                "without labels as corpus, or as data.calibration"
            )
        return np.unique(np.concatenate([tokenizer.used(found) for found in corpora]))


def _tokenizer(data: Dataset) -> Tokenizer:
    if not isinstance(data.decode, Tokenizer):
        raise UserError(
            f"trim_vocabulary: data set {data.name} has no Tokenizer as its `decode`; choose texts that a Tokenizer "
            "cuts into tokens"
        )
    return data.decode


def _token_table(model: tf_keras.Model) -> tf_keras.layers.Embedding:
    for name, layer in input_tables(model):
        if name == "token_ids":
            return layer
    raise UserError(
        f"trim_vocabulary: model {model.name} has no Embedding that reads the input token_ids; choose a text model "
        "such as those of tfcompress.models.bert"
    )
