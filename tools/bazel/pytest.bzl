"""A test that is run by pytest."""

load("@rules_python//python:defs.bzl", "py_test")

def pytest_test(name, deps = [], data = [], **options):
    """NAME.py in pytest, without what is marked slow.

    Args:
      name: of the test and, with .py, of its file.
      deps: what the file imports, but for its folder's library (conftest.py and helpers) and pytest.
      data: what it reads or runs.
      **options: of py_test; tags = ["slow"] if the file takes over 20 seconds, so that CI leaves it to pytest.
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
        timeout = "long",  # Some train for a minute, more where the machine is shared.
        deps = deps + [
            ":" + native.package_name().split("/")[-1],
            "@pypi//pytest",
            "@pypi//pytest_timeout",
        ],
        **options
    )
