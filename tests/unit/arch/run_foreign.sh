#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run_foreign.sh CPU - build the test of the context switch for another CPU and run it emulated.
#
# CPU is aarch64 or riscv64. Wants Debian's cross compiler for it, and qemu-user; ends with
# status 77, which CTest counts as skipped, where one of them is missing. Needs no build directory:
# the program is linked statically, so no library of that CPU has to be found at run time.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: run_foreign.sh aarch64|riscv64" >&2
    exit 2
fi
cpu=$1
case $cpu in
aarch64 | riscv64) ;;
*)
    echo "run_foreign.sh: no such CPU: $cpu" >&2
    exit 2
    ;;
esac

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source_dir=$here/../../../src
compiler=$cpu-linux-gnu-gcc
emulator=qemu-$cpu

if ! command -v "$compiler" >/dev/null; then
    echo "skipped: $compiler is not installed"
    exit 77
fi
if ! command -v "$emulator" >/dev/null; then
    emulator=$emulator-static
    if ! command -v "$emulator" >/dev/null; then
        echo "skipped: qemu-$cpu is not installed"
        exit 77
    fi
fi

work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT
trap 'exit 1' HUP INT TERM

# A compiler without the C library for its target can't link: that is a missing package as well.
echo 'int main(void) { return 0; }' >"$work_dir/empty.c"
if ! "$compiler" -static "$work_dir/empty.c" -o "$work_dir/empty" 2>/dev/null; then
    echo "skipped: $compiler can't link a static program; its C library is missing"
    exit 77
fi

build_and_run() {
    echo "$cpu: $*"
    "$compiler" -std=gnu17 -Wall -Wextra -static -fasynchronous-unwind-tables "$@" \
        -I "$source_dir" "$here/context_test.c" "$source_dir/arch/$cpu.S" \
        -o "$work_dir/context_test"
    "$emulator" "$work_dir/context_test"
}

build_and_run -O0
build_and_run -O2
if [ "$cpu" = aarch64 ]; then
    build_and_run -O0 -mbranch-protection=standard
    build_and_run -O2 -mbranch-protection=standard
fi
