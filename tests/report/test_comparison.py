import io
from dataclasses import replace

from pydantic import TypeAdapter
from rich.console import Console

from tests.measure.phone_reports import report_of
from tfcompress.export.converter import convert
from tfcompress.measure.comparison import compare
from tfcompress.measure.divergence import Mean
from tfcompress.measure.phone import PhoneReport
from tfcompress.measure.quality import Change, Quality
from tfcompress.report.comparison import print_comparison


def printed(comparison):
    text = io.StringIO()
    print_comparison(comparison, Console(file=text, width=160))
    return text.getvalue()


def test_costs_and_answers_have_a_row_a_file(tiny_vit, images, tiny_data, tmp_path):
    files = [tmp_path / f"{stored_as}.tflite" for stored_as in ("float32", "dynamic")]
    for path in files:
        path.write_bytes(convert(tiny_vit, path.stem))
    found = compare(files, images, tiny_data.labels["test"], rounds=2, data="digits")
    text = printed(found)
    second = found.files[1]
    cost, answers = [line for line in text.splitlines() if "│ dynamic" in line]
    assert f"{second.size.gzip:,}" in cost
    time = second.costs[0].latency
    assert f"{time.ratio:.3f} ({time.ratio_low:.3f}-{time.ratio_high:.3f})" in cost
    assert f"{second.costs[0].memory.peak_rss / 2**20:.1f} MiB" in cost
    assert f"{second.agreement.top1_agreement:.1%}" in answers
    mean = second.divergence
    assert f"{mean.value:.3g} ({mean.low:.3g}-{mean.high:.3g})" in answers
    (quality, *_), (change, *_) = second.quality, second.change
    assert f"{quality.value:.2%} ({quality.low:.1%}-{quality.high:.1%})" in answers
    assert f"{change.lost}/{change.gained} ({change.p_value:.2f})" in answers
    assert "digits, 64 test examples" in text

    bare = replace(second, agreement=None, quality=(), change=(), divergence=None, output="boxes: float32 (1, 4)")
    bare = replace(bare, costs=(replace(second.costs[0], memory=None, no_memory="its process died of SIGSEGV"),))
    first = replace(found.files[0], quality=())
    text = printed(replace(found, data="", files=(first, bare)))
    assert "The memory of dynamic could not be measured: its process died of SIGSEGV." in text
    assert (
        "dynamic is not compared: it gives boxes: float32 (1, 4), but float32 gives probabilities: float32 (1, 10)."
        in text
    )
    assert "64 random inputs" in text
    assert "lost/gained" not in text
    assert "KL" not in text
    alone = replace(second, agreement=replace(second.agreement, top1_agreement=None), quality=(), change=())
    alone = replace(alone, divergence=None)
    embedded = replace(alone, cosine=Mean(0.5, None, None))
    assert "0.50000 │" in printed(replace(found, files=(first, embedded)))
    assert "│ dynamic │" + 12 * " " + "│" in printed(replace(found, files=(first, alone)))
    assert "same top-1" not in printed(replace(found, files=(first,)))


def test_figures_of_other_tasks_are_shown_with_their_changes(tiny_vit, tmp_path):
    paths = [tmp_path / f"{stored_as}.tflite" for stored_as in ("float32", "dynamic")]
    for path in paths:
        path.write_bytes(convert(tiny_vit, path.stem))
    found = compare(paths, rounds=2)
    figures = (
        Quality("MAE", 0.51234, 0.4, 0.6, 32, higher_is_better=False, percent=False),
        Quality("Pearson", 0.9, 0.85, 0.95, 32),
    )
    changes = (Change(0.0123, -0.001, 0.02, percent=False), Change(-0.01, -0.02, 0.001))
    files = [replace(file, quality=figures) for file in found.files]
    text = printed(replace(found, data="prices", files=(files[0], replace(files[1], change=changes))))
    _, answers, others = [line for line in text.splitlines() if "│ dynamic" in line]
    assert "│ 0.5123 (0.4 to 0.6) │ +0.0123 (-0.001 to +0.02) │" in answers
    assert "│ 90.00% (85.0%-95.0%) │ -1.00 (-2.00 to +0.10) │" in others
    told = " ".join(text.split())
    assert "Less MAE is better." in told
    assert "'change' is the difference of the figures, of percentages in points, on the same examples." in told
    assert "McNemar" not in told


def test_a_name_in_brackets_is_printed_as_it_is(tiny_vit, tmp_path):
    files = [tmp_path / "model[int8].tflite", tmp_path / "[" / "x].tflite"]
    files[1].parent.mkdir()
    for path, stored_as in zip(files, ("float32", "dynamic"), strict=True):
        path.write_bytes(convert(tiny_vit, stored_as))
    phone = TypeAdapter(PhoneReport).validate_python(report_of({path: {1: 2.0} for path in files}))
    found = compare(files, rounds=2, phone=phone)
    second = replace(found.files[1], name="[/x]", agreement=None, output="[/y]: float32 (1, 4)")
    second = replace(second, costs=(replace(second.costs[0], memory=None, no_memory="[/z]"),))
    text = printed(replace(found, files=(found.files[0], second)))
    for told in (
        "The memory of [/x] could not be measured: [/z].",
        "[/x] is not compared: it gives [/y]: float32 (1, 4), but model[int8] gives probabilities",
    ):
        assert told in text
    assert [text.count(f"│ {name} ") for name in ("model[int8]", "[/x]")] == [3, 2]
