#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh - all benchmarks in a reduced form, about seven minutes. Builds nothing.
# Usage: bench/run.sh [BUILD_DIRECTORY] [RESULT_DIRECTORY]
# BENCH_OPTIONS in the environment goes to each of them: "--rounds 1 --foreign 0.5".
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../build/release}" && pwd)
results=${2:-$here/results}

failed=0

# measure WHAT OPTION...: one of the programs beside this file, shortened.
measure()
{
    what=$1
    shift
    # shellcheck disable=SC2086
    python3 "$here/$what.py" --build "$build" --results "$results" --seconds 1 --rounds 3 "$@" \
        ${BENCH_OPTIONS:-} || failed=1
}

if [ -x "$build/bench/micro" ]; then
    mkdir -p "$results"
    micro=$results/$(date +%F)-quick-micro.txt
    "$build/bench/micro" >"$micro" || failed=1
    cat "$micro"
fi
measure echo --case pingpong --name quick-pingpong
measure echo --size 64,16384 --no-syscalls --name quick-echo
measure stream --connections 100 --size 64,16384 --depth 1 --name quick-stream
measure unix --connections 100 --size 64,16384 --depth 1 --no-syscalls --name quick-unix
measure udp --connections 10 --no-syscalls --name quick-udp
measure accept --name quick-accept
measure files --file-mib 256 --cases cached,direct,sequential --name quick-files
measure shards --size 64 --name quick-shards
if command -v redis-benchmark >/dev/null; then measure kv --name quick-kv; fi
measure idle --connections 2000 --seconds 2 --rounds 1 --name quick-idle

exit $failed
