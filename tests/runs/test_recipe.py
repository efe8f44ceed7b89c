import pytest

from tfcompress.errors import UserError
from tfcompress.runs.recipe import Recipe, shipped

MINIMAL = "data: {name: digits}\nmodel: {preset: vit_digits}\n"


def load(tmp_path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return Recipe.load(str(path), overrides)


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_load(name):
    assert Recipe.load(name).techniques


@pytest.mark.parametrize("name", ["vit_digits", "vit_fashion_mnist"])
def test_shipped_vits_go_through_the_same_techniques(name):
    assert name in shipped()
    assert [step.technique.name for step in Recipe.load(name).techniques] == ["prune", "cluster", "quantize"]


def test_defaults_are_filled_in(tmp_path):
    recipe = load(tmp_path, MINIMAL + "techniques: [cluster, {quantize: }]")
    assert recipe.techniques[0].technique.clusters == 64
    assert recipe.seed == 0
    assert recipe.export.formats == ("float32",)


def test_settings_reach_types_and_layers(tmp_path):
    text = MINIMAL + "techniques: [{prune: {layers: {head: false, block_.*: {sparsity: 0.8}}}}]"
    technique = load(tmp_path, text).techniques[0].technique
    assert technique.layers["head"] is False
    assert technique.layers["block_.*"].sparsity == 0.8


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=3", lambda r: r.seed == 3),
        ("techniques[1].cluster.clusters=32", lambda r: r.techniques[1].technique.clusters == 32),
        ("techniques.0.prune.pattern='2:4'", lambda r: r.techniques[0].technique.pattern == "2:4"),
        ("export.logits=true", lambda r: r.export.logits),
        ("techniques=[]", lambda r: r.techniques == ()),
        ("training.learning_rate=1e-3", lambda r: r.training.learning_rate == 1e-3),
        ("training=false", lambda r: r.training is False),
        ("techniques=[{cluster: {training: false}}]", lambda r: r.techniques[0].technique.fit is None),
    ],
)
def test_a_setting_can_be_changed_from_outside(override, read):
    assert read(Recipe.load("vit_digits", [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sede=3", "vit_digits: sede: unknown key; the keys are data, model, seed, training, techniques, export"),
        ("techniques[1].cluster.cluster=3", r"techniques\[1\]\.cluster\.cluster: unknown key; .*clusters"),
        ("techniques[1].cluster.clusters=many", r"techniques\[1\]\.cluster\.clusters: .*integer.*, not 'many'"),
        (
            "techniques[1].cluster.clusters=2",
            r"techniques\[1\]\.cluster\.clusters: .*greater than or equal to 3, not 2",
        ),
        ("techniques[0].prune.layers={head: {sparsty: 1}}", r"prune\.layers\.head\.sparsty: unknown key; .*sparsity"),
        ("techniques[0].prune.fit.epochs=0", r"techniques\[0\]\.prune\.fit\.epochs: .*greater than or equal to 1"),
        (
            "techniques=[{shrink: {}}]",
            r"techniques\[0\]\.shrink: unknown key; the keys are halve, remove, trim_vocabulary, ",
        ),
        ("techniques=[prune, halve]", "techniques: halve cannot follow prune: it would undo what prune established"),
        ("model={}", "model: no model given; name one of preset, keras_nlp, hugging_face"),
        ("model.keras_nlp=bert", "model: preset and keras_nlp given; name one of preset, keras_nlp, hugging_face"),
        ("techniques=[{distil: {labels: 0, soft_labels: 0}}]", r"techniques\[0\]\.distil: .* nothing to learn"),
        ("techniques=[{prune: {}, cluster: {}}]", r"techniques\[0\]: each step names one technique"),
        (
            "techniques=[quantize, prune]",
            "techniques: prune cannot follow quantize: after quantize, the model can only be exported",
        ),
        ("data.split={test: 0.9}", "data.split: validation and test are 1.05 together; they may be at most 1"),
        ("data.split={train: 0.9}", r"data\.split\.train: unknown key; the keys are validation, test"),
        ("data.name=cifar", "data.name: unknown data set 'cifar'; the data sets are digits, "),
        ("model.pooling=mean", "model: pooling is given, but vit_digits takes images; leave pooling out"),
        ("model={keras_nlp: bert, pooling: mean}", "model: pooling is given, but keras_nlp keeps its own"),
        ("model.vocabulary=500", "model: vocabulary is given, but vit_digits takes images; leave vocabulary out"),
        ("model={preset: minilm_l6, vocabulary: 500}", "model: vocabulary is given, but minilm_l6 has its own"),
        ("model={hugging_face: mine, vocabulary: 500}", "model: vocabulary is given, but hugging_face has its own"),
        (
            "model.new_head=true",
            "model: new_head is given, but only a folder of hugging_face has a head; leave new_head",
        ),
        ("model={preset: minilm_l6, depth: 2}", "model: depth is given, but minilm_l6 has its own; leave depth out"),
        ("model={keras_nlp: bert, depth: 2}", "model: depth is given, but keras_nlp has its own"),
        ("model.sequence_length=2", r"model\.sequence_length: .*greater than or equal to 3, not 2"),
        ("model.preset=vit_huge", "model.preset: unknown preset 'vit_huge'; the presets are vit_digits, "),
        ("export.formats=[int4]", r"export\.formats\[0\]: .*'float32', 'float16' or 'dynamic'"),
        ("export.formats=[int8]", "export.formats: int8 comes from the technique quantize"),
        ("data=3", "data: it takes name, path, task, .*, not 3"),
        ("training=none", "training: .*, not 'none'"),
        ("training.strategy=fast", "training.strategy: .*'mirrored' or 'multi_worker'.*, not 'fast'"),
        (
            "techniques=[{prune: {fit: {strategy: mirrored}}}, {cluster: {fit: {strategy: multi_worker}}}]",
            "trainings of one run name the strategies mirrored and multi_worker; a run has one",
        ),
        ("training.learning_rate=.inf", "training.learning_rate: .*finite number, not inf"),
        ("training.epochs=0", "training.epochs: .*greater than or equal to 1, not 0"),
        ("techniques=[{cluster: {training: 0}}]", r"techniques\[0\]\.cluster\.training: .*boolean, not 0"),
        ("techniques=[{cluster: {training: false, fit: {epochs: 3}}}]", "cluster: training is false, but fit says how"),
        ("techniques=[{cluster: {fit: null}}]", "cluster: fit is null; write training: false"),
        ("seed", "--set 'seed' has no '='"),
        ("techniques[9].prune=1", r"--set techniques\[9\]\.prune: there is no such place"),
        ("seed=[1", "--set seed: not valid YAML at line 1"),
    ],
)
def test_a_mistake_is_named_by_its_path(override, message):
    with pytest.raises(UserError, match=message):
        Recipe.load("vit_digits", [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {name: digits}\ndata: {name: digits}\n", "not valid YAML at line 2.*duplicate key"),
        ("data: [", "not valid YAML at line"),
        ("", "own.yaml: it takes data, model, seed, training, techniques, export, not nothing$"),
        (
            MINIMAL + "x: &a [*a]",
            "^[^:]*own.yaml: an alias stands inside what its anchor names; write out what is meant",
        ),
        (MINIMAL + "x: &a {b: [*a]}", "own.yaml: an alias stands inside"),
        (MINIMAL + "x: " + "[" * 3000 + "]" * 3000, "own.yaml: not valid YAML: it is nested too deeply"),
        (
            "data: {name: text_file, classes: {0: bad, 1: good}}",
            r"data\.classes\[0\]: .*valid string, not 0; put it in q",
        ),
        ("data: {name: 2026-01-01}", r"data\.name: .*valid string, not datetime.*; put it in quotes"),
        ("data: 3", "data: it takes name, path, .*, not 3"),
        ("data: {name: digits}", "model: Field required$"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, text)


def test_an_unknown_recipe_lists_the_shipped():
    with pytest.raises(UserError, match=r"'vit_digit' is neither shipped \(bert_half_trec, .*\) nor a readable"):
        Recipe.load("vit_digit")
