import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from selenium import webdriver
from selenium.common.exceptions import WebDriverException

from tests.measure.phone_reports import report_of
from tests.missing import missing
from tfcompress import Cluster, Prune, Quantize, Report, UserError, compress
from tfcompress.measure.comparison import GIVEN, Comparison, compare
from tfcompress.measure.divergence import Mean
from tfcompress.measure.phone import PhoneReport
from tfcompress.measure.quality import Change, Quality
from tfcompress.report.page import _yaml, write_page
from tfcompress.runs.recipe import Recipe

FIT = {"epochs": 2, "batch_size": 64}
ROOT = Path(__file__).parents[2]
WIDTHS = (390, 1280)

CONTRAST = """
const light = text => {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
  const [r, g, b] = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = light(getComputedStyle(document.body).backgroundColor);
return [...document.querySelectorAll("h1, h2, p, td, th, figcaption, svg text")].map(element => {
  const style = getComputedStyle(element), ink = light(element.tagName == "text" ? style.fill : style.color);
  return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
});
"""


@pytest.fixture(scope="module")
def browser():
    chromium, driver = map(shutil.which, ("chromium", "chromedriver"))
    if chromium is None or driver is None:
        missing("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    except WebDriverException as error:
        missing(f"{driver} cannot start {chromium}: {error.msg}")
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def run_page(trained_weights, tiny_data, tmp_path_factory) -> Path:
    from ..tiny import tiny_vit_of

    model = tiny_vit_of(trained_weights)
    chain = [Prune(sparsity=0.5, schedule="constant", fit=FIT), Cluster(clusters=16, fit=FIT), Quantize(fit=FIT)]
    folder = tmp_path_factory.mktemp("run")
    compress(model, tiny_data, chain, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def comparison_page(run_page) -> Path:
    folder = run_page.parent
    odd = folder / "a<b>&$x$.tflite"
    shutil.copyfile(folder / "model.tflite", odd)
    files = [folder / "tflite" / "00-base-float32.tflite", odd]
    phone = report_of({key: {1: 2.0, 2: 1.5} for key in files})
    phone["device"]["model"] = "<b>&$x$"
    comparison = compare(files, threads=(1, 2), rounds=5, phone=TypeAdapter(PhoneReport).validate_python(phone))
    comparison.save(folder / "comparison.json")
    return write_page(folder / "comparison.json")


def visited(browser, page: Path, width: int, scheme: str) -> list[str]:
    """Opens the page and returns the addresses that were asked for."""
    browser.get_log("performance")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("kind", "sections"),
    [
        ("run_page", ["summary", "quality", "cost", "layers", "training", "again"]),
        ("comparison_page", ["summary", "cost", "phone", "agreement", "again"]),
    ],
)
def test_a_browser_shows_all_of_it(request, browser, kind, sections, width, scheme):
    page = request.getfixturevalue(kind)
    asked = [url for url in visited(browser, page, width, scheme) if not url.startswith("data:")]
    assert asked == [page.as_uri()]
    assert browser.get_log("browser") == []
    assert [s.get_attribute("id") for s in browser.find_elements("css selector", "section")] == sections
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for element in browser.find_elements("css selector", "section, figure, .wide, pre"):
        box = element.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] > 10
    assert min(browser.execute_script(CONTRAST)) >= 4.5
    ids = [element.get_attribute("id") for element in browser.find_elements("css selector", "[id]")]
    assert len(set(ids)) == len(ids)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    pictures = ROOT / "out" / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(pictures / f"{kind}-{width}-{scheme}.png"))


def test_it_says_what_was_kept_and_what_was_saved(run_page):
    text = run_page.read_text()
    report = json.loads((run_page.parent / "report.json").read_text())
    base, last = report["variants"][0], report["variants"][-1]
    assert "<b>quantize PCQAT</b> takes" in text
    assert f"{100 * last['quality'][0]['value']:.2f} % of 64 test examples" in text
    assert f"{base['size']['raw']:,}" in text
    assert text.count('class="kernel"') == len(last["tensors"]) == 8
    assert "call <code>tfcompress.compress</code>" in text
    assert "tfcompress run RECIPE --model MODEL" in text


def test_names_are_escaped(comparison_page):
    text = comparison_page.read_text()
    assert "a&lt;b&gt;&amp;$x$" in text
    assert "<b>&$x$" not in text


def test_a_comparison_says_what_it_was_made_on_and_how(comparison_page, tmp_path):
    text = comparison_page.read_text()
    assert "Compared on 32 random inputs." in text
    assert "<pre>tfcompress compare" in text
    found = replace(Comparison.load(comparison_page.with_suffix(".json")), data=GIVEN)
    mean = found.files[1].divergence
    assert f'<td>{mean.value:.3g} <span class="quiet">{mean.low:.3g}–{mean.high:.3g}</span></td></tr>' in text
    assert "cosine" not in text
    alone = replace(found.files[1], agreement=replace(found.files[1].agreement, top1_agreement=None))
    alone = replace(alone, divergence=None, cosine=Mean(0.5, None, None))
    found = replace(found, files=(found.files[0], alone))
    found.save(tmp_path / "given.json")
    text = write_page(tmp_path / "given.json").read_text()
    assert "Compared on 32 given examples." in text
    assert "<td>0.50000</td></tr>" in text
    assert "KL" not in text
    assert f"{alone.name}</td><td></td>".replace("<b>&", "&lt;b&gt;&amp;") in text
    assert "Call <code>tfcompress.measure.comparison.compare</code> with the same files and examples." in text


def test_figures_of_other_tasks_are_shown_with_their_changes(comparison_page, tmp_path):
    found = Comparison.load(comparison_page.with_suffix(".json"))
    likeness = Quality("Spearman of cosines", 0.8672, 0.85, 0.881, 16, case="pair")
    error = Quality("MAE", 0.51234, 0.4, 0.6, 16, higher_is_better=False, percent=False)
    change = Change(-0.0123, -0.02, 0.001)
    first, second = (replace(file, quality=(likeness, error)) for file in found.files)
    replace(found, files=(first, replace(second, change=(change, change)))).save(tmp_path / "pairs.json")
    text = write_page(tmp_path / "pairs.json").read_text()
    assert (
        "has a Spearman of cosines of 86.72 % on 16 test pairs, compared with 86.72 % for 00-base-float32: a " in text
    )
    assert "a change of -1.23 (-2.00 to +0.10)." in text
    assert '<td>0.5123 <span class="quiet">0.4–0.6</span></td><td>-1.23 (-2.00 to +0.10)</td></tr>' in text
    assert "Spearman of cosines, % (95 % interval)" in text
    assert "resampled pairs, the same of both files" in text
    assert "McNemar" not in text


def test_a_kernels_picture_has_a_tick_for_each_centroid(run_page):
    last = json.loads((run_page.parent / "report.json").read_text())["variants"][-1]
    pictures = re.findall(r'<svg class="kernel".*?</svg>', run_page.read_text())
    assert [p.count("v4") for p in pictures] == [tensor["distinct"] for tensor in last["tensors"]]


def test_the_same_run_gives_the_same_page(run_page, tmp_path):
    assert write_page(run_page.parent, tmp_path / "again.html").read_bytes() == run_page.read_bytes()


def test_the_recipe_on_the_page_is_the_one_that_ran(tmp_path):
    recipe = Recipe.load("bert_half_trec", [])
    (tmp_path / "recipe.yaml").write_text(_yaml(recipe.model_dump(mode="json")))
    assert YAML(typ="safe").load(tmp_path / "recipe.yaml")["model"]["preset"] == "bert_tiny_trec"
    assert Recipe.load(str(tmp_path / "recipe.yaml"), []) == recipe


def test_a_page_does_not_replace_the_figures_that_it_shows(comparison_page):
    figures = comparison_page.with_suffix(".json")
    before = figures.read_bytes()
    with pytest.raises(UserError, match="would replace another file"):
        write_page(figures, figures)
    assert figures.read_bytes() == before


def test_what_is_no_run_and_no_comparison_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no report\.json"):
        write_page(tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*report\.json: No such file"):
        Report.load(tmp_path / "report.json")
    with pytest.raises(UserError, match="is neither a run's folder nor a file"):
        write_page(tmp_path / "nothing.json")
    (tmp_path / "text.json").write_text("no json")
    with pytest.raises(UserError, match="is not a JSON file"):
        write_page(tmp_path / "text.json")
    for text in ("5", "null", "[]", "{}"):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(UserError, match="is neither a run's folder nor a file"):
            write_page(tmp_path / "other.json")
    (tmp_path / "unreadable.json").symlink_to("/proc/self/mem")  # not even by root
    with pytest.raises(UserError, match=r"cannot read .*unreadable\.json: Input/output error"):
        write_page(tmp_path / "unreadable.json")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UserError, match="is not a report of this version"):
        write_page(tmp_path)
