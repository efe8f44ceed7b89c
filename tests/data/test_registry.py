import pytest

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


@pytest.mark.parametrize("setting", [{"split": {"test": 0.2}}, {"classes": {"0": "zero"}}])
def test_shipped_data_take_no_settings_of_your_own(setting):
    with pytest.raises(UserError, match=rf"data\.{next(iter(setting))} is for .*; digits has its own: leave it out"):
        load(Data(name="digits", **setting))


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
