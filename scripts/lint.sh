#!/bin/bash
# SPDX-License-Identifier: MIT
#
# lint.sh - tidy.py, clang-format and clang-tidy over all sources. Changes nothing: `make lint`.
set -euo pipefail
cd "$(dirname "$0")/.."

result=0
tools/tidy.py || result=1
git ls-files -z '*.c' '*.h' | xargs -0 clang-format --dry-run --Werror || result=1
git ls-files -z 'src/*.c' 'tools/*.c' 'examples/*.c' 'tests/*.c' ':!tests/install' |
    xargs -0 -n 1 -P "$(nproc)" clang-tidy -p build/clang --quiet || result=1
exit $result
