"""The checkpoints of `test_transformers`, whose answers are in transformers.json.

Their weights are made from their names, so that only names and shapes are kept. `python -m` this module writes the
file, from the root of the repository, with the packages transformers==4.57.1 (the last line that has classes for
TensorFlow), tensorflow==2.21.0 and tf-keras==2.21.0. Nothing else is imported here: those packages cannot share ours.
"""

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ANSWERS = Path(__file__).with_name("transformers.json")
WORDS, LENGTH = 20, 12

SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 10,
    "max_position_embeddings": 16,
    "num_labels": 3,
}
SEQUENCE, TOKENS, IMAGES = "ForSequenceClassification", "ForTokenClassification", "ForImageClassification"
DISTIL = {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 10}
ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
IMAGE = {"image_size": 8, "patch_size": 4, "intermediate_size": 16}
MOBILE = {"intra_bottleneck_size": 4, "embedding_size": 6, "num_feedforward_networks": 3, "num_hidden_layers": 2}


@dataclass(frozen=True)
class Case:
    """A checkpoint: its class of transformers, the task it is for, and settings of its config.json."""

    family: str
    end: str
    task: str | None
    settings: dict = field(default_factory=dict)


CASES = {
    "bert": Case("Bert", SEQUENCE, "classification", {"num_hidden_layers": 2}),
    "bert-approximate-gelu": Case("Bert", SEQUENCE, "classification", {"hidden_act": "gelu_new"}),
    "bert-one-segment": Case("Bert", SEQUENCE, "classification", {"type_vocab_size": 1}),
    "bert-tokens": Case("Bert", TOKENS, "tokens"),
    "bert-states": Case("Bert", "Model", None),
    "distilbert": Case("DistilBert", SEQUENCE, "classification", DISTIL),
    "distilbert-tokens": Case("DistilBert", TOKENS, "tokens", DISTIL),
    "roberta": Case("Roberta", SEQUENCE, "classification", ROBERTA),
    "roberta-regression": Case("Roberta", SEQUENCE, "regression", {**ROBERTA, "num_labels": 1}),
    "roberta-tokens": Case("Roberta", TOKENS, "tokens", ROBERTA),
    "roberta-states": Case("Roberta", "Model", None, ROBERTA),
    "xlm-roberta": Case("XLMRoberta", SEQUENCE, "classification", ROBERTA),
    "camembert": Case("Camembert", SEQUENCE, "classification", ROBERTA),
    "electra": Case("Electra", SEQUENCE, "classification", {"embedding_size": 6}),
    "electra-multilabel": Case(
        "Electra", SEQUENCE, "multilabel", {"embedding_size": 8, "problem_type": "multi_label_classification"}
    ),
    "electra-tokens": Case("Electra", TOKENS, "tokens", {"embedding_size": 6}),
    "mpnet": Case("MPNet", SEQUENCE, "classification", {"num_hidden_layers": 2, "relative_attention_num_buckets": 8}),
    "mpnet-tokens": Case("MPNet", TOKENS, "tokens"),
    "mpnet-states": Case("MPNet", "Model", None),
    "mobilebert": Case("MobileBert", SEQUENCE, "classification", MOBILE),
    "mobilebert-first": Case("MobileBert", SEQUENCE, "classification", {**MOBILE, "classifier_activation": False}),
    "mobilebert-tokens": Case("MobileBert", TOKENS, "tokens", MOBILE),
    "vit": Case("ViT", IMAGES, "classification", {**IMAGE, "num_hidden_layers": 2}),
    "deit": Case("DeiT", IMAGES, "classification", IMAGE),
    "deit-distilled": Case("DeiT", f"{IMAGES}WithTeacher", "classification", IMAGE),
}


def weight(name, shape):
    """Returns a tensor of a checkpoint; gains of norms are around 1."""
    values = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(shape)) - 0.5
    return np.float32(values + (1 if len(shape) == 1 and name.endswith("weight") else 0))


def inputs(config):
    """Returns examples by the names of transformers: pictures, or texts of which all but the first are padded.

    `config` is the content of config.json, with all settings.
    """
    rng = np.random.default_rng(0)
    if "image_size" in config:
        return {"pixel_values": np.float32(rng.random((3, 3, config["image_size"], config["image_size"])))}
    mask = np.arange(LENGTH) < np.array([[LENGTH], [LENGTH // 2], [3]])
    ids = np.where(mask, rng.integers(3, WORDS, mask.shape), config["pad_token_id"])
    found = {"input_ids": ids, "attention_mask": mask}
    if config.get("type_vocab_size", 1) > 1:
        found["token_type_ids"] = np.where(mask, np.arange(LENGTH) >= 2, 0)
    return {name: array.astype(np.int32) for name, array in found.items()}


def answers_of_transformers(case):
    """Returns what the test compares with: config.json, the shapes of the tensors by name, inputs and answers."""
    import transformers
    from transformers.modeling_tf_pytorch_utils import TransposeType, convert_tf_weight_name_to_pt_weight_name

    config = getattr(transformers, f"{case.family}Config")(**SIZES | case.settings)
    config.architectures = [case.family + case.end]
    model = getattr(transformers, f"TF{case.family}{case.end}")(config)
    given = inputs(config.to_dict())
    model(given)
    rename = getattr(model, "tf_to_pt_weight_rename", lambda name: (name,))
    shapes = {}
    for variable in model.weights:
        # By this function transformers finds the weights of a checkpoint that torch wrote.
        name, transpose = convert_tf_weight_name_to_pt_weight_name(variable.name, tf_weight_shape=variable.shape)
        name, axes = rename(name)[0], list(range(len(variable.shape)))
        if transpose is TransposeType.SIMPLE:
            axes = [1, 0]
        elif transpose is TransposeType.CONV2D:
            axes = [3, 2, 0, 1]
        shapes[name] = [int(variable.shape[axis]) for axis in axes]
        variable.assign(weight(name, shapes[name]).transpose(np.argsort(axes)))
    answers = np.asarray(model(given)[0], np.float64)
    return {
        "config": config.to_diff_dict(),
        "tensors": shapes,
        "inputs": {name: array.tolist() for name, array in given.items() if array.dtype == np.int32},
        "answers": [float(f"{x:.8g}") for x in answers.ravel()],
    }


if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    lines = [f"{json.dumps(name)}: {json.dumps(answers_of_transformers(case))}" for name, case in CASES.items()]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
