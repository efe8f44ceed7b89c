import numpy as np
import pytest
import tf_keras

from tests.models.pretrained import hugging_face_forward as forward
from tests.models.pretrained.hugging_face_folders import (
    BERT,
    LENGTH,
    ROWS,
    VIT,
    WIDTH,
    WORDS,
    bert_tensors,
    deit_tensors,
    texts,
    vit_tensors,
    write,
)
from tests.models.pretrained.hugging_face_forward import close
from tfcompress.errors import UserError
from tfcompress.models.pretrained import hugging_face


def test_a_whole_checkpoint_keeps_its_own_head(tmp_path):
    tensors = bert_tensors()
    labels = {str(i): name for i, name in enumerate("abc")}
    write(tmp_path, {**BERT, "id2label": labels}, tensors)
    found = hugging_face.load_whole(tmp_path)
    assert (found.task, found.labels) == ("classification", ("a", "b", "c"))
    assert found.model.inputs[0].shape[1] == ROWS  # as many as it has positions
    ids, segments, mask = texts(length=ROWS)
    close(found.model([ids, segments, mask]), hugging_face.load(tmp_path, 3, ROWS).model([ids, segments, mask]))
    write(tmp_path, {**BERT, "problem_type": "multi_label_classification"}, tensors)
    assert hugging_face.load_whole(tmp_path).task == "multilabel"
    single = {name: array[:1] if "classifier" in name else array for name, array in tensors.items()}
    assert hugging_face.load_whole(write(tmp_path, BERT, single)).task == "regression"
    write(tmp_path, {**BERT, "id2label": {"0": "a"}}, tensors)
    with pytest.raises(UserError, match=r"name the class of each score from 0 to 2$"):
        hugging_face.load_whole(tmp_path)


def test_a_checkpoint_without_a_head_gives_its_last_hidden_states(tmp_path):
    tensors = bert_tensors()
    write(tmp_path, {**BERT, "architectures": ["BertModel"]}, tensors)
    found = hugging_face.load_whole(tmp_path, LENGTH)
    ids, segments, mask = texts()
    close(found.model([ids, segments, mask]), forward.bert(tensors, 2, 1e-5, ids, segments, mask))
    assert (found.task, found.labels, found.vocabulary) == (None, (), tuple(WORDS))
    write(tmp_path, {**BERT, "architectures": ["BertForMaskedLM"]}, tensors)
    with pytest.warns(UserWarning, match=r"the head of .* \(BertForMaskedLM\) is left out"):
        hugging_face.load_whole(tmp_path, LENGTH)

    bare = {name: array for name, array in vit_tensors().items() if "classifier" not in name}
    found = hugging_face.load_whole(write(tmp_path, {**VIT, "architectures": ["ViTModel"]}, bare, words=None))
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    close(found.model(images), forward.vit(bare, 2, 1e-5, images))


def test_another_pooling_or_number_of_classes_means_a_random_head(tmp_path):
    tensors = bert_tensors()
    write(tmp_path, BERT, tensors)
    mean = hugging_face.load(tmp_path, 3, LENGTH, pooling="mean").model
    ids, segments, mask = texts()
    states = forward.bert(tensors, 2, 1e-5, ids, segments, mask)
    expected = (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    features = tf_keras.Model(mean.inputs, mean.get_layer("features").output)([ids, segments, mask])
    close(features, expected)
    for fresh in (mean, hugging_face.load(tmp_path, 3, LENGTH, pooling="relu").model):
        assert not np.array_equal(fresh.get_layer("head").kernel, tensors["classifier.weight"].T)
    two = hugging_face.load(tmp_path, 2, LENGTH).model
    np.testing.assert_array_equal(two.get_layer("pooler").kernel, tensors["pooler.dense.weight"].T)
    assert two.output_shape == (None, 2)


@pytest.mark.parametrize(
    ("config", "classes", "new_head", "labels"),
    [
        ({"id2label": {"2": "c", "0": "a", "1": 7}}, 3, False, ("a", "7", "c")),
        ({}, 3, False, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {"0": "a", "2": "c"}}, 2, False, ()),
        ({"id2label": {"0": "a", "2": "c"}}, 3, True, ()),
    ],
)
def test_the_labels_are_those_of_a_head_that_is_copied(tmp_path, config, classes, new_head, labels):
    write(tmp_path, BERT | config, bert_tensors())
    loaded = hugging_face.load(tmp_path, classes, LENGTH, new_head=new_head)
    assert loaded.labels == labels
    same = np.array_equal(loaded.model.get_layer("head").kernel, bert_tensors()["classifier.weight"].T)
    assert same == bool(labels)


@pytest.mark.parametrize("labels", [{"0": "a", "2": "c"}, {"0": "a", "1": "b", "3": "c"}, ["a", "b", "c"], "abc"])
def test_labels_that_do_not_name_every_score_are_refused(tmp_path, labels):
    write(tmp_path, BERT | {"id2label": labels}, bert_tensors())
    with pytest.raises(
        UserError, match=r"id2label in config\.json .*, but the head has 3 scores; name .* or set model.new_head"
    ):
        hugging_face.load(tmp_path, 3, LENGTH)


def test_the_head_of_a_token_classifier_is_not_copied(tmp_path):
    config = {**BERT, "architectures": ["BertForTokenClassification"]}
    model = hugging_face.load(write(tmp_path, config, bert_tensors()), 3, LENGTH).model
    assert not np.array_equal(model.get_layer("head").kernel, bert_tensors()["classifier.weight"].T)


def test_two_heads_give_their_mean_and_a_new_head_reads_the_class_token(tmp_path):
    tensors = deit_tensors()
    rng = np.random.default_rng(4)
    for name in ("cls_classifier", "distillation_classifier"):
        tensors[f"{name}.weight"] = rng.normal(size=(3, WIDTH)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=3).astype(np.float32)
    del tensors["classifier.weight"], tensors["classifier.bias"]
    config = {**VIT, "model_type": "deit", "architectures": ["DeiTForImageClassificationWithTeacher"]}
    folder = write(tmp_path, config, tensors, words=None)
    images = rng.random((2, 8, 8, 3))
    states, f = forward.vit(tensors, 2, 1e-5, images), forward.Forward(tensors, 2, 1e-5)
    expected = (f.linear(states[:, 0], "cls_classifier") + f.linear(states[:, 1], "distillation_classifier")) / 2
    close(hugging_face.load(folder, 3).model(images.astype(np.float32)), expected)
    fresh = hugging_face.load(folder, 3, new_head=True)
    assert fresh.labels == ()
    features = tf_keras.Model(fresh.model.inputs, fresh.model.get_layer("features").output)
    close(features(images.astype(np.float32)), states[:, 0])


def test_an_embedding_of_a_plain_checkpoint_is_the_mean_or_the_class_token(tmp_path):
    tensors = bert_tensors()
    ids, segments, mask = texts()
    states = forward.bert(tensors, 2, 1e-5, ids, segments, mask)
    found = hugging_face.load(write(tmp_path, BERT, tensors), 0, LENGTH, task="embedding")
    assert (found.task, found.with_head, found.model.output_names) == ("embedding", True, ["embedding"])
    close(found.model([ids, segments, mask]), (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None])
    first = hugging_face.load(tmp_path, 0, LENGTH, pooling="first", task="embedding")
    close(first.model([ids, segments, mask]), states[:, 0])
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    found = hugging_face.load(write(tmp_path, VIT, vit_tensors(), words=None), 0, task="embedding")
    close(found.model(images), forward.vit(vit_tensors(), 2, 1e-5, images)[:, 0])
