#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh - all benchmarks in a reduced form, about five minutes. Builds nothing.
# Usage: bench/run.sh [BUILD_DIRECTORY] [RESULT_DIRECTORY]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../build/release}" && pwd)
results=${2:-$here/results}

if [ -x "$build/bench/micro" ]; then
    "$build/bench/micro"
fi
set -- --build "$build" --results "$results"
python3 "$here/echo.py" "$@" --case pingpong --seconds 0.5 --name quick-pingpong
python3 "$here/echo.py" "$@" --rounds 3 --seconds 0.5 --name quick-echo
python3 "$here/accept.py" "$@" --rounds 3 --seconds 0.5 --name quick-accept
python3 "$here/idle.py" "$@" --servers torc,ring,epoll,libuv --name quick-idle
