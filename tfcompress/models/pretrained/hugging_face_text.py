"""Maps the configs and weights of Hugging Face's text models to ours.

Names and defaults of settings, and names of tensors, are those of the `transformers` package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import Field, NonNegativeInt, PositiveInt

from tfcompress.models.bert import BertConfig, Pooling
from tfcompress.models.mobilebert import MobileBertConfig
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.pretrained.hugging_face_config import GELUS, Encoder, Gelu
from tfcompress.models.pretrained.hugging_face_weights import (
    Entries,
    block_weights,
    check_all_used,
    check_shapes,
    dense_weights,
    norm_weights,
)


class TextSettings(Encoder):
    """What config.json of a BERT says."""

    hidden_act: Gelu = "gelu"
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    type_vocab_size: PositiveInt = 2
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    pad_token_id: NonNegativeInt = 0

    @property
    def first_position(self) -> int:
        """The row of the position embedding that the first token has."""
        return 0

    @property
    def segments(self) -> int:
        """The number of segments that are told apart; a single one is none: `text_weights` adds it to the positions."""
        return self.type_vocab_size if self.type_vocab_size > 1 else 0

    @property
    def epsilon(self) -> float:
        """What LayerNorm adds to the variance."""
        return self.layer_norm_eps

    @property
    def most_tokens(self) -> int:
        """The largest number of tokens that have a position."""
        return self.max_position_embeddings - self.first_position


class DistilBertSettings(TextSettings):
    """What config.json of a DistilBERT says, which has other names for the same. It has no segments."""

    hidden_size: PositiveInt = Field(validation_alias="dim")
    num_hidden_layers: PositiveInt = Field(validation_alias="n_layers")
    num_attention_heads: PositiveInt = Field(validation_alias="n_heads")
    intermediate_size: PositiveInt = Field(validation_alias="hidden_dim")
    hidden_act: Gelu = Field("gelu", validation_alias="activation")

    @property
    def segments(self) -> int:
        return 0

    @property
    def epsilon(self) -> float:
        return 1e-12


class RobertaSettings(TextSettings):
    """What config.json of a RoBERTa says, or of an XLM-R or a CamemBERT, which are the same."""

    pad_token_id: NonNegativeInt = 1

    @property
    def first_position(self) -> int:
        return self.pad_token_id + 1


class ElectraSettings(TextSettings):
    """What config.json of an ELECTRA says."""

    embedding_size: PositiveInt = 128


class MpnetSettings(TextSettings):
    """What config.json of an MPNet says. It has no segments."""

    pad_token_id: NonNegativeInt = 1
    relative_attention_num_buckets: int = Field(32, ge=4)

    @property
    def segments(self) -> int:
        return 0

    @property
    def first_position(self) -> int:
        return 2  # whatever pad_token_id is


class MobileBertSettings(TextSettings):
    """What config.json of a MobileBERT says; of its variants, we have the published one."""

    hidden_act: Literal["relu"] = "relu"  # type: ignore[assignment]
    embedding_size: PositiveInt = 128
    intra_bottleneck_size: PositiveInt = 128
    num_feedforward_networks: PositiveInt = 4
    trigram_input: Literal[True] = True
    use_bottleneck: Literal[True] = True
    use_bottleneck_attention: Literal[False] = False
    key_query_shared_bottleneck: Literal[True] = True
    normalization_type: Literal["no_norm"] = "no_norm"
    classifier_activation: bool = True


_BLOCK = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "mlp1": "intermediate.dense",
    "mlp2": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT_BLOCK = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "mlp1": "ffn.lin1",
    "mlp2": "ffn.lin2",
    "norm2": "output_layer_norm",
}
_MPNET_BLOCK = {
    **{ours: f"attention.attn.{ours[0]}" for ours in ("query", "key", "value", "output")},
    "norm1": "attention.LayerNorm",
    "mlp1": "intermediate.dense",
    "mlp2": "output.dense",
    "norm2": "output.LayerNorm",
}
_MOBILEBERT_BLOCK = {
    **{part: f"attention.self.{part}" for part in ("query", "key", "value")},
    "bottleneck": "bottleneck.input.dense",
    "bottleneck_norm": "bottleneck.input.LayerNorm",
    "shared": "bottleneck.attention.dense",
    "shared_norm": "bottleneck.attention.LayerNorm",
    "output": "attention.output.dense",
    "output_norm": "attention.output.LayerNorm",
    "expand": "output.bottleneck.dense",
    "expand_norm": "output.bottleneck.LayerNorm",
}


@dataclass(frozen=True)
class _Family:
    """What one type of text model has in common.

    Attributes:
        settings: of its config.json.
        block: the names of a block's tensors by ours.
        pooling: of its classifiers, as `BertConfig` names it.
        poolers: where the Dense layer of that pooling may be; the first one that is there counts.
        blocks: what the names of all blocks begin with.
    """

    settings: type[TextSettings]
    block: Mapping[str, str]
    pooling: Pooling = "tanh"
    poolers: tuple[str, ...] = ("pooler.dense",)
    blocks: str = "encoder.layer"


_OF_HEAD = ("classifier.dense", "pooler.dense")
_ROBERTA = _Family(RobertaSettings, _BLOCK, poolers=_OF_HEAD)
_FAMILIES = {
    "bert": _Family(TextSettings, _BLOCK),
    "distilbert": _Family(DistilBertSettings, _DISTILBERT_BLOCK, "relu", ("pre_classifier",), "transformer.layer"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": _Family(ElectraSettings, _BLOCK, "gelu", ("classifier.dense",)),
    "mpnet": _Family(MpnetSettings, _MPNET_BLOCK, poolers=_OF_HEAD),
    "mobilebert": _Family(MobileBertSettings, _MOBILEBERT_BLOCK),
}


def settings_of(kind: str) -> type[TextSettings]:
    """Returns the settings in config.json of a type of text model."""
    return _FAMILIES[kind].settings


def own_pooling(settings: TextSettings, kind: str) -> Pooling:
    """Returns the pooling of a type's classifiers, as `BertConfig` names it."""
    if isinstance(settings, MobileBertSettings) and not settings.classifier_activation:
        return "first"
    return _FAMILIES[kind].pooling


def last_layer(config: BertConfig | MobileBertConfig) -> str:
    """Returns the name of the layer that gives the last hidden states."""
    return f"block_{config.depth - 1}_{'norm2' if isinstance(config, BertConfig) else 'expand_norm'}"


def text_config(settings: TextSettings, length: int, pooling: Pooling) -> BertConfig | MobileBertConfig:
    """Returns our config of a text model with a sequence length in tokens; for `pooling` see `BertConfig`."""
    if isinstance(settings, MobileBertSettings):
        return MobileBertConfig(
            vocabulary=settings.vocab_size,
            sequence_length=length,
            width=settings.hidden_size,
            depth=settings.num_hidden_layers,
            heads=settings.num_attention_heads,
            bottleneck=settings.intra_bottleneck_size,
            embedding=settings.embedding_size,
            mlp=settings.intermediate_size,
            feedforwards=settings.num_feedforward_networks,
            segments=settings.segments,
            pooling=pooling,
        )
    return BertConfig(
        vocabulary=settings.vocab_size,
        sequence_length=length,
        width=settings.hidden_size,
        depth=settings.num_hidden_layers,
        heads=settings.num_attention_heads,
        mlp=settings.intermediate_size,
        segments=settings.segments,
        epsilon=settings.epsilon,
        exact_gelu=GELUS[settings.hidden_act],
        pooling=pooling,
        embedding=settings.embedding_size if isinstance(settings, ElectraSettings) else None,
        relative=settings.relative_attention_num_buckets if isinstance(settings, MpnetSettings) else 0,
    )


def text_weights(
    settings: TextSettings, kind: str, tensors: Entries, source: str, length: int, pooling: str | None
) -> tuple[BertConfig | MobileBertConfig, dict[str, list[Array]]]:
    """Returns the config of a text model, and its weights by our layer names.

    Args:
        settings: of config.json.
        kind: the type of model.
        tensors: of `encoder_names`.
        source: name of the checkpoint in errors.
        length: sequence length in tokens; the position embedding is cut to it.
        pooling: see `BertConfig`; by default the type's own. With another one, the pooler is left out.

    Raises:
        UserError: a tensor is missing, or the tensors do not match the settings.
    """
    own = own_pooling(settings, kind)
    config = text_config(settings, length, cast(Pooling, pooling or own))
    family = _FAMILIES[kind]
    parts = _of_networks(config) if isinstance(config, MobileBertConfig) else family.block
    words, positions = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    inner, embedded = _widths(config)
    shapes = {
        words: (config.vocabulary, config.embedding or config.width),
        positions: (settings.max_position_embeddings, embedded),
        f"{family.blocks}.0.{family.block.get('mlp1', 'intermediate.dense')}.weight": (config.mlp, inner),
    }
    check_shapes(tensors, shapes, source)
    first = settings.first_position
    table = tensors[positions][None, first : first + length]
    weights = {"token_embedding": [tensors[words]], "embedding_norm": norm_weights(tensors, "embeddings.LayerNorm")}
    segments = "embeddings.token_type_embeddings.weight"
    if config.segments:
        weights["segment_embedding"] = [tensors[segments]]
    elif segments in tensors:
        table = table + tensors[segments][0]
    weights["position_embedding"] = [table]
    if isinstance(config, MobileBertConfig):
        weights["embedding_projection"] = dense_weights(tensors, "embeddings.embedding_transformation")
    elif embedded != config.width:
        weights["embedding_projection"] = dense_weights(tensors, "embeddings_project")
    if isinstance(config, BertConfig) and config.relative:
        weights["relative_bias"] = [tensors["encoder.relative_attention_bias.weight"]]
    weights |= block_weights(tensors, family.blocks, config.depth, parts)
    pooler = next((name for name in family.poolers if f"{name}.weight" in tensors), None)
    if config.pooling == own != "first" and pooler is not None:
        weights["pooler"] = dense_weights(tensors, pooler)
    check_all_used(tensors)
    return config, weights


def _widths(config: BertConfig | MobileBertConfig) -> tuple[int, int]:
    """Returns the width in which a block's feed-forward networks begin, and that of the sum of embeddings."""
    if isinstance(config, MobileBertConfig):
        return config.bottleneck, config.width
    return config.width, config.embedding or config.width


def _of_networks(config: MobileBertConfig) -> dict[str, str]:
    """Returns the names of a MobileBERT block's tensors; the last of its feed-forward networks has names of its own."""
    last = config.feedforwards - 1
    places = {network: f"ffn.{network}." for network in range(last)} | {last: ""}
    parts = {"in": "intermediate.dense", "out": "output.dense", "norm": "output.LayerNorm"}
    networks = {f"mlp{n}_{ours}": place + theirs for n, place in places.items() for ours, theirs in parts.items()}
    return _MOBILEBERT_BLOCK | networks
