#!/usr/bin/env bash
# The benchmark in one command: builds Millstream, makes a venv with the peers, generates the events, runs everything in
# turns and writes docs/benchmarks.md. Arguments go to bench.py: --events, --repeats, --only, --no-write.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=${MILLSTREAM_CACHE:-$HOME/.cache/millstream}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
cargo build --release --locked --package millstream

pinned=$(cat tests/requirements.txt benches/fraud/requirements.txt | cksum | cut -d' ' -f1)
venv=$cache/bench-venv-$pinned
if [ ! -f "$venv/complete" ]; then
    rm -rf "$venv"
    "${MILLSTREAM_PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r benches/fraud/requirements.txt
    touch "$venv/complete"
fi
exec "$venv/bin/python" benches/fraud/bench.py \
    --millstream "$CARGO_TARGET_DIR/release/millstream" --work "$cache/bench-fraud" "$@"
