#!/usr/bin/env bash
# Installs packages into an environment: by uv, in a tenth of pip's time; by pip where there is no uv, or where it does not
# get at the packages, as with an index that only pip's settings name.
#   install.sh PYTHON ARGUMENT...   arguments as pip takes them
# BUILD_PYTHON is the Python that has uv; default: python3.
set -euo pipefail
builder=${BUILD_PYTHON:-python3} python=$1
shift
"$builder" -m uv pip install --quiet --system-certs --python "$python" "$@" ||
  "$builder" -m pip --python "$python" install --quiet "$@"
