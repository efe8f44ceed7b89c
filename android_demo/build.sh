#!/usr/bin/env bash
# Builds app/target/tfcompress-demo.apk without the Android SDK, with the models of runs of tfcompress:
#   build.sh [FOLDER] [--test]
# FOLDER is the working folder of a run, or a folder with several of them; the default is models. A model that does not load,
# or whose outputs differ from those in Python, fails the build. --test also runs all tests, which need the models of
# vit_digits and bert_half_trec.
# Needs Linux on x86-64, JDK 17 or later, Maven, Python, the tools that runtime/build_native.sh names, and Debian's zipalign,
# apksigner and dexdump.
set -euo pipefail
folder=$(dirname "$0")/models tests=(-P models-only)
for argument; do
  case $argument in
    --test) tests=() ;;
    -*) echo "unknown option $argument; usage: build.sh [FOLDER] [--test]" >&2; exit 2 ;;
    *) folder=$argument ;;
  esac
done
for tool in mvn javac python3 cmake clang++ ld.lld zipalign apksigner dexdump; do
  command -v $tool > /dev/null || { echo "$tool is missing; on Debian: apt install openjdk-17-jdk-headless maven python3 cmake clang" \
    "lld libc++-14-dev zipalign apksigner dexdump" >&2; exit 1; }
done
# No Java program here runs long enough to make up for optimising compilation and parallel garbage collection, which take half
# as much processor time again.
export JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC ${JAVA_TOOL_OPTIONS-}"
folder=$(realpath --canonicalize-missing "$folder")
cd "$(dirname "$0")"

models=$PWD/target/models
rm -rf "$models"
mkdir -p "$models"
[ ! -d "$folder" ] || find "$folder" -maxdepth 3 -name manifest.json -printf '%h\n' | while read -r run; do
  cp -r "$run" "$models/$(basename "${run%/android}")"
done
if [ -z "$(ls "$models")" ]; then
  echo "$folder has no android folder, which a run of tfcompress writes; pass the --workdir of a run" >&2
  exit 1
fi

mvn --batch-mode --no-transfer-progress "${tests[@]}" -Dmodels="$models" verify
ls -l app/target/tfcompress-demo.apk
