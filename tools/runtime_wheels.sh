#!/usr/bin/env bash
# Builds the runtime's sdist and its wheels for Linux on x86-64 and 64-bit Arm. The compiler is that of PyPI's ziglang, with
# which they need no later glibc than 2.27, whatever this machine has; auditwheel checks it.
#   runtime_wheels.sh FOLDER
# BUILD_PYTHON is a Python with the package `build`, those of wheels.lock, and tensorflow, which brings Highway's headers;
# default: python3. Needs CMake and Ninja.
set -euo pipefail
folder=$(realpath "$1") builder=$(realpath --no-symlinks "$(command -v "${BUILD_PYTHON:-python3}")")
cd "$(dirname "$0")/../runtime"
export CMAKE_TOOLCHAIN_FILE=$PWD/native/cmake/zig.cmake ZIG ZIG_TARGET VIRTUAL_ENV
ZIG=$("$builder" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).with_name("zig"))')
VIRTUAL_ENV=$("$builder" -c 'import sys; print(sys.prefix)')

wheel() {  # ARGUMENT... of build
  local tag=manylinux_2_27_$ZIG_TARGET found wheel
  "$builder" -m build --outdir "$folder" -C "wheel.tags=py3-none-$tag" "$@" .
  wheel=$(ls "$folder"/tfcompress_runtime-*-"$tag.whl")
  "$builder" -m zipfile -l "$wheel" | grep libtfcompress_runtime.so || { echo "$wheel has no library" >&2; exit 1; }
  found=$("$builder" -m auditwheel show --json "$wheel" | "$builder" -c 'import json, sys; print(json.load(sys.stdin)["overall_tag"])')
  [ "$(printf '%s\n' "$found" "$tag" | sort -V | tail -1)" = "$tag" ] || { echo "$wheel needs $found" >&2; exit 1; }
  echo "$(basename "$wheel") would run on $found"
}
ZIG_TARGET=x86_64 && wheel  # from the sdist, which is built first
ZIG_TARGET=aarch64 && wheel --wheel -C build-dir=out/native-aarch64
