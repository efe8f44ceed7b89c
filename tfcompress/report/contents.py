"""The contents of a `.tflite` file, as tables on the terminal and as JSON."""

from __future__ import annotations

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfcompress.inspect.contents import Contents, Weights


def to_json(contents: Contents) -> str:
    """Returns all figures as indented JSON."""
    return TypeAdapter(Contents).dump_json(contents, indent=2).decode()


def print_contents(contents: Contents, console: Console | None = None) -> None:
    """Prints the totals, the operators, inputs and outputs, and one row per weight tensor."""
    console = console or Console(width=None if Console().is_terminal else 160)
    _print_totals(contents, console)
    _print_operators(contents, console)
    _print_words(contents, console)
    if contents.weights:
        table = _table("weights", "operator", "shape", "type", "unique", "zeros", "entropy", "bytes", "at entropy")
        for row in contents.weights:
            table.add_row(*_cells(row))
        console.print(table)
    console.print(
        f"Besides these, there are {contents.other_tensors:,} tensors with at most one dimension: "
        f"{contents.other_parameters:,} parameters, {contents.other_bytes:,} bytes. 'zeros' is the share of values "
        "that mean 0; 'entropy' is in bits per value, each by itself; 'at entropy' is the bytes that the values would "
        "take at that rate.",
        style="dim",
    )


def _print_totals(contents: Contents, console: Console) -> None:
    figures = {"bytes": contents.bytes, "after gzip": contents.gzip, "after zstd": contents.zstd}
    figures |= {"parameters": contents.parameters, "weight bytes read": contents.weight_bytes_read}
    console.print(_plain(contents.file), style="bold")
    for name, figure in figures.items():
        if figure is not None:
            console.print(f"{name:18} {figure:13,}", highlight=False)
    if len(contents.graphs) > 1:
        for index, graph in enumerate(contents.graphs):
            read = f"{graph.operators:,} operators, reads {graph.weight_bytes_read:,} weight bytes"
            console.print(f"graph {index:<12}", _plain(graph.name), read, highlight=False)
    table = _table("bytes of", "", "share", "bytes of", "", "share")
    left, right = (
        [(name, f"{size:,}", f"{size / contents.bytes:.1%}") for name, size in sizes.items()]
        for sizes in (contents.bytes_by_operator, contents.bytes_by_type)
    )
    empty = ("", "", "")
    for index in range(max(len(left), len(right))):
        cells = (*(left[index] if index < len(left) else empty), *(right[index] if index < len(right) else empty))
        table.add_row(*(_plain(cell) for cell in cells))
    console.print(table)


def _print_operators(contents: Contents, console: Console) -> None:
    table = _table("operator", "version", "count", "runtime")
    for kind in contents.operators:
        table.add_row(_plain(kind.operator), str(kind.version), f"{kind.count:,}", kind.runtime or "not known")
    console.print(table)
    unknown = [f"{kind.operator} {kind.version}" for kind in contents.operators if not kind.runtime]
    exception = f", as far as is known: not of {', '.join(unknown)}" if unknown else ""
    console.print(_plain(f"minimum runtime: TFLite {contents.minimum_runtime or 'not known'}{exception}"))


def _print_words(contents: Contents, console: Console) -> None:
    for signature in contents.signatures:
        name = f"signature {signature.name}" if signature.name else "no signature; graph 0"
        for what, ports in (("takes", signature.inputs), ("gives", signature.outputs)):
            listed = ", ".join(f"{port} {kind}" for port, kind in ports.items())
            console.print(_plain(f"{name} {what}: {listed}"), soft_wrap=True)
    for what, sizes in (("metadata", contents.metadata), ("attached files", contents.attached)):
        listed = ", ".join(f"{name} ({size:,} bytes)" for name, size in sizes.items())
        console.print(_plain(f"{what}: {listed or 'none'}"), soft_wrap=True)
    for key, text in contents.description.items():
        console.print(_plain(f"{key}: {text}"), soft_wrap=True)


def _table(first: str, *others: str) -> Table:
    table = Table()
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="left" if heading in ("operator", "shape", "type", first) else "right")
    return table


def _cells(row: Weights) -> list[Text]:
    first, several, _ = row.name.partition(";")  # The converter joins the names of everything that it has fused.
    cells = (
        f"{first};…" if several else first,
        row.operator,
        " x ".join(map(str, row.shape)),
        f"{row.type}, sparse" if row.sparse else row.type,
        "" if row.unique is None else f"{row.unique:,}",
        "" if row.zeros is None else f"{row.zeros:.1%}",
        "" if row.entropy is None else f"{row.entropy:.2f}",
        f"{row.bytes:,}",
        "" if row.entropy_bytes is None else f"{row.entropy_bytes:,}",
    )
    return [_plain(cell) for cell in cells]


def _plain(text: str) -> Text:
    """Returns text from a file unchanged, but without markup or control characters that a terminal would obey."""
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))
