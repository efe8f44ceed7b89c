import pytest

from tfcompress.names import distinct_names, graph_name, is_mask, plain_name


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["x", "x", "x"], ["x", "x_1", "x_2"]),
        (["x", "x", "x_1"], ["x", "x_2", "x_1"]),
        (["", "x", ""], ["output_0", "x", "output_2"]),
        (["", "output_0", ""], ["output_0_1", "output_0", "output_2"]),
    ],
)
def test_no_two_names_are_equal(names, expected):
    assert distinct_names(names, "output") == expected


def test_a_plain_name_has_nothing_of_the_converter():
    assert [plain_name(name) for name in ("serving_default_x:0", "y")] == ["x", "y"]


def test_a_mask_is_told_by_its_name_in_any_case():
    assert [is_mask(name) for name in ("padding_mask", "inputMask", "token_ids")] == [True, True, False]


def test_a_graph_takes_neither_spaces_nor_accents():
    names = ("dense/kernel", "My model", "_x", "modèle", "é")
    assert [graph_name(name) for name in names] == ["dense/kernel", "My_model", "x", "mod_le", ""]
