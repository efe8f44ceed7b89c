import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tests.native import has_runtime
from tfcompress import Cluster, Distil, Export, Prune, Report, UserError, compress
from tfcompress.optimize.quantization import load_scope
from tfcompress.report.document import Variant
from tfcompress.runs.pipeline import run
from tfcompress.runs.recipe import Recipe
from tfcompress.traits import kernels

from .chain import CHAIN, EXPORT, FIT, dropping, resumable
from .tensorboard import logged

SCRIPT = """
import pickle, sys
from pathlib import Path
from tests.runs.chain import resumable
workdir, weights = map(Path, sys.argv[1:])
resumable(workdir, pickle.loads(weights.read_bytes()))
"""


@pytest.fixture(scope="module")
def finished(trained_weights, tmp_path_factory) -> tuple[Report, Path]:
    workdir = tmp_path_factory.mktemp("finished")
    return resumable(workdir, trained_weights), workdir


def stock(report: Report) -> list[Variant]:
    return [variant for variant in report.variants if not variant.packed]


def test_every_stage_and_format_has_its_figures(finished):
    report, workdir = finished
    assert [variant.name for variant in stock(report)] == [
        "base float32", "base dynamic", "prune float32", "prune dynamic", "cluster float32", "cluster dynamic",
        "quantize PCQAT",
    ]  # fmt: skip
    base, last = report.variants[0], stock(report)[-1]
    assert base.change == ()
    assert base.latency.ratio == 1
    before, after, change = base.quality[0], last.quality[0], last.change[0]
    assert (before.metric, before.cases) == ("top-1", 64)
    assert before.low < before.value < before.high
    assert (change.lost - change.gained) / 64 == -change.difference == before.value - after.value
    assert last.size.gzip < last.size.raw < base.size.raw
    assert base.agreement.top1_agreement == 1
    assert base.agreement.largest_difference < 1e-5
    assert last.memory.peak_rss > last.memory.above_empty > 0
    for variant in report.variants:
        assert (workdir / variant.file).stat().st_size == variant.size.raw
        assert variant.minimum_runtime
        assert len(variant.tensors) == 8


def test_clustered_stages_are_packed_too(finished):
    report, _ = finished
    if not has_runtime():
        pytest.skip("there is no packed runtime to run packed files with")
    variants = {variant.name: variant for variant in report.variants}
    before, packed = variants["cluster float32"], variants["cluster float32 packed"]
    assert packed.file == "tflite/02-cluster-float32_packed.tflite"
    assert packed.quality == before.quality
    assert packed.agreement.largest_difference < 1e-5
    assert [(one.layer, one.shape, one.distinct, one.sparsity) for one in packed.tensors] == [
        (one.layer, one.shape, one.distinct, one.sparsity) for one in before.tensors
    ]
    assert sum(one.bytes for one in packed.tensors) < sum(one.bytes for one in before.tensors) / 5
    assert packed.memory.peak_rss > 0
    int8 = variants["quantize PCQAT packed"]
    assert abs(int8.quality[0].value - variants["quantize PCQAT"].quality[0].value) <= 3 / 64
    assert set(variants) - {variant.name for variant in stock(report)} == {packed.name, int8.name}


def test_the_last_stock_file_is_the_one_for_the_phone(finished):
    report, workdir = finished
    content = (workdir / "model.tflite").read_bytes()
    last = stock(report)[-1]
    assert content == (workdir / last.file).read_bytes()
    assert all(tensor.distinct <= 32 and tensor.sparsity >= 0.49 for tensor in last.tensors)
    assert Interpreter(model_content=content).get_signature_list()["serving_default"]["inputs"] == ["image"]


def test_layers_that_no_technique_knows_are_listed(finished):
    report, _ = finished
    listed = {layer.layer: (layer.kind, layer.parameters) for layer in report.left_alone}
    assert listed["class_token"] == ("ClassToken", 16)
    assert listed["position_embedding"] == ("PositionEmbedding", 80)
    assert listed["norm"] == ("LayerNormalization", 32)
    assert not any("mlp" in name or name == "head" for name in listed)


def test_the_report_is_on_disk_with_versions_and_machine(finished):
    report, workdir = finished
    assert Report.load(workdir / "report.json") == report
    content = json.loads((workdir / "report.json").read_text())
    assert content["run"]["seed"] == 3
    assert content["run"]["kind"] == report.run.kind == "compress"
    assert report.title == f"{content['run']['model']['name']} on digits"
    assert content["versions"]["tensorflow"].startswith("2.")
    assert content["machine"]["cores"] > 0
    assert [len(rows) for rows in content["history"].values()] == [0, 2, 2, 2]


def test_a_report_of_an_earlier_version_is_refused_with_what_to_do(finished, tmp_path):
    content = json.loads((finished[1] / "report.json").read_text())
    del content["run"]["kind"]
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a report of this version; delete it and repeat the run's command"):
        Report.load(tmp_path / "report.json")


def test_tensorboard_shows_every_stage_with_its_epochs_and_kernels(finished):
    report, workdir = finished
    assert {path.name for path in (workdir / "logs").iterdir()} == set(report.history)
    for stage, rows in report.history.items():
        found = logged(workdir / "logs" / stage)
        for tag, name in (
            ("loss/train", "loss"),
            ("loss/validation", "val_loss"),
            ("accuracy/train", "accuracy"),
            ("accuracy/validation", "val_accuracy"),
            ("learning_rate", "learning_rate"),
        ):
            assert found.get(tag, []) == [(row["epoch"], np.float32(row[name])) for row in rows]
        assert {len(found[tag]) for tag in found if tag.startswith(("weights", "sparsity", "distinct_values"))} == {1}
        with load_scope():
            model = tf_keras.models.load_model(workdir / "stages" / stage / "model.h5", compile=False)
        for name, kernel in kernels(model).items():
            [(step, bins)] = found[f"weights/{name}"]
            assert (step, bins[:, 2].sum()) == (len(rows), kernel.size)
            assert found[f"sparsity/{name}"][0][1] == np.float32(np.mean(kernel == 0))
            assert found[f"distinct_values/{name}"][0][1] == len(np.unique(kernel))
    clustered = logged(workdir / "logs" / "02-cluster")
    assert (clustered["weights/block_0_mlp1"][0][1][:, 2] > 0).sum() <= 16
    assert clustered["sparsity/block_0_mlp1"][0][1] >= 0.49


def test_a_finished_run_is_only_read(finished, trained_weights):
    report, workdir = finished
    files = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    assert resumable(workdir, trained_weights) == report
    assert files == {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}


def test_what_was_deleted_of_a_finished_run_is_made_again_or_named(finished, trained_weights, tmp_path):
    workdir = tmp_path / "work"
    shutil.copytree(finished[1], workdir)
    model = (workdir / "model.tflite").read_bytes()
    (workdir / "model.tflite").unlink()
    assert resumable(workdir, trained_weights) == finished[0]
    assert (workdir / "model.tflite").read_bytes() == model
    (workdir / "model.tflite").unlink()
    (workdir / stock(finished[0])[-1].file).unlink()
    with pytest.raises(UserError, match=r"tflite/03-quantize-int8\.tflite of the finished run is gone; delete report"):
        resumable(workdir, trained_weights)


def test_a_damaged_file_of_a_run_is_named_with_what_makes_it_again(finished, trained_weights, tmp_path):
    workdir = tmp_path / "work"
    shutil.copytree(finished[1], workdir)
    (workdir / "report.json").unlink()
    for name, size, advice in (
        ("tflite/00-base-float32.tflite", 5, "delete it, and the same command makes it again"),
        ("stages/00-base/model.h5", 5000, "delete .*00-base, and the same command makes the stage again"),
        ("stages/00-base/stage.json", 5, "delete .*00-base, and the same command makes the stage again"),
    ):
        (workdir / name).write_bytes((workdir / name).read_bytes()[:size])
        with pytest.raises(UserError, match=rf"{name} cannot be (read|kept).+; {advice}"):
            resumable(workdir, trained_weights)


def test_another_run_in_the_same_folder_is_refused(finished, trained_weights, tiny_data):
    _, workdir = finished
    model = dropping(trained_weights)
    changed = [CHAIN[0], Cluster(clusters=8, fit=FIT), CHAIN[2]]
    with pytest.raises(UserError, match=r"holds another run \(.*techniques\[1\]\.cluster\.clusters: 16 before, 8 now"):
        compress(model, tiny_data, changed, workdir, export=EXPORT, seed=3)
    with pytest.raises(UserError, match=r"seed: 3 before, 1 now"):
        compress(model, tiny_data, CHAIN, workdir, export=EXPORT, seed=1)


def test_the_model_handed_in_stays_as_it_was(tiny_vit, tiny_data, tmp_path):
    before = [w.copy() for w in tiny_vit.get_weights()]
    step = Prune(sparsity=0.5, schedule="constant", fit=FIT)
    compress(tiny_vit, tiny_data, [step], tmp_path, export=Export(logits=True))
    for old, now in zip(before, tiny_vit.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_a_users_own_layer_and_probabilities_go_through(tiny_data, tmp_path):
    class Doubled(tf_keras.layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight("factor", (), initializer="ones")

        def call(self, inputs):
            return inputs * self.factor * 2

    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = Doubled(name="doubled")(tf_keras.layers.Flatten()(image))
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, activation="softmax", name="scores")(x))
    report = compress(model, tiny_data, [Prune(sparsity=0.5, schedule="constant", fit=FIT)], tmp_path)
    assert [(layer.layer, layer.kind) for layer in report.left_alone] == [("doubled_factor", "Weight")]
    assert report.variants[0].agreement.largest_difference < 1e-5
    assert report.variants[-1].tensors[0].sparsity >= 0.5


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((28, 28, 1), 10, r"digits yields features of shape .*\(8, 8, 3\).* but the model takes .*\(28, 28, 1\)"),
        ((8, 8, 3), 7, r"output is \(None, 7\), but data set digits has 10 classes"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(tiny_data, tmp_path, shape, classes, message):
    x = tf_keras.Input(shape, name="image")
    model = tf_keras.Model(x, tf_keras.layers.Dense(classes)(tf_keras.layers.Flatten()(x)))
    with pytest.raises(UserError, match=message):
        compress(model, tiny_data, [], tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"techniques": [Prune(layers={"blok": False})]}, r"prune\.layers: 'blok' matches no layer"),
        ({"techniques": [Prune(layers={".*": False})]}, "prune: no layer is left to treat"),
        (
            {"techniques": [CHAIN[1]], "export": Export(per_channel=True)},
            r"export\.per_channel: with one scale per channel, clustered weights would have more distinct",
        ),
        (
            {
                "techniques": [Cluster(scales=True, initialization="compensated")],
                "export": Export(formats=("float32", "dynamic")),
            },
            r"export\.formats: a scale per output of cluster is kept in float32 alone; set formats: \[float32\]",
        ),
        (
            {"techniques": [Distil(), Distil(teacher="prune"), CHAIN[0]]},
            r"distil\.teacher: no earlier stage is called 'prune'; the earlier stages are base, distil",
        ),
        ({"techniques": [], "seed": -1}, "seed is -1"),
        ({"techniques": [], "seed": 2**31}, "seed is 2147483648; it must be from 0 to 2147483647"),
        ({"techniques": [], "loss": "mse"}, r"loss: 'mse' is a str; pass an object of tf_keras\.losses"),
        ({"techniques": [], "metrics": ["acuracy"]}, "metrics: 'acuracy' is not the name of a metric"),
        ({"techniques": [], "optimizer": tf_keras.optimizers.legacy.SGD()}, r"pass an object of tf_keras\.optimizers"),
    ],
)
def test_a_mistake_is_found_before_anything_is_written(tiny_vit, tiny_data, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        compress(tiny_vit, tiny_data, options.pop("techniques"), tmp_path / "work", **options)
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(finished, trained_weights, tmp_path):
    whole, folder = finished
    killed, weights = tmp_path / "killed", tmp_path / "weights"
    weights.write_bytes(pickle.dumps(trained_weights))
    for sign in ("stages/01-prune/checkpoint/*", "stages/02-cluster/stage.json", "tflite/03*"):
        _kill_when(killed, sign, weights)
    resumed = resumable(killed, trained_weights)
    for name in ("00-base", "01-prune", "02-cluster", "03-quantize"):
        assert_same_weights(folder / "stages" / name / "model.h5", killed / "stages" / name / "model.h5")
        epochs = [step for step, _ in logged(killed / "logs" / name).get("loss/train", [])]
        assert epochs == [row["epoch"] for row in whole.history[name]]
    assert resumed.history == whole.history
    assert [v.quality for v in resumed.variants] == [v.quality for v in whole.variants]
    assert [v.change for v in resumed.variants] == [v.change for v in whole.variants]
    assert not list(killed.rglob(".*")), "a half-written file was left"


def _kill_when(workdir: Path, sign: str, weights: Path) -> None:
    """Starts the run and kills it as soon as a file that matches `sign` appears."""
    seen = set(workdir.glob(sign))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(workdir), str(weights)],
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + 300
    while not set(workdir.glob(sign)) - seen:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, f"{sign} did not appear"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def assert_same_weights(first: Path, second: Path) -> None:
    import h5py

    def arrays(path: Path) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        with h5py.File(path) as file:
            weights = file["model_weights"]
            # In order, not by name: Keras numbers tfmot's input layer by how many the process has made.
            weights.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
        return found

    expected = arrays(first)
    assert expected
    for one, other in zip(expected, arrays(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_strategy_for_a_given_model_that_nothing_trains_is_refused(tmp_path):
    changes = ["training.strategy=mirrored", "techniques=[{cluster: {training: false}}]"]
    with pytest.raises(UserError, match="strategy mirrored, but none of its techniques trains the given model"):
        run(Recipe.load("vit_digits", changes), tmp_path, tmp_path / "model.h5")
