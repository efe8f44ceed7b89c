"""docs/quickstart.ipynb, run from a clean state in a kernel of its own, with a training that is over at once."""

import asyncio
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)


def test_links_of_the_notebook_lead_somewhere(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    pages = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert pages
    assert all((NOTEBOOK.parent / page).is_file() for page in pages)


@pytest.mark.slow
def test_the_notebook_runs(notebook, tmp_path, monkeypatch):
    deep = 'presets.build("vit_digits", classes=10)'
    cell = next(cell for cell in notebook.cells if deep in cell.source)
    cell.source = cell.source.replace(deep, 'presets.build("vit_digits", classes=10, depth=1)')
    monkeypatch.setenv("EPOCHS", "1")
    monkeypatch.setenv("WORKDIR", str(tmp_path / "work"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for folder in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):  # no settings of whoever runs this
        monkeypatch.setenv(folder, str(tmp_path / folder))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    asyncio.run(client.async_execute())
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    plots = [output for output in outputs if "image/png" in output.get("data", {})]
    printed = "".join(output.get("text", "") for output in outputs)
    assert len(plots) == 6
    assert "quantize PCQAT" in printed
    assert {path.name for path in (tmp_path / "work").iterdir()} >= {"model.tflite", "report.html", "report.json"}
