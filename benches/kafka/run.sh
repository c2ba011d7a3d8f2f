#!/usr/bin/env bash
# The Kafka benchmark in one command: builds Millstream (or takes $MILLSTREAM), the raw tools and the Kafka Streams job,
# starts a broker, runs everything one after the other and writes docs/benchmarks.md and benches/kafka/results.json.
#
#   benches/kafka/run.sh                             all of it, for about two hours
#   benches/kafka/run.sh --quick                     a short look at everything; writes nothing
#   benches/kafka/run.sh --only millstream,raw       some of it; what the others had stays in the report
#
# More arguments go to bench.py: --events, --repeats, --rates, --recovery, --java, --no-write. Needs Java 17 and Maven.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=${MILLSTREAM_CACHE:-$HOME/.cache/millstream}
millstream=${MILLSTREAM:-}
if [ -z "$millstream" ]; then
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
    cargo build --release --locked --package millstream
    millstream=$CARGO_TARGET_DIR/release/millstream
fi
raw_target=$cache/bench-kafka-target
CARGO_TARGET_DIR=$raw_target cargo build --release --locked --manifest-path benches/kafka/raw/Cargo.toml

pinned=$(cat tests/requirements.txt tests/kafka/requirements.txt benches/kafka/requirements.txt | cksum | cut -d' ' -f1)
venv=$cache/bench-kafka-venv-$pinned
if [ ! -f "$venv/complete" ]; then
    rm -rf "$venv"
    "${MILLSTREAM_PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r benches/kafka/requirements.txt
    touch "$venv/complete"
fi

work=$cache/bench-kafka
classes=$work/classes
rm -rf "$classes"
mkdir -p "$classes"
jars=$("$venv/bin/python" -c 'import sys, pathlib; sys.path.insert(0, "benches/kafka"); import broker
print(broker.jars(pathlib.Path("benches/kafka/streams/pom.xml"), pathlib.Path(sys.argv[1]), "bench-kafka-streams"))' "$cache")
javac -Xlint:all -Werror -d "$classes" -cp "$jars/*" benches/kafka/streams/src/bench/*.java

quick=()
if [ "${1:-}" = --quick ]; then
    shift
    quick=(--events 200000 --repeats 1 --rates 1000,10000 --seconds 5 --warmup 2 --recovery 0.1 --no-write)
fi
exec "$venv/bin/python" benches/kafka/bench.py --millstream "$millstream" --tools "$raw_target/release/kafka-raw" \
    --classes "$classes" --cache "$cache" --work "$work" "${quick[@]}" "$@"
