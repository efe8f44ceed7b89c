"""Small checkpoints in Hugging Face's layout, with random weights."""

import json

import numpy as np
from safetensors.numpy import save_file

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "\x85", "fox"]
PARTS = ("query", "key", "value")
WIDTH, MLP, LENGTH, ROWS = 16, 32, 7, 12

BERT = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": len(WORDS),
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": MLP,
    "max_position_embeddings": ROWS,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
}
DISTILBERT = {
    "model_type": "distilbert",
    "vocab_size": len(WORDS),
    "dim": WIDTH,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": MLP,
    "max_position_embeddings": ROWS,
    "activation": "gelu",
}
VIT = {**BERT, "model_type": "vit", "architectures": ["ViTForImageClassification"], "image_size": 8, "patch_size": 4}

BERT_LAYER = {
    **{f"attention.self.{part}": (WIDTH, WIDTH) for part in PARTS},
    "attention.output.dense": (WIDTH, WIDTH),
    "attention.output.LayerNorm": (WIDTH,),
    "intermediate.dense": (MLP, WIDTH),
    "output.dense": (WIDTH, MLP),
    "output.LayerNorm": (WIDTH,),
}
DISTILBERT_LAYER = {
    **{f"attention.{part}_lin": (WIDTH, WIDTH) for part in ("q", "k", "v", "out")},
    "sa_layer_norm": (WIDTH,),
    "ffn.lin1": (MLP, WIDTH),
    "ffn.lin2": (WIDTH, MLP),
    "output_layer_norm": (WIDTH,),
}
VIT_LAYER = {
    **{f"attention.attention.{part}": (WIDTH, WIDTH) for part in PARTS},
    "attention.output.dense": (WIDTH, WIDTH),
    "layernorm_before": (WIDTH,),
    "layernorm_after": (WIDTH,),
    "intermediate.dense": (MLP, WIDTH),
    "output.dense": (WIDTH, MLP),
}
TEXT_TABLES = {
    "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
    "embeddings.position_embeddings.weight": (ROWS, WIDTH),
}


def tensors_of(modules, prefix, layer, tables):
    """Returns random tensors by name: weight and bias of each module, given the weight's shape, and plain tables."""
    shapes = dict(tables)
    modules = {**modules, **{f"{prefix}.{n}.{name}": shape for n in range(2) for name, shape in layer.items()}}
    for name, shape in modules.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(loc=len(shape) == 1, size=shape, scale=0.3).astype(np.float32)
        for name, shape in shapes.items()
    }


def bert_tensors():
    modules = {"embeddings.LayerNorm": (WIDTH,), "pooler.dense": (WIDTH, WIDTH), "classifier": (3, WIDTH)}
    tables = {**TEXT_TABLES, "embeddings.token_type_embeddings.weight": (2, WIDTH)}
    return tensors_of(modules, "encoder.layer", BERT_LAYER, tables)


def distilbert_tensors():
    modules = {"embeddings.LayerNorm": (WIDTH,), "pre_classifier": (WIDTH, WIDTH), "classifier": (3, WIDTH)}
    return tensors_of(modules, "transformer.layer", DISTILBERT_LAYER, TEXT_TABLES)


def vit_tensors():
    modules = {
        "embeddings.patch_embeddings.projection": (WIDTH, 3, 4, 4),
        "layernorm": (WIDTH,),
        "classifier": (3, WIDTH),
    }
    tables = {"embeddings.cls_token": (1, 1, WIDTH), "embeddings.position_embeddings": (1, 5, WIDTH)}
    return tensors_of(modules, "encoder.layer", VIT_LAYER, tables)


def write(folder, config, tensors, words=WORDS, **files):
    """Writes a checkpoint as the transformers package does, with the type as the prefix of the encoder's names."""
    heads = ("classifier.", "pre_classifier.", "cls_classifier.", "distillation_classifier.")
    kind = config["model_type"]
    named = {name if name.startswith(heads) else f"{kind}.{name}": array for name, array in tensors.items()}
    save_file({name: np.ascontiguousarray(array) for name, array in named.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if words:
        (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def deit_tensors():
    rng = np.random.default_rng(3)
    more = {
        "embeddings.distillation_token": rng.normal(size=(1, 1, WIDTH)).astype(np.float32),
        "embeddings.position_embeddings": rng.normal(size=(1, 6, WIDTH)).astype(np.float32),
    }
    return vit_tensors() | more


def texts(rows=None, length=LENGTH):
    rng = np.random.default_rng(1)
    rows = rows or len(WORDS)
    mask = np.arange(length) < np.array([[length], [3]])
    return rng.integers(0, rows, (2, length)), rng.integers(0, 2, (2, length)), mask


def without(tensors, name):
    return {key: array for key, array in tensors.items() if key != name}
