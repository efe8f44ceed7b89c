import io

from rich.console import Console

from tfcompress import Cluster, compress
from tfcompress.report.table import print_report


def test_a_row_a_file_and_what_was_left_alone(tiny_vit, tiny_data, tmp_path):
    fit = {"epochs": 1, "batch_size": 64}
    report = compress(tiny_vit, tiny_data, [Cluster(clusters=16, fit=fit)], tmp_path)
    text = io.StringIO()
    print_report(report, Console(file=text, width=160))
    lines = text.getvalue().splitlines()
    base, clustered = (next(line for line in lines if name in line) for name in ("base float32", "cluster float32"))
    assert f"{report.variants[0].size.raw:,}" in base
    assert f"{report.variants[1].accuracy.top1:.2%}" in clustered
    assert " 16 " in clustered
    assert "class_token (ClassToken, 16)" in " ".join(lines)
