#!/usr/bin/env bash
# Builds the sdist and the wheel (dist/), and tries the wheel in an empty environment of each Python, with the versions in
# requirements.lock: its version, its runtime and a small, shortened demo from another folder.
#   wheels.sh [PYTHON...]   default: python3.11 python3.12 python3.13
# Needs the package `build`, CMake and a C++ compiler.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
builder=${BUILD_PYTHON:-python3}
rm -rf dist
VIRTUAL_ENV=$("$builder" -c 'import sys; print(sys.prefix)') "$builder" -m build --outdir dist .  # Highway's headers are in its tensorflow
wheel=$(ls "$PWD"/dist/*.whl)
"$builder" -m zipfile -l "$wheel" | grep libtfcompress_runtime

constraints=$(mktemp)
sed -n '/^[a-z]/{s/\[[^]]*\]//; s/ *\\$//; p}' requirements.lock > "$constraints"  # the versions without their hashes
short='epochs: 1, batch_size: 256, learning_rate: 5.0e-4'
for python in ${@:-python3.11 python3.12 python3.13}; do
  folder=$(mktemp -d)
  "$python" -m venv --without-pip "$folder/venv"
  BUILD_PYTHON=$builder tools/install.sh "$folder/venv/bin/python" --constraint "$constraints" "$wheel"
  (
    cd "$folder"
    venv/bin/tfcompress --version
    venv/bin/python -c 'import tfcompress.runtime as runtime; print(runtime.library())'
    venv/bin/tfcompress run vit_digits --workdir run --set model.depth=1 --set "training={$short}" \
      --set "techniques=[{prune: {fit: {$short}}}, {cluster: {fit: {$short}}}, {quantize: {fit: {$short}}}]"
    test -s run/model.tflite -a -s run/android/packed.tflite
  )
  rm -rf "$folder"
  echo "$python: $(basename "$wheel") works"
done
