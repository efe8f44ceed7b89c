#!/usr/bin/env bash
# Builds the sdists and the wheels of both distributions (dist/), and tries the wheels in empty environments of each Python,
# with the versions in requirements.lock and without a compiler: tfcompress by its version and a small, shortened demo from
# another folder, the runtime alone by the packed file that the demo leaves, and its wheel for Arm by that file in an emulator.
#   wheels.sh [PYTHON...]   default: python3.11 python3.12 python3.13
# Needs what runtime_wheels.sh and try_arm_wheel.sh need.
set -euo pipefail
BUILD_PYTHON=$(realpath --no-symlinks "$(command -v "${BUILD_PYTHON:-python3}")")
export BUILD_PYTHON
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
rm -rf dist
mkdir dist
tools/runtime_wheels.sh dist
"$BUILD_PYTHON" -m build --outdir dist .
main=$(ls "$PWD"/dist/tfcompress-*.whl)
runtime=$(ls "$PWD"/dist/tfcompress_runtime-*_x86_64.whl)

constraints=$(mktemp)
sed -n '/^[a-z]/{s/\[[^]]*\]//; s/ *\\$//; p}' requirements.lock > "$constraints"  # the versions without their hashes
short='epochs: 1, batch_size: 256, learning_rate: 5.0e-4'
export CC=false CXX=false
for python in ${@:-python3.11 python3.12 python3.13}; do
  folder=$(mktemp -d)
  "$python" -m venv --without-pip "$folder/venv"
  tools/install.sh "$folder/venv/bin/python" --constraint "$constraints" "$main" "$runtime"
  "$python" -m venv --without-pip "$folder/alone"
  tools/install.sh "$folder/alone/bin/python" --constraint "$constraints" "$runtime"
  (
    cd "$folder"
    venv/bin/tfcompress --version
    venv/bin/tfcompress run vit_digits --workdir run --set model.depth=1 --set "training={$short}" \
      --set "techniques=[{prune: {fit: {$short}}}, {cluster: {fit: {$short}}}, {quantize: {fit: {$short}}}]"
    test -s run/model.tflite -a -s run/android/packed.tflite
    alone/bin/python -m tfcompress_runtime run/android/packed.tflite --seconds 0.1
    "$root/tools/try_arm_wheel.sh" "$root"/dist/tfcompress_runtime-*_aarch64.whl run/android/packed.tflite "$root/out/arm64" \
      alone/bin/python
  )
  rm -rf "$folder"
  echo "$python: $(basename -a "$main" "$runtime" | xargs) work"
done
