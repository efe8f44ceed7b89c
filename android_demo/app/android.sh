#!/usr/bin/env bash
# The steps of the build for which Maven has no plugin. pom.xml calls it with MODELS, TOOLS and VERSION set:
#   android.sh resources   compiles resources and assets into target/android/{java,resources.apk}, which the tests read too
#   android.sh apk JAR     shrinks the code, adds the native libraries, aligns and signs the APK
#   android.sh again JAR   builds the unsigned APK again and checks that it has the same bytes
#   android.sh check       checks that a phone can install the APK, and moves it to target/tfcompress-demo.apk
# The signing key is generated here and only good for tests: for a store, sign target/android/unsigned.apk.
set -euo pipefail
cd "$(dirname "$0")"
main=src/main out=target/android signed=target/android/signed.apk apk=target/tfcompress-demo.apk
min_sdk=24 target_sdk=35 abis=(arm64-v8a x86_64)
aapt2=$TOOLS/prebuilt/linux/aapt2_64 android=$TOOLS/android-all.jar

resources() {
  rm -rf $out $apk
  mkdir -p $out/java
  cp -r "$MODELS" $out/assets
  rm $out/assets/*/golden.json  # Only the tests need it.
  # Gradle adds both by itself.
  sed 's|<manifest |<manifest package="org.tfcompress.demo" |; s|<application|& android:extractNativeLibs="false"|' \
    $main/AndroidManifest.xml > $out/AndroidManifest.xml
  "$aapt2" compile --dir $main/res -o $out/resources.zip
  # -0: models stay uncompressed, so that they can be mapped into memory.
  "$aapt2" link -o $out/resources.apk -I "$android" --manifest $out/AndroidManifest.xml --java $out/java --proguard $out/rules.pro \
    --min-sdk-version $min_sdk --target-sdk-version $target_sdk --version-code 1 --version-name "$VERSION" \
    --auto-add-overlay -A $out/assets -0 tflite $out/resources.zip
}

apk() {
  unsigned "$1" $out/unsigned.apk
  key=../target/debug.jks  # Kept between builds: a phone accepts an update only with the same key.
  [ -f $key ] || keytool -genkeypair -keystore $key -storepass android -alias debug -keyalg RSA -keysize 2048 -validity 10000 \
    -dname "CN=Android Debug"
  apksigner sign --ks $key --ks-pass pass:android --min-sdk-version $min_sdk --v4-signing-enabled false \
    --out $signed $out/unsigned.apk
}

unsigned() {
  IFS=: read -ra libraries < $out/libraries || true  # read fails because the file does not end with a line break.
  rm -rf $out/dex
  mkdir $out/dex
  java -cp "$TOOLS/r8.jar" com.android.tools.r8.R8 --release --min-api $min_sdk --lib "$android" --lib "$(java_home)" \
    --pg-conf rules.pro --pg-conf $out/rules.pro --pg-conf ../runtime/consumer-rules.pro --pg-map-output $out/mapping.txt \
    --output $out/dex "$1" "${libraries[@]}" "$TOOLS"/tensorflow-lite{,-api}/classes.jar
  python3 pack.py $out/resources.apk $out/dex "$TOOLS/tensorflow-lite/jni" ../runtime/out/jniLibs $out/packed.apk "${abis[@]}"
  zipalign -f -p 4 $out/packed.apk "$2"
}

again() {
  unsigned "$1" $out/again.apk
  cmp $out/unsigned.apk $out/again.apk
}

check() {
  apksigner verify --min-sdk-version $min_sdk $signed
  zipalign -c -p 4 $signed
  "$aapt2" dump badging $signed > $out/badging
  dexdump $signed | grep 'Class descriptor' > $out/classes
  python3 check_apk.py $signed $out/badging $out/classes "${abis[@]}"
  mv $signed $apk
}

java_home() { dirname "$(dirname "$(readlink -f "$(command -v javac)")")"; }

"$@"
