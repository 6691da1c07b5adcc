#!/bin/bash
# SPDX-License-Identifier: MIT
#
# simulate.sh - search seeds of all simulated scenarios of the release build, 46,000 of them, in
# about a minute on two cores; ends at the first that fails, and tells how to repeat it. Takes
# options of such a program: simulate.sh --first 1000000 searches others.
set -euo pipefail
cd "$(dirname "$0")/.."

for scenario in tests/sim/*.c; do
    name=$(basename "$scenario" .c)
    program=build/release/tests/sim.$name
    if [ ! -x "$program" ]; then
        echo "simulate.sh: there is no $program: build the release preset" >&2
        exit 1
    fi
    printf '%-10s ' "$name"
    "$program" --seeds 3000 "$@"
    printf '%-10s ' "  wild"
    "$program" --seeds 1000 --chaos wild --twice "$@"
    printf '%-10s ' "  calm"
    "$program" --seeds 200 --chaos calm "$@"
done
