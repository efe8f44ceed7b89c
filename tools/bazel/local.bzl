"""Repositories made of what this machine has, for a Bazel that fetches nothing (WORKSPACE; MODULE.bazel fetches them)."""

def _native_rules(context):
    context.file("BUILD", "")
    package, _, name = context.attr.file.rpartition("/")
    context.file(package + "/BUILD", "exports_files([\"%s\"])\n%s" % (name, context.attr.build))
    context.file(context.attr.file, "\n".join(["%s = native.%s" % (rule, rule) for rule in context.attr.rules]))

native_rules = repository_rule(
    _native_rules,
    doc = "Bazel's own rules under the names that the rules' later repository gives them.",
    attrs = {
        "build": attr.string(doc = "What else its BUILD file holds."),
        "file": attr.string(mandatory = True, doc = "The .bzl file to load them from."),
        "rules": attr.string_list(mandatory = True),
    },
)

def _run(context, command):
    done = context.execute(command)
    if done.return_code:
        fail("%s\n%s" % (" ".join([str(part) for part in command]), done.stderr))
    return done.stdout.strip()

def _python(context):
    """Returns the Python of the environment that is named, active, or made by `make install`."""
    folder = context.os.environ.get("TFCOMPRESS_VENV") or context.os.environ.get("VIRTUAL_ENV")
    folder = context.path(folder) if folder else context.path(context.attr.workspace).dirname.get_child(".venv")
    python = folder.get_child("bin").get_child("python")
    if not python.exists:
        fail("%s does not exist: run make install" % python)
    return python

# Of an environment without tfcompress, also where it is installed editable: a .pth file in a folder that another .pth
# file names is not run. setuptools' is, which brings the distutils that Python 3.12 dropped.
_ENVIRONMENT = """
import pathlib, sys, sysconfig, venv
target, packages = sys.argv[1], pathlib.Path(sysconfig.get_path("purelib"))
venv.create(target, symlinks=True)
own = pathlib.Path(sysconfig.get_path("purelib", "venv", {"base": target, "platbase": target}))
(own / "0-locked.pth").write_text(f"{packages}\\n")
if (shim := packages / "distutils-precedence.pth").exists():
    (own / shim.name).write_text(shim.read_text())
"""

_TOOLCHAIN = """load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
)

py_runtime_pair(
    name = "pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

_PACKAGE = """py_library(
    name = "{name}",
    visibility = ["//visibility:public"],
)
"""

def _locked_environment(context):
    environment = context.path("environment")
    _run(context, [_python(context), "-c", _ENVIRONMENT, environment])
    context.file("BUILD", _TOOLCHAIN.format(python = environment.get_child("bin").get_child("python")))
    for line in context.read(context.path(context.attr.requirements)).split("\n"):
        if line[:1].isalnum():
            name = line.partition("==")[0].partition("[")[0].replace("-", "_").replace(".", "_").lower()
            context.file(name + "/BUILD", _PACKAGE.format(name = name))

locked_environment = repository_rule(
    _locked_environment,
    doc = "The environment that `make install` makes: a toolchain with its Python, a library for each package, which is there anyway.",
    environ = ["TFCOMPRESS_VENV", "VIRTUAL_ENV"],
    attrs = {
        "requirements": attr.label(allow_single_file = True, mandatory = True),
        "workspace": attr.label(default = "//:WORKSPACE"),
    },
)

def _highway(context):
    find = "import importlib.util; print(*importlib.util.find_spec('tensorflow').submodule_search_locations)"
    tensorflow = context.path(_run(context, [_python(context), "-c", find]))
    context.symlink(tensorflow.get_child("include").get_child("external").get_child("com_google_highway").get_child("hwy"), "hwy")
    context.file("BUILD", """cc_library(
    name = "hwy",
    hdrs = glob(["hwy/**/*.h"]),
    includes = ["."],
    visibility = ["//visibility:public"],
)
""")

highway_of_tensorflow = repository_rule(
    _highway,
    doc = "Google Highway's headers, all that is needed of it, which the tensorflow package brings.",
    environ = ["TFCOMPRESS_VENV", "VIRTUAL_ENV"],
    attrs = {"workspace": attr.label(default = "//:WORKSPACE")},
)
