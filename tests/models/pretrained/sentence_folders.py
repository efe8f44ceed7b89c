"""Small checkpoints in the layout of sentence-transformers, with random weights."""

import json

from safetensors.numpy import save_file

from tests.models.pretrained.hugging_face_folders import BERT, WIDTH, bert_tensors, write

ENCODER = {name: array for name, array in bert_tensors().items() if "classifier" not in name}
NORMALIZE = ("Normalize", None, None)

_FLAGS = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


def pooling(*modes):
    """Returns the settings of a Pooling that joins these modes."""
    return {"word_embedding_dimension": WIDTH, **{f"pooling_mode_{flag}": flag in modes for flag in _FLAGS}}


def sentence_folder(folder, pooled, *after, encoder="", **settings):
    """Writes a folder of sentence-transformers whose modules after the pooling are (kind, config, tensors)."""
    (folder / encoder).mkdir(exist_ok=True)
    write(folder / encoder, {**BERT, "architectures": ["BertModel"]}, ENCODER, sentence_bert_config=settings)
    modules = [("Transformer", encoder, None, None), ("Pooling", "1_Pooling", pooled, None)]
    modules += [(kind, f"{n}_{kind}", *parts) for n, (kind, *parts) in enumerate(after, 2)]
    listed = []
    for number, (kind, path, config, tensors) in enumerate(modules):
        listed.append(
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        )
        if config is not None:
            (folder / path).mkdir(exist_ok=True)
            (folder / path / "config.json").write_text(json.dumps(config))
        if tensors is not None:
            save_file(tensors, folder / path / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder
