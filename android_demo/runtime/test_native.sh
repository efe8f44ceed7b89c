#!/usr/bin/env bash
# Runs the libraries for Android on this machine, for Arm in an emulator:
#   test_native.sh X86_TESTS ARM_TESTS: library_tests, built for Linux on both processors (tfcompress/runtime/native)
# The C library is glibc behind bionic's name: this shows that the code is right and needs nothing else, not how bionic itself
# behaves. Needs clang, lld and qemu-user.
set -euo pipefail
out=$(dirname "$0")/out

# A libc.so that has nothing but glibc. Prints the path in which a loader finds it and the library.
path() {
  [ -f "$out/jniLibs/$2/libtfcompress_runtime.so" ] || { echo "no library for $2: run make android-test first" >&2; return 1; }
  mkdir -p "$out/glibc/$1"
  clang "--target=$1-linux-gnu" -fuse-ld=lld -shared -nostdlib -x c /dev/null -Wl,-soname,libc.so \
    -Wl,--no-as-needed -l:libc.so.6 -o "$out/glibc/$1/libc.so" || return
  echo "$out/glibc/$1:$out/jniLibs/$2"
}

x86=$(path x86_64 x86_64)
arm=$(path aarch64 arm64-v8a)
LD_LIBRARY_PATH=$x86 "$1" --gtest_brief
# Threads that wait awake take a minute in an emulator.
qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$arm" "$2" --gtest_brief \
  --gtest_filter=-Threads.GiveTheSame*
