import os

import numpy as np
import pytest
from PIL import Image

from tfcompress.data import folders
from tfcompress.data.registry import Data, load, named
from tfcompress.errors import UserError


def pixels(data, split):
    return np.stack([image for image, _ in data.examples(split).as_numpy_iterator()])


@pytest.fixture
def class_folders(tmp_path):
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(10):
            image = Image.fromarray(rng.integers(0, 100, (20, 30, 3), np.uint8) + np.uint8(100 * label))
            image.save(tmp_path / name / f"{number}{('.jpg', '.png')[number % 2]}")
    return tmp_path


def test_a_folder_of_images_becomes_three_splits(class_folders):
    data = load(named("image_folder", class_folders), 16)
    assert data.classes == ("cat", "dog")
    assert [data.size(split) for split in ("train", "validation", "test")] == [12, 4, 4]
    shown = pixels(data, "test")
    assert shown.shape == (4, 16, 16, 3)
    assert shown.dtype == np.float32
    # The images of dogs are brighter.
    assert ((shown.mean(axis=(1, 2, 3)) > 0.4) == data.labels["test"]).all()


def test_pictures_of_every_usual_format_are_taken(class_folders):
    picture = Image.fromarray(np.full((20, 30, 3), 200, np.uint8))
    for kind in ("webp", "bmp", "gif"):
        picture.save(class_folders / "cat" / f"a.{kind}")
    for mode in ("L", "P", "RGBA"):
        picture.convert(mode).save(class_folders / "cat" / f"{mode}.png")
    for folder in (".trash", "__MACOSX"):
        (class_folders / folder).mkdir()
        picture.save(class_folders / folder / "a.png")
    data = load(named("image_folder", class_folders), 16)
    assert data.classes == ("cat", "dog")
    labels = np.concatenate([data.labels[split] for split in ("train", "validation", "test")])
    assert np.bincount(labels).tolist() == [16, 10]


def test_files_that_are_no_pictures_are_counted(class_folders):
    for number in range(3):
        (class_folders / "cat" / f"notes{number}.txt").write_text("not an image")
    (class_folders / "dog" / ".DS_Store").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"cat/notes0\.txt and 2 more left out: not a picture"):
        load(named("image_folder", class_folders), 16)


@pytest.mark.parametrize("name", ["0.jpg", "1.png"])
def test_a_truncated_image_is_named(class_folders, name):
    path = class_folders / "dog" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"dog/{name} cannot be decoded"):
        load(named("image_folder", class_folders), 16)


def test_a_folder_for_evaluation_is_all_test(class_folders):
    data = load(named("image_folder_test", class_folders), 16)
    assert data.classes == ("cat", "dog")
    labels = np.array([label for _, label in data.test.as_numpy_iterator()])
    assert np.bincount(labels).tolist() == [10, 10]
    assert 0 < labels[:10].sum() < 10  # in a mixed order
    shown = pixels(data, "test")
    assert ((shown.mean(axis=(1, 2, 3)) > 0.4) == labels).all()
    (class_folders / "owl").mkdir()
    with pytest.raises(UserError, match=r"owl has 0 pictures .*; a class needs at least one"):
        load(named("image_folder_test", class_folders), 16)


def paint(folder, count, shade=0):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (16, 16), (shade, shade, number)).save(folder / f"{number}.png")


def test_the_folders_own_splits_are_kept(tmp_path):
    for split, count in (("training", 4), ("valid", 2), ("test", 3)):
        for shade, name in ((0, "cat"), (250, "dog")):
            paint(tmp_path / split / name, count, shade)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.txt").write_text("about")
    data = load(named("image_folder", tmp_path), 16)
    assert data.describe()["examples"] == {"train": 8, "validation": 4, "test": 6}
    assert ((pixels(data, "test")[..., 0].mean(axis=(1, 2)) > 0.5) == data.labels["test"]).all()
    paint(tmp_path / "val" / "cat", 1)
    with pytest.raises(UserError, match="has two folders for validation, one of them valid; keep one of them"):
        load(named("image_folder", tmp_path), 16)


def test_a_folder_without_test_is_judged_on_its_validation_pictures(tmp_path, capsys):
    for name in ("cat", "dog"):
        paint(tmp_path / "train" / name, 20)
        paint(tmp_path / "val" / name, 2)
    data = load(named("image_folder", tmp_path), 16)
    assert data.describe()["examples"] == {"train": 34, "validation": 6, "test": 4}
    assert "has no test split" in capsys.readouterr().err


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus"):
        paint(tmp_path / name, 3)
    assert load(named("image_folder", tmp_path), 16).classes == ("bus", "train")


def test_classes_and_fractions_are_chosen_by_the_user(class_folders):
    chosen = Data(
        name="image_folder", path=class_folders, classes={"dog": "hound"}, split={"validation": 0.5, "test": 0.2}
    )
    data = load(chosen, 16)
    assert data.classes == ("cat", "hound")
    assert data.describe()["examples"] == {"train": 6, "validation": 10, "test": 4}


def test_splits_that_do_not_fit_together_are_refused(tmp_path):
    for name in ("cat", "dog"):
        paint(tmp_path / "train" / name, 3)
        (tmp_path / "val" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"the validation folder of .* has no pictures .*; add some, or remove it"):
        load(named("image_folder", tmp_path), 16)
    paint(tmp_path / "val" / "owl", 1)
    with pytest.raises(UserError, match="has the classes cat, dog to train, but also owl for validation; add"):
        load(named("image_folder", tmp_path), 16)


def test_pictures_without_classes_are_drawn_from_all_sub_folders(class_folders):
    bright = Image.fromarray(np.full((20, 20, 3), 250, np.uint8))
    (class_folders / "a" / "b").mkdir(parents=True)
    bright.save(class_folders / "a" / "b" / "c.PNG")
    for path in (".trash/a.png", "cat/.hidden.png", "__MACOSX/a.png"):
        (class_folders / path).parent.mkdir(exist_ok=True)
        (class_folders / path).write_bytes(b"no picture")
    (class_folders / "notes.txt").write_text("no picture")
    found = np.stack(list(folders.unlabelled_pictures(class_folders, 16, 100).as_numpy_iterator()))
    assert found.shape == (21, 16, 16, 3)
    assert (found.mean(axis=(1, 2, 3)) > 0.9).sum() == 1
    some = np.stack(list(folders.unlabelled_pictures(class_folders, 16, 8).as_numpy_iterator()))
    np.testing.assert_array_equal(some, found[:8])
    assert 0 < (some.mean(axis=(1, 2, 3)) > 0.4).sum() < 8  # cats and dogs
    (class_folders / "cat" / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cat/0\.jpg cannot be decoded"):
        folders.unlabelled_pictures(class_folders, 16, 100)
    (class_folders / "a" / "b" / "c.PNG").unlink()
    with pytest.raises(UserError, match="a and its sub-folders hold no pictures"):
        folders.unlabelled_pictures(class_folders / "a", 16, 100)


def test_folders_behind_links_are_searched_once(class_folders, tmp_path_factory):
    linked = tmp_path_factory.mktemp("linked")
    (linked / "cats").symlink_to(class_folders / "cat")
    (class_folders / "cat" / "round").symlink_to(linked)
    (class_folders / "cat" / "1.png").rename(class_folders / "cat" / os.fsdecode(b"caf\xe9.png"))
    assert len(list(folders.unlabelled_pictures(linked, 16, 100))) == 10


def test_file_names_need_not_be_utf_8_but_class_names(class_folders):
    (class_folders / "cat" / "1.png").rename(class_folders / "cat" / os.fsdecode(b"caf\xe9.png"))
    assert load(named("image_folder", class_folders), 16).size("train") == 12
    (class_folders / "dog").rename(class_folders / os.fsdecode(b"caf\xe9"))
    with pytest.raises(UserError, match=r"has a class whose name is not UTF-8: 'caf\\udce9'; rename its folder"):
        load(named("image_folder", class_folders), 16)


def test_a_folder_beside_splits_is_refused(class_folders):
    for split in ("train", "test"):
        (class_folders / split / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match="has test, train with a folder for each class, and cat, dog beside, which is"):
        load(named("image_folder", class_folders), 16)


def test_an_empty_class_folder_is_named(class_folders):
    (class_folders / "owl").mkdir()
    with pytest.raises(UserError, match=r"owl has 0 pictures \(.*\); a class needs at least one"):
        load(named("image_folder", class_folders), 16)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("image_folder", None, r"pass it as data\.path"),
        ("image_folder", "missing", "is not a folder"),
        ("image_folder", "cat", "has 0 sub-folders"),
        ("cifar10", None, "unknown data set 'cifar10'; the data sets are digits, fashion_mnist, image_folder"),
    ],
)
def test_a_wrong_data_set_is_refused(class_folders, name, folder, message):
    with pytest.raises(UserError, match=message):
        load(named(name, class_folders / folder if folder else None), 16)
