"""tfcompress: a Keras ViT or BERT goes in; a phone-ready `.tflite` and the proof of what it kept come out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.tokenizer import Tokenizer
    from tfcompress.errors import UserError
    from tfcompress.optimize.activation_plan import LayerQuantization
    from tfcompress.optimize.clustering import Cluster, LayerClustering
    from tfcompress.optimize.distillation import Distil
    from tfcompress.optimize.halving import Halve
    from tfcompress.optimize.pruning import LayerPruning, Prune
    from tfcompress.optimize.quantization import Quantize
    from tfcompress.optimize.removal import Remove
    from tfcompress.optimize.vocabulary import TrimVocabulary
    from tfcompress.report.document import Report
    from tfcompress.runs.pipeline import compress, run
    from tfcompress.runs.recipe import Export, Recipe
    from tfcompress.training import Training

__all__ = [
    "Cluster",
    "Dataset",
    "Distil",
    "Export",
    "Halve",
    "LayerClustering",
    "LayerPruning",
    "LayerQuantization",
    "Prune",
    "Quantize",
    "Recipe",
    "Remove",
    "Report",
    "Tokenizer",
    "Training",
    "TrimVocabulary",
    "UserError",
    "compress",
    "run",
]

_HOMES = {
    "data.dataset": ("Dataset",),
    "data.tokenizer": ("Tokenizer",),
    "errors": ("UserError",),
    "optimize.activation_plan": ("LayerQuantization",),
    "optimize.clustering": ("Cluster", "LayerClustering"),
    "optimize.distillation": ("Distil",),
    "optimize.halving": ("Halve",),
    "optimize.pruning": ("LayerPruning", "Prune"),
    "optimize.quantization": ("Quantize",),
    "optimize.removal": ("Remove",),
    "optimize.vocabulary": ("TrimVocabulary",),
    "runs.pipeline": ("compress", "run"),
    "runs.recipe": ("Export", "Recipe"),
    "report.document": ("Report",),
    "training": ("Training",),
}


def __getattr__(name: str) -> Any:
    # On first use, because TensorFlow takes seconds to import and no part of it is needed for a --help.
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tfcompress.{module}"), name)
    raise AttributeError(f"module 'tfcompress' has no attribute {name!r}")
