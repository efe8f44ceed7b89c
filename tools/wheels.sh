#!/usr/bin/env bash
# Builds the sdists and the wheels of both distributions (dist/), and tries the wheels in an empty environment of each Python,
# with the versions in requirements.lock: their version, the runtime and a small, shortened demo from another folder.
#   wheels.sh [PYTHON...]   default: python3.11 python3.12 python3.13
# Needs the package `build`, CMake and a C++ compiler.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
builder=${BUILD_PYTHON:-python3}
rm -rf dist
for source in runtime .; do  # Highway's headers are in the builder's tensorflow.
  VIRTUAL_ENV=$("$builder" -c 'import sys; print(sys.prefix)') "$builder" -m build --outdir dist $source
done
wheels=("$PWD"/dist/*.whl)
"$builder" -m zipfile -l "$PWD"/dist/tfcompress_runtime-*.whl | grep -e libtfcompress_runtime -e tfcompress_runtime.h

constraints=$(mktemp)
sed -n '/^[a-z]/{s/\[[^]]*\]//; s/ *\\$//; p}' requirements.lock > "$constraints"  # the versions without their hashes
short='epochs: 1, batch_size: 256, learning_rate: 5.0e-4'
for python in ${@:-python3.11 python3.12 python3.13}; do
  folder=$(mktemp -d)
  "$python" -m venv --without-pip "$folder/venv"
  BUILD_PYTHON=$builder tools/install.sh "$folder/venv/bin/python" --constraint "$constraints" "${wheels[@]}"
  (
    cd "$folder"
    venv/bin/tfcompress --version
    venv/bin/python -c 'import tfcompress.runtime as runtime; print(runtime.library())'
    venv/bin/tfcompress run vit_digits --workdir run --set model.depth=1 --set "training={$short}" \
      --set "techniques=[{prune: {fit: {$short}}}, {cluster: {fit: {$short}}}, {quantize: {fit: {$short}}}]"
    test -s run/model.tflite -a -s run/android/packed.tflite
  )
  rm -rf "$folder"
  echo "$python: $(basename -a "${wheels[@]}" | xargs) work"
done
