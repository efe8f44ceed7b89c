"""Reference forward passes of Hugging Face's BERT, DistilBERT and ViT in numpy, in float64.

They are written only from the papers and the names of the tensors.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf


class Forward:
    def __init__(self, tensors, heads, epsilon):
        self.tensors = {name: array.astype(np.float64) for name, array in tensors.items()}
        self.heads = heads
        self.epsilon = epsilon

    def linear(self, x, name):
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def attention(self, x, names, mask=None):
        query, key, value = (self.linear(x, name) for name in names[:3])
        size = query.shape[-1] // self.heads
        contexts = []
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[..., part] @ key[..., part].swapaxes(1, 2) / np.sqrt(size)
            if mask is not None:
                scores = np.where(mask[:, None, :], scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            contexts.append(weights / weights.sum(-1, keepdims=True) @ value[..., part])
        return self.linear(np.concatenate(contexts, -1), names[3])


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def bert(tensors, heads, epsilon, ids, segments, mask):
    """Returns the states of all tokens."""
    f = Forward(tensors, heads, epsilon)
    x = f.tensors["embeddings.word_embeddings.weight"][ids]
    x = x + f.tensors["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = f.norm(x + f.tensors["embeddings.token_type_embeddings.weight"][segments], "embeddings.LayerNorm")
    for layer in range(sum("attention.self.query.weight" in name for name in tensors)):
        at = f"encoder.layer.{layer}"
        names = [*(f"{at}.attention.self.{part}" for part in ("query", "key", "value")), f"{at}.attention.output.dense"]
        x = f.norm(x + f.attention(x, names, mask), f"{at}.attention.output.LayerNorm")
        h = f.linear(gelu(f.linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        x = f.norm(x + h, f"{at}.output.LayerNorm")
    return x


def distilbert(tensors, heads, epsilon, ids, mask):
    """Returns the states of all tokens."""
    f = Forward(tensors, heads, epsilon)
    x = f.tensors["embeddings.word_embeddings.weight"][ids]
    x = f.norm(x + f.tensors["embeddings.position_embeddings.weight"][: ids.shape[1]], "embeddings.LayerNorm")
    for layer in range(sum("attention.q_lin.weight" in name for name in tensors)):
        at = f"transformer.layer.{layer}"
        x = f.norm(
            x + f.attention(x, [f"{at}.attention.{part}_lin" for part in ("q", "k", "v", "out")], mask),
            f"{at}.sa_layer_norm",
        )
        x = f.norm(x + f.linear(gelu(f.linear(x, f"{at}.ffn.lin1")), f"{at}.ffn.lin2"), f"{at}.output_layer_norm")
    return x


def vit(tensors, heads, epsilon, images):
    """Returns the states of all tokens for images `(batch, rows, columns, 3)`."""
    f = Forward(tensors, heads, epsilon)
    kernel = f.tensors["embeddings.patch_embeddings.projection.weight"]
    size = kernel.shape[-1]
    patches = [
        np.einsum("brcx,dxrc->bd", images[:, row : row + size, column : column + size], kernel)
        for row in range(0, images.shape[1], size)
        for column in range(0, images.shape[2], size)
    ]
    x = np.stack(patches, 1) + f.tensors["embeddings.patch_embeddings.projection.bias"]
    names = ("embeddings.cls_token", "embeddings.distillation_token")
    tokens = [np.repeat(f.tensors[name], len(images), 0) for name in names if name in f.tensors]
    x = np.concatenate([*tokens, x], 1) + f.tensors["embeddings.position_embeddings"]
    for layer in range(sum("attention.attention.query.weight" in name for name in tensors)):
        at = f"encoder.layer.{layer}"
        names = [
            *(f"{at}.attention.attention.{part}" for part in ("query", "key", "value")),
            f"{at}.attention.output.dense",
        ]
        x = x + f.attention(f.norm(x, f"{at}.layernorm_before"), names)
        h = gelu(f.linear(f.norm(x, f"{at}.layernorm_after"), f"{at}.intermediate.dense"))
        x = x + f.linear(h, f"{at}.output.dense")
    return f.norm(x, "layernorm")


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())
