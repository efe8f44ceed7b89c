#!/usr/bin/env bash
# Builds libtfcompress_runtime.so with its functions for Java, stripped and checked, without the Android SDK and NDK:
#   out/host/libtfcompress_runtime.so             for JVM tests on this machine
#   out/jniLibs/ABI/libtfcompress_runtime.so      for Android, API 24 or later (bionic/CMakeLists.txt)
# Needs CMake, Debian's clang, libc++-14-dev and lld, the headers of a JDK, and those of Google Highway, either from libhwy-dev
# or from the environment that `make install` creates.
set -euo pipefail
cd "$(dirname "$0")"
: "${JAVA_HOME:=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}"
export JAVA_HOME
library=libtfcompress_runtime.so

host() {
  cmake -S src/main/cpp -B out/native-host -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Release > /dev/null
  cmake --build out/native-host --parallel 2 --target tfcompress_runtime
  install -D out/native-host/native/$library out/host/$library
}

android() {
  cmake -S bionic -B "out/native-$1" --no-warn-unused-cli --toolchain toolchain.cmake -DANDROID_ABI="$1" \
    -DCMAKE_BUILD_TYPE=Release > /dev/null
  cmake --build "out/native-$1" --parallel 2 --target tfcompress_runtime
  python3 bionic/check.py "out/native-$1/runtime/native/$library" bionic/libc.txt "$1"
  install -D "out/native-$1/runtime/native/$library" "out/jniLibs/$1/$library"
}

host
for abi in arm64-v8a x86_64; do android $abi; done
