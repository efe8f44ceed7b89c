import io

import pytest
from rich.console import Console

from tfcompress import progress


@pytest.fixture
def shown(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=text, width=80))
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    return text


def test_plain_lines_estimate_the_remaining_time(shown):
    assert list(progress.track("abcd", "reading", 4)) == ["a", "b", "c", "d"]
    lines = shown.getvalue().splitlines()
    assert lines[0].startswith("reading: 1/4")
    assert "s left" in lines[1]
    assert lines[-1].startswith("reading: done in")


def test_a_failed_task_is_not_reported_as_done(shown):
    def fail():
        with progress.bar("reading", 4) as bar:
            bar.advance()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "done" not in shown.getvalue()


def test_a_terminal_shows_a_bar(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=text, width=100, force_terminal=True))
    assert len(list(progress.track(range(3), "reading", 3))) == 3
    assert "reading" in text.getvalue()
    assert "3/3" in text.getvalue()


def test_the_progress_of_a_task_inside_another_stays_hidden(shown):
    with progress.bar("rehearsal", 2) as outer:
        list(progress.track("abcd", "reading", 4))
        outer.advance(2)
    list(progress.track("abcd", "reading", 4))
    assert [line.split(":")[0] for line in shown.getvalue().splitlines()].index("reading") > 0
    assert shown.getvalue().startswith("rehearsal: 2/2")
