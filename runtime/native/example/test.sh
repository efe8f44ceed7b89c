#!/usr/bin/env bash
# test.sh PYTHON BUILD FOLDER FILE installs the runtime from the build folder BUILD into FOLDER, builds the example against it
# and TensorFlow Lite, and compares what it prints for the packed FILE with the runtime of PYTHON. Needs Maven and a JDK.
set -euo pipefail
python=$1 build=$2 folder=$(realpath --canonicalize-missing "$3") file=$4
library=org/bytedeco/tensorflowlite/linux-x86_64/libjnitensorflowlite.so

fetch() {  # ARTIFACT FILE SHA256
  [ -f "$folder/$2" ] || mvn --batch-mode --no-transfer-progress --quiet \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact="$1" -DoutputDirectory="$folder" -Dmdep.stripVersion=true
  echo "$3  $folder/$2" | sha256sum --check --quiet
}
mkdir -p "$folder"
fetch org.bytedeco:tensorflow-lite:2.18.0-1.5.11:jar:linux-x86_64 tensorflow-lite-linux-x86_64.jar \
  09e8a949a86745d372a5cc40b4937d9c113356bd92b5655e8a463682471b1354
fetch org.tensorflow:tensorflow-lite:2.16.1:aar tensorflow-lite.aar \
  34b065817e294e7dd3569504e8b9454938ceae453b6a459da54d5f6e45d3c94e
(cd "$folder" && jar --extract --file tensorflow-lite-linux-x86_64.jar $library && jar --extract --file tensorflow-lite.aar headers)
# The AAR lacks two headers that those in it include.
mkdir -p "$folder/headers/tensorflow/lite/core/async/c"
: > "$folder/headers/tensorflow/lite/core/async/c/types.h"
echo 'typedef struct TfLiteRegistrationExternal TfLiteRegistrationExternal;' \
  > "$folder/headers/tensorflow/lite/core/c/registration_external.h"

cmake --install "$build" --component development --prefix "$folder/installed" > /dev/null
cmake -S "$(dirname "$0")" -B "$folder/build" -DCMAKE_PREFIX_PATH="$folder/installed" \
  -DTFLITE_LIBRARY="$folder/$library" -DTFLITE_INCLUDE_DIR="$folder/headers" > /dev/null
cmake --build "$folder/build"
"$folder/build/run_packed" "$file" > "$folder/printed"
"$python" - "$file" "$folder/printed" << 'EOF'
import sys
import numpy as np
from tfcompress_runtime import Interpreter

interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
for port in interpreter.get_input_details():
    interpreter.set_tensor(port["index"], np.zeros(port["shape"], port["dtype"]))
interpreter.invoke()
expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
np.testing.assert_allclose(np.loadtxt(sys.argv[2]), expected.ravel(), atol=1e-5)
print(f"the example gives the {expected.size} numbers that Python's interpreter gives")
EOF
