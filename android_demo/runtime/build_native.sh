#!/usr/bin/env bash
# Builds libtfcompress_runtime.so with the functions for Java, without the Android SDK:
#   build/host/libtfcompress_runtime.so                    for JVM tests on this machine
# Needs CMake, clang and a JDK's headers.
set -euo pipefail
cd "$(dirname "$0")"
: "${JAVA_HOME:=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}"
export JAVA_HOME

host() {
  cmake -S src/main/cpp -B build/native-host -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Release > /dev/null
  cmake --build build/native-host --parallel 2 --target tfcompress_runtime
  install -D build/native-host/native/libtfcompress_runtime.so build/host/libtfcompress_runtime.so
}

host
