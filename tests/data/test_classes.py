import pytest

from tfcompress.data.classes import renamed
from tfcompress.errors import UserError


def test_classes_get_the_names_of_the_model():
    classes, places = renamed(["n01", "n02", "n03"], {"n03": "cat", "n01": "dog", "n99": "owl"}, "the folder")
    assert classes == ("dog", "n02", "cat")
    assert places == {"n01": 0, "n02": 1, "n03": 2}


def test_two_names_can_be_one_class():
    classes, places = renamed(["siamese", "spaniel", "tabby"], {"siamese": "cat", "tabby": "cat"}, "the folder")
    assert classes == ("cat", "spaniel")
    assert places == {"siamese": 0, "spaniel": 1, "tabby": 0}


def test_classes_do_not_all_become_one():
    with pytest.raises(UserError, match=r"data\.classes calls all classes of the folder pet; leave at least two"):
        renamed(["cat", "dog"], {"cat": "pet", "dog": "pet"}, "the folder")


def test_synonyms_of_no_class_are_refused():
    with pytest.raises(UserError, match=r"data\.classes has other names for cat, but the folder has n01, n02; write"):
        renamed(["n01", "n02"], {"cat": "n01"}, "the folder")
