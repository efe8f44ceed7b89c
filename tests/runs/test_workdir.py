import pytest

from tfcompress.errors import UserError
from tfcompress.runs.workdir import claim


def test_a_folder_holds_one_piece_of_work_of_a_kind(tmp_path):
    description = {"model": {"name": "vit"}, "steps": [1, 2]}
    for _ in range(2):
        claim(tmp_path, "run", description)
    claim(tmp_path, "study", {})
    with pytest.raises(UserError, match=r"holds another run \(steps\[1\]: 2 before, 3 now; seed: None before, 0 now\)"):
        claim(tmp_path, "run", {**description, "steps": [1, 3], "seed": 0})


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_folder_whose_mark_is_damaged_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json cannot be read \(.+\); choose another folder, or delete this one"):
        claim(tmp_path, "run", {})
