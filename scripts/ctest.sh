#!/bin/bash
# SPDX-License-Identifier: MIT
#
# ctest.sh PRESET [OPTION...] - the tests of a preset, by ctest.
#
# Where CI is set, a test that failed is run once more: the machine there is shared, and the second
# run tells a program that is wrong from one that was starved. Those that needed it are added to the
# file that CI_SECOND_RUNS names, if it does: each is a defect.
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

status=0
ctest --preset "$@" ${CI:+--repeat until-pass:2} | tee "$log" || status=$?
if [ -n "${CI_SECOND_RUNS:-}" ]; then
    grep -v '\*\*\*Skipped' "$log" |
        sed -n 's/^ *[0-9]*\/[0-9]* Test *#[0-9]*: \([^ ]*\) .*\*\*\*.*/'"$1"': \1/p' \
        >>"$CI_SECOND_RUNS"
fi
exit $status
