#!/bin/sh
# Creates the virtual environment from the lock file, with hashes checked.
# Debian splits ensurepip off its Python: where it is missing, pip comes from Debian's own wheel,
# unpacked beside the environment without root.
set -eu
venv=$1

python=
for candidate in python3.11 python3.12 python3.13 python3; do
  if command -v "$candidate" >/dev/null 2>&1 &&
     "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || { echo "make: expected Python 3.11, 3.12 or 3.13 on PATH" >&2; exit 1; }

echo "setting up $venv with $($python --version) …"
rm -rf "$venv"
if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
  command -v apt-get >/dev/null 2>&1 ||
    { echo "make: $python lacks ensurepip; install its venv package" >&2; exit 1; }
  rm -rf "$venv"
  "$python" -m venv --without-pip "$venv"
  sh tools/debian_packages.sh "$venv/debian" python3-pip-whl python3-setuptools-whl
  wheel=$(ls "$venv"/debian/usr/share/python-wheels/pip-*.whl)
  "$venv/bin/python" "$wheel/pip" install --quiet --no-index --no-deps "$wheel"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
  -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  --no-build-isolation -e .
