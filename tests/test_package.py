import subprocess
import sys

import tfcompress


def test_the_public_names_are_these():
    assert tfcompress.__all__ == [
        "Cluster", "Dataset", "Distil", "Export", "Halve", "LayerClustering", "LayerPruning", "LayerQuantization",
        "Prune", "Quantize", "Recipe", "Remove", "Report", "Tokenizer", "Training", "TrimVocabulary",
        "UserError", "compress", "run",
    ]  # fmt: skip
    assert all(getattr(tfcompress, name) for name in tfcompress.__all__)


def test_importing_the_package_does_not_import_tensorflow():
    code = "import sys, tfcompress; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
