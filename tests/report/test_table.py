import io
import json
from dataclasses import replace

from rich.console import Console

from tfcompress import Export, Report, compress
from tfcompress.report.document import UntreatedLayer
from tfcompress.report.table import print_report


def test_a_row_a_file_and_what_was_left_alone(tiny_vit, tiny_data, tmp_path):
    report = compress(tiny_vit, tiny_data, [], tmp_path, export=Export(formats=("float32", "dynamic")))
    text = io.StringIO()
    print_report(report, Console(file=text, width=160))
    lines = text.getvalue().splitlines()
    base, dynamic = (next(line for line in lines if name in line) for name in ("base float32", "base dynamic"))
    assert f"{report.variants[0].size.raw:,}" in base
    assert str(report.variants[1].quality[0]) in dynamic
    change = report.variants[1].change[0]
    assert f"{change.lost}/{change.gained} ({change.p_value:.2f})" in dynamic
    assert "class_token (ClassToken, 16)" in " ".join(lines)
    odd = replace(report, left_alone=(UntreatedLayer("[/a]", "Own", 1),))
    print_report(odd, Console(file=text, width=160))
    assert "parameters: [/a] (Own, 1)" in text.getvalue()


def test_a_text_models_table_tells_embedding_from_encoder(tiny_bert, tiny_text, tmp_path):
    report = compress(tiny_bert, tiny_text, [], tmp_path)
    text = io.StringIO()
    print_report(report, Console(file=text, width=180))
    variant = report.variants[0]
    assert variant.embedding_bytes == (tiny_bert.get_layer("token_embedding").input_dim + 2) * 16 * 4
    assert variant.embedding_bytes + variant.encoder_bytes == variant.size.raw
    row = next(line for line in text.getvalue().splitlines() if "base float32" in line)
    assert f"{variant.embedding_bytes:,}" in row
    assert f"{variant.encoder_bytes:,}" in row
    stored = json.loads((tmp_path / "report.json").read_text())["variants"][0]
    assert stored["embedding_bytes"] == variant.embedding_bytes
    assert Report.load(tmp_path / "report.json") == report
