"""Checkpoints of every type and head answer as in the transformers package, which nobody here wrote."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.models.pretrained.transformers_cases import ANSWERS, CASES, LENGTH, inputs, weight
from tfcompress.models.pretrained import hugging_face

INPUTS = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}


@pytest.fixture(scope="module")
def answers():
    return json.loads(ANSWERS.read_text())


def write(folder, answer):
    (folder / "config.json").write_text(json.dumps(answer["config"]))
    save_file({name: weight(name, shape) for name, shape in answer["tensors"].items()}, folder / "model.safetensors")
    return folder


def given_to(model, answer):
    if "pixel_values" in (made := inputs(answer["config"])):
        return made["pixel_values"].transpose(0, 2, 3, 1)
    return {name: np.array(answer["inputs"][INPUTS[name]]) for name in model.input_names}


@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_those_of_transformers(tmp_path, answers, name):
    case, answer = CASES[name], answers[name]
    found = hugging_face.load_whole(write(tmp_path, answer), LENGTH)
    ours = np.asarray(found.model(given_to(found.model, answer)))
    theirs = np.reshape(answer["answers"], ours.shape)
    assert found.task == case.task
    assert len(found.labels) == (case.settings.get("num_labels", 3) if case.task else 0)
    if ours.ndim == 3:  # What stands at padding does not count.
        ours, theirs = (x[np.array(answer["inputs"]["attention_mask"]) > 0] for x in (ours, theirs))
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("name", ["roberta-regression", "electra-multilabel", "mpnet-tokens", "deit-distilled"])
def test_a_head_is_kept_for_its_own_task(tmp_path, answers, name):
    task = CASES[name].task
    whole = hugging_face.load_whole(write(tmp_path, answers[name]), LENGTH)
    loaded = hugging_face.load(tmp_path, len(whole.labels), LENGTH, task=task)
    assert loaded.with_head
    given = given_to(whole.model, answers[name])
    np.testing.assert_array_equal(loaded.model(given), whole.model(given))


def test_a_tokenizer_learns_what_it_needs(tmp_path, answers):
    write(tmp_path, answers["roberta"])
    (tmp_path / "tokenizer_config.json").write_text('{"cls_token": "<s>", "tokenizer_class": "RobertaTokenizer"}')
    text = hugging_face.load_whole(tmp_path, LENGTH).text
    assert (text.kind, text.padding, text.most_tokens, text.segments) == ("roberta", 1, 14, False)
    assert text.special == {"cls_token": "<s>"}
    assert text.own_tokenizer == "has the tokenizer RobertaTokenizer"
