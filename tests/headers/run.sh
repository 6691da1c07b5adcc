#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh - every public header compiles alone, and twice over, as strict C11 and as C++17.
#
#     tests/headers/run.sh INCLUDE_DIRECTORY
#
# With every compiler of gcc, g++, clang and clang++ that is here.
set -euo pipefail
include=$1
checked=0
failed=0

check()
{
    local compiler=$1 language=$2 standard=$3 header=$4

    if ! printf '#include <%s>\n#include <%s>\nextern int not_empty;\n' "$header" "$header" |
        "$compiler" -x "$language" "-std=$standard" -pedantic -Wall -Wextra -Werror \
            -I "$include" -fsyntax-only -; then
        echo "FAILED: $header with $compiler -std=$standard"
        failed=$((failed + 1))
    fi
    checked=$((checked + 1))
}

for path in "$include"/torc/*.h; do
    header=torc/${path##*/}
    for compiler in gcc clang; do
        ! command -v $compiler >/dev/null || check $compiler c c11 "$header"
    done
    for compiler in g++ clang++; do
        ! command -v $compiler >/dev/null || check $compiler c++ c++17 "$header"
    done
done

echo "$checked compilations, $failed failed"
[ $checked -gt 0 ] && [ $failed -eq 0 ]
