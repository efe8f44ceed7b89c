#!/usr/bin/env bash
# Runs a packed file with the library of the runtime's wheel for 64-bit Arm, in an emulator, and compares its answer with that
# of this machine's runtime:
#   try_arm_wheel.sh WHEEL FILE FOLDER PYTHON
# PYTHON has tfcompress_runtime. What is needed is kept in FOLDER: Debian's Python for arm64, and tflite_runtime 2.14, since
# the emulator crashes in ai-edge-litert 2.3. Needs qemu-user, and uv in BUILD_PYTHON (default: python3).
set -euo pipefail
builder=$(realpath --no-symlinks "$(command -v "${BUILD_PYTHON:-python3}")")
wheel=$(realpath "$1") file=$(realpath "$2") python=$(realpath --no-symlinks "$4")
mkdir -p "$3"
folder=$(realpath "$3") root=$(cd "$(dirname "$0")/.." && pwd)
cd "$folder"

if [ ! -f ready ]; then
  mkdir -p lists/partial cache/archives/partial
  of_arm=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status=/dev/null -o APT::Sandbox::User=root
    -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Acquire::Languages=none)
  apt-get "${of_arm[@]}" update
  apt-get "${of_arm[@]}" download libbz2-1.0 libc6 libexpat1 libffi8 libgcc-s1 liblzma5 libssl3 libstdc++6 libuuid1 zlib1g \
    libpython3.11-minimal libpython3.11-stdlib python3.11-minimal
  for package in *.deb; do dpkg-deb --extract "$package" debian; done
  "$builder" -m uv pip install --quiet --system-certs --target packages --python-version 3.11 \
    --python-platform aarch64-manylinux_2_36 --require-hashes -r "$root/tests/tflite_2_14.lock"
  touch ready
fi

rm -rf wheel
"$python" -m zipfile -e "$wheel" wheel
"$python" - "$file" << 'EOF'
import json, sys
import numpy as np
from tfcompress_runtime import Interpreter

interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
(given,) = interpreter.get_input_details()
examples = np.random.default_rng(0).random((2, *given["shape"])).astype(given["dtype"])
np.save("examples.npy", examples)
answers = []
for example in examples:
    interpreter.set_tensor(given["index"], example)
    interpreter.invoke()
    answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
np.save("expected.npy", np.stack(answers))
with open("jobs.json", "w") as jobs:
    json.dump([[sys.argv[1], "examples.npy", "found.npy", 2]], jobs)
EOF
PYTHONPATH=packages qemu-aarch64 -L debian debian/usr/bin/python3.11 "$root/tests/runtime/client.py" \
  tflite_runtime wheel/tfcompress_runtime/libtfcompress_runtime.so jobs.json
"$python" -c 'import numpy as np; np.testing.assert_allclose(np.load("found.npy"), np.load("expected.npy"), atol=0.02)'
echo "$(basename "$wheel") runs $(basename "$file")"
