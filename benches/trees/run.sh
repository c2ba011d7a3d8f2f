#!/usr/bin/env bash
# The benchmark in one command: makes a venv with the other libraries, trains and compiles the models (once), builds the
# driver, and writes its section of docs/benchmarks.md. Arguments go to the driver: --only, --rounds, --cold-events.
set -euo pipefail
cd "$(dirname "$0")"

cache=${MILLSTREAM_CACHE:-$HOME/.cache/millstream}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target-light}
cargo build --release --locked

venv=$cache/bench-trees-venv-$(cksum <requirements.txt | cut -d' ' -f1)
if [ ! -f "$venv/complete" ]; then
    rm -rf "$venv"
    "${MILLSTREAM_PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
    touch "$venv/complete"
fi
"$venv/bin/python" train.py "$cache/bench-trees"
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')
exec "$CARGO_TARGET_DIR/release/bench-trees" \
    --models "$cache/bench-trees" --packages "$packages" --write ../../docs/benchmarks.md "$@"
