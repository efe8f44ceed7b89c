import io

from rich.console import Console

from tfcompress import Export, compress
from tfcompress.report.table import print_report


def test_a_row_a_file_and_what_was_left_alone(tiny_vit, tiny_data, tmp_path):
    report = compress(tiny_vit, tiny_data, [], tmp_path, export=Export(formats=("float32", "dynamic")))
    text = io.StringIO()
    print_report(report, Console(file=text, width=160))
    lines = text.getvalue().splitlines()
    base, dynamic = (next(line for line in lines if name in line) for name in ("base float32", "base dynamic"))
    assert f"{report.variants[0].size.raw:,}" in base
    assert f"{report.variants[1].accuracy.top1:.2%}" in dynamic
    flips = report.variants[1].flips
    assert f"{flips.lost}/{flips.gained} ({flips.p_value:.2f})" in dynamic
    assert "class_token (ClassToken, 16)" in " ".join(lines)
