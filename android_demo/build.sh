#!/usr/bin/env bash
# Builds the demo's APK without the Android SDK, with the models that runs of tfcompress left:
#   build.sh [FOLDER] [--test]   FOLDER: a run's working folder, or a folder of several; default: models
# leaves app/target/tfcompress-demo.apk. A model that the runtime does not load, or that answers there otherwise than in
# Python, fails the build; --test also runs all tests, which are about the models of vit_digits and bert_half_trec.
# Needs Linux on x86-64, a JDK from 17 on, Maven, Python, what runtime/build_native.sh names, and Debian's zipalign,
# apksigner and dexdump.
set -euo pipefail
folder=$(dirname "$0")/models tests=(-P models-only)
for argument; do
  case $argument in
    --test) tests=() ;;
    -*) echo "there is no $argument: build.sh [FOLDER] [--test]" >&2; exit 2 ;;
    *) folder=$argument ;;
  esac
done
for tool in mvn javac python3 cmake clang++ ld.lld zipalign apksigner dexdump; do
  command -v $tool > /dev/null || { echo "$tool is missing; on Debian: apt install openjdk-17-jdk-headless maven python3 cmake clang" \
    "lld libc++-14-dev zipalign apksigner dexdump" >&2; exit 1; }
done
# No Java here runs for long enough to repay the optimising compiler and parallel collection: half as much processor time again.
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
  echo "$folder has no folder android, as a run of tfcompress leaves it: give a run's --workdir" >&2
  exit 1
fi

mvn --batch-mode --no-transfer-progress "${tests[@]}" -Dmodels="$models" verify
ls -l app/target/tfcompress-demo.apk
