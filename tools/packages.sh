#!/usr/bin/env bash
# Installs the Debian 12 packages that targets of the Makefile need, and `ci` for .ci/run, as root:
#   packages.sh TARGET...
# Does nothing where they are installed already. Python, make and Go may come from elsewhere than Debian.
set -euo pipefail

browser=(chromium chromium-driver)        # the tests of the report page
mediapipe=(libegl1 libgl1 libgles2)       # the tests of the metadata, which run MediaPipe
compiler=(clang cmake ninja-build)        # the packed runtime
googletest=(googletest libgtest-dev)      # sources, which Bazel and Arm builds compile, and the library
arm=(g++-aarch64-linux-gnu qemu-user)     # a cross compiler and an emulator
java=(maven openjdk-17-jdk-headless)
android=(apksigner dexdump libc++-14-dev lld zipalign)

packages=()
has_python() {
  python3 -c 'import ensurepip, os, sysconfig
raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2> /dev/null
}
has_python || packages+=(python3-dev python3-venv)
command -v make > /dev/null || packages+=(make)

for target; do
  case $target in
    check | docs) ;;
    ci) packages+=(ccache) ;;  # One compiler builds the runtime for Python and for the JVM.
    test | coverage) packages+=("${browser[@]}" "${mediapipe[@]}" "${compiler[@]}") ;;
    sanitizer-test) packages+=(clang-format libclang-rt-14-dev "${compiler[@]}" "${googletest[@]}") ;;
    arm-test) packages+=("${compiler[@]}" "${googletest[@]}" "${arm[@]}") ;;
    arm-count) packages+=("${compiler[@]}" "${arm[@]}" "${java[@]}") ;;
    android-test) packages+=("${compiler[@]}" "${java[@]}" "${android[@]}") ;;
    c-example) packages+=("${compiler[@]}" "${java[@]}") ;;
    library-tests) packages+=("${compiler[@]}" "${googletest[@]}" "${arm[@]}") ;;
    android-native-test) packages+=(lld "${compiler[@]}" "${arm[@]}") ;;
    bazel-test)
      packages+=(bazel-bootstrap "${compiler[@]}" "${googletest[@]}")
      command -v go > /dev/null || packages+=(golang-go)  # runs buildifier
      ;;
    wheels) packages+=(cmake ninja-build qemu-user) ;;
    release) packages+=(qemu-user "${compiler[@]}" "${java[@]}" "${android[@]}") ;;
    *) echo "packages.sh does not know what $target needs" >&2; exit 2 ;;
  esac
done

if [ ${#packages[@]} -gt 0 ] && ! dpkg -s "${packages[@]}" > /dev/null 2>&1; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
