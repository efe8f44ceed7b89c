#!/usr/bin/env bash
# build.sh FOLDER prepares what arm_count.py needs: TensorFlow Lite with XNNPACK for 64-bit Arm Linux from Maven Central, a
# program that runs it, and the QEMU plugin that counts instructions. Needs Maven, a JDK, clang and g++-aarch64-linux-gnu.
set -euo pipefail
folder=$(realpath --canonicalize-missing "$1")
cd "$(dirname "$0")"
version=2.18.0-1.5.11
library=org/bytedeco/tensorflowlite/linux-arm64/libjnitensorflowlite.so

mkdir -p "$folder"
if [ ! -f "$folder/$library" ]; then
  mvn --batch-mode --no-transfer-progress --quiet org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    -Dartifact=org.bytedeco:tensorflow-lite:$version:jar:linux-arm64 -DoutputDirectory="$folder" -Dmdep.stripVersion=true
  echo "533321eda09e42358b35cbde77d768bf01ac6476a7c2f8bed34afb4968d2340b  $folder/tensorflow-lite-linux-arm64.jar" |
    sha256sum --check --quiet
  (cd "$folder" && jar --extract --file tensorflow-lite-linux-arm64.jar $library)
fi
clang -O2 -Wall -Wextra -Werror -shared -fPIC count.c -o "$folder/count.so"
clang --target=aarch64-linux-gnu -O2 -Wall -Wextra -Werror run.c "$folder/$library" \
  -Wl,-rpath,"$(dirname "$folder/$library")" -o "$folder/run"
