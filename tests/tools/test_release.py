import hashlib
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools.release import AAR, PLACES, ReleaseError, complete, notes, version

ROOT = Path(__file__).parents[2]
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.0 (2026-12-01)\n\n### Added\n\n- first\n"


@pytest.fixture
def tree(tmp_path) -> Path:
    """The files that say the version, a changelog, an AAR and what `make wheels` leaves, all made up."""
    for name in [*PLACES, "runtime/pyproject.toml"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.replace("0.1.0", version(ROOT)))
    (tmp_path / AAR).parent.mkdir(parents=True)
    (tmp_path / AAR).write_text("aar")
    (tmp_path / "dist").mkdir()
    number = version(ROOT)
    for name in (
        f"tfcompress-{number}-py3-none-any.whl",
        f"tfcompress-{number}.tar.gz",
        f"tfcompress_runtime-{number}.tar.gz",
        f"tfcompress_runtime-{number}-py3-none-manylinux_2_27_x86_64.whl",
        f"tfcompress_runtime-{number}-py3-none-manylinux_2_27_aarch64.whl",
    ):
        (tmp_path / "dist" / name).write_text(name)
    return tmp_path


def test_all_files_say_the_same_version():
    assert version(ROOT)


def test_a_release_has_the_android_library_notes_and_checksums(tree):
    number = complete(tree, tree / "dist", f"v{version(ROOT)}")
    dist = tree / "dist"
    assert (dist / "notes.md").read_text() == "### Added\n\n- first\n"
    assert (dist / f"tfcompress-runtime-{number}.aar").read_text() == "aar"
    pom = ElementTree.parse(dist / f"tfcompress-runtime-{number}.pom").getroot()
    assert pom.findtext("{*}version") == number
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 7
    for line in lines:
        digest, name = line.split("  ")
        assert digest == hashlib.sha256((dist / name).read_bytes()).hexdigest()


def test_what_is_unreleased_is_told_only_without_a_tag(tree):
    changelog = tree / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## Unreleased\n\n- new\n")
    complete(tree, tree / "dist", None)
    assert (tree / "dist" / "notes.md").read_text() == "- new\n"
    with pytest.raises(ReleaseError, match=r"CHANGELOG\.md has no section 0\."):
        complete(tree, tree / "dist", f"v{version(ROOT)}")


def test_a_section_is_found_by_its_whole_version():
    assert notes("## 0.1.0.post1\n\n- other\n\n## 0.1.0\n\n- first\n", "0.1.0") == "- first\n"


def test_what_does_not_fit_is_refused(tree):
    with pytest.raises(ReleaseError, match=r"the tag is v9, but the version is "):
        complete(tree, tree / "dist", "v9")
    next((tree / "dist").glob("*aarch64.whl")).unlink()
    with pytest.raises(ReleaseError, match=r"has no tfcompress_runtime-.*_aarch64\.whl; run make wheels"):
        complete(tree, tree / "dist", None)
    (tree / "CITATION.cff").write_text("version: 9\n")
    with pytest.raises(ReleaseError, match=r"but 9 in CITATION\.cff; write"):
        version(tree)
