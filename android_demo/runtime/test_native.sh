#!/usr/bin/env bash
# Runs the libraries for Android on this machine, and that for Arm in an emulator:
#   test_native.sh X86_TESTS ARM_TESTS
# The arguments are library_tests, built for Linux on each processor (runtime/native). A libc.so that links to glibc
# stands in for Android's, so this shows that the code is correct and needs no other library, but not how it behaves with
# Android's bionic. Needs clang, lld and qemu-user.
set -euo pipefail
out=$(dirname "$0")/out

# Builds a libc.so that only links to glibc, and prints the LD_LIBRARY_PATH with it and the library.
path() {
  [ -f "$out/jniLibs/$2/libtfcompress_runtime.so" ] || { echo "there is no library for $2; run make android-test first" >&2; return 1; }
  mkdir -p "$out/glibc/$1"
  clang "--target=$1-linux-gnu" -fuse-ld=lld -shared -nostdlib -x c /dev/null -Wl,-soname,libc.so \
    -Wl,--no-as-needed -l:libc.so.6 -o "$out/glibc/$1/libc.so" || return
  echo "$out/glibc/$1:$out/jniLibs/$2"
}

x86=$(path x86_64 x86_64)
arm=$(path aarch64 arm64-v8a)
LD_LIBRARY_PATH=$x86 "$1" --gtest_brief
# The excluded test takes a minute in the emulator, because its threads wait in busy loops.
qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$arm" "$2" --gtest_brief \
  --gtest_filter=-Threads.GiveTheSame*
