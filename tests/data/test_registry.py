from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfcompress.data.registry import NAMES, TEXT, Data, load, named
from tfcompress.data.splits import Fractions
from tfcompress.errors import UserError


def test_data_are_named_with_and_without_a_path(tmp_path):
    assert named("digits") == Data(name="digits")
    assert named("text_file:a:b.tsv").path.name == "a:b.tsv"
    assert named("text_file", tmp_path) == named(f"text_file:{tmp_path}") == Data(name="text_file", path=tmp_path)


def test_a_recipe_stands_for_its_data(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("data: {name: image_folder, path: pictures, split: {test: 0.3}}\nmodel: {preset: vit_digits}\n")
    data = named(str(recipe))
    assert (data.name, data.path.name, data.split) == ("image_folder", "pictures", Fractions(test=0.3))
    assert named(str(recipe), tmp_path).path == tmp_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"mine\.yaml cannot be read .*; name a YAML file with a section data"),
        ("model: 3", r"mine\.yaml has no section data; write one"),
        ("data: {name: digits, sepal: 3}", r"mine\.yaml: data: sepal: unknown key; the keys are name, path, "),
        ("data: {name: iris}", r"mine\.yaml: data: name: unknown data set 'iris'; the data sets are digits, "),
        ("data: [", r"mine\.yaml: not valid YAML at line 1"),
    ],
)
def test_a_file_that_describes_no_data_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        named(str(tmp_path / "mine.yaml"))


def test_rare_classes_and_examples_without_labels(tmp_path):
    rows = "".join(f"text {number}\t{'ab'[number % 5 == 0]}\n" for number in range(40))
    (tmp_path / "mine.tsv").write_text("text\tlabel\n" + rows)
    (tmp_path / "others.txt").write_text("one\n\ntwo\n")
    settings = {"name": "text_file", "path": tmp_path / "mine.tsv", "class_weights": True}
    data = load(Data(**settings, calibration=tmp_path / "others.txt"))
    assert data.class_weights
    assert sorted(data.unlabelled.as_numpy_iterator()) == [b"one", b"two"]
    assert data.unlabelled.element_spec == data.train.element_spec[0]
    assert load(Data(name="digits")).unlabelled is None


def test_pictures_without_labels_are_decoded_as_those_with_labels(tmp_path):
    for name in ("cats/1", "cats/2", "owls/3", "owls/4", "any/where/5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "mine").mkdir()
    for name in ("cats", "owls"):
        (tmp_path / name).rename(tmp_path / "mine" / name)
    data = load(Data(name="image_folder_test", path=tmp_path / "mine", calibration=tmp_path / "any"), image_size=8)
    assert (data.size("train"), data.size("test")) == (0, 4)
    red = np.broadcast_to(np.float32([1, 0, 0]), (1, 8, 8, 3))
    np.testing.assert_allclose(data.sample(9, 0), red, atol=1e-6)


@pytest.mark.parametrize(
    "setting", [{"split": {"test": 0.2}}, {"classes": {"0": "zero"}}, {"calibration": Path("pictures")}]
)
def test_shipped_data_take_no_settings_of_your_own(setting):
    with pytest.raises(UserError, match=rf"data\.{next(iter(setting))} is for .*; digits has its own: leave it out"):
        load(Data(name="digits", **setting))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"columns": {"labels": ["a", "b"], "label": "c"}}, "columns: label and labels are given; an example has one"),
        ({"columns": {"labels": ["a", "b", "a"]}}, "columns: labels names a column twice: a, b, a"),
        ({"pixel_range": [3, 3]}, "pixel_range: black and white are both 3; give two different numbers"),
        ({"pixel_range": [0, float("inf")]}, r"pixel_range\[1\]: .*finite number, not inf"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(setting, message):
    with pytest.raises(UserError, match=message):
        Data.checked({"name": "text_file", **setting}, "mine.yaml")


def test_text_data_sets_are_listed_among_all():
    assert set(TEXT) < set(NAMES)


def test_image_folder_needs_a_size(tmp_path):
    with pytest.raises(UserError, match="needs the size of the model's input"):
        load(named("image_folder", tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sst2", r"sst2 needs the folder that contains train\.tsv, dev\.tsv and test\.tsv; pass it as data\.path"),
        ("text_file", r"text_file needs your \.csv or \.tsv file; pass it as data\.path"),
    ],
)
def test_the_users_own_data_sets_need_a_path(name, message):
    with pytest.raises(UserError, match=message):
        load(named(name))
