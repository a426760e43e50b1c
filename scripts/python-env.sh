#!/usr/bin/env bash
# A Python environment of our own.
#
#   python-env.sh make FOLDER PIP-ARGUMENT...   install packages into FOLDER
#   python-env.sh find FOLDER PROGRAM           print where PROGRAM of these packages is
#
# FOLDER/bin/python is an interpreter that finds the packages. Usually that is a venv. Debian
# ships Python without the venv module; there the packages stand in FOLDER/site, and
# FOLDER/bin/python is a script that says so to the interpreter.
set -euo pipefail

action=$1
folder=$2
shift 2

if [ "$action" = find ]; then
    program=$(find "$folder" -type f -name "$1" -perm -u+x | sort | head -n 1)
    [ -n "$program" ] || { echo "$1 is not in $folder" >&2; exit 1; }
    echo "$program"
    exit 0
fi

command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 1; }
rm -rf "$folder"
if python3 -m venv "$folder" >/dev/null 2>&1; then
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" </dev/null
    exit 0
fi
echo "python3 has no venv module; installing beside it"
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/site"
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/site" "$@" </dev/null
cat >"$folder/bin/python" <<SCRIPT
#!/bin/sh
PYTHONPATH="$folder/site\${PYTHONPATH:+:\$PYTHONPATH}" exec python3 "\$@"
SCRIPT
chmod +x "$folder/bin/python"
