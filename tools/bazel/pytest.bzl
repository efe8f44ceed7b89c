"""A test that is run by pytest."""

load("@rules_python//python:defs.bzl", "py_test")

_TENSORFLOW = (
    "//tests/pages",
    "//tfcompress/commands",
    "//tfcompress/data",
    "//tfcompress/export",
    "//tfcompress/models",
    "//tfcompress/optimize",
    "//tfcompress/runs",
    "//tfcompress/study",
    "//tfcompress:training",
    "//tfcompress:traits",
    "@pypi//keras",
    "@pypi//tensorflow",
    "@pypi//tf_keras",
)

def pytest_test(name, deps = [], data = [], tags = [], **options):
    """NAME.py in pytest, without what is marked slow.

    A file that imports TensorFlow, itself or with a folder that does, is tagged tensorflow: that takes longer than most
    tests.

    Args:
      name: of the test and, with .py, of its file.
      deps: what the file imports, but for its folder's library (conftest.py and helpers) and pytest.
      data: what it reads or runs.
      tags: ["slow"] if the file takes over 20 seconds. CI leaves such files to pytest, and those tagged tensorflow.
      **options: of py_test.
    """
    py_test(
        name = name,
        srcs = [
            name + ".py",
            "//tools/bazel:pytest_main.py",
        ],
        args = ["$(rootpath %s.py)" % name],
        data = data + ["//:pyproject.toml"],
        main = "//tools/bazel:pytest_main.py",
        tags = tags + ["tensorflow" for dep in deps if dep.startswith(_TENSORFLOW)][:1],
        timeout = "long",  # Some train for a minute, more where the machine is shared.
        deps = deps + [
            ":" + native.package_name().split("/")[-1],
            "@pypi//pytest",
            "@pypi//pytest_timeout",
        ],
        **options
    )
