#!/bin/bash
# SPDX-License-Identifier: MIT
#
# gdb_test.sh - does gdb show parked fibers, in a process, a core file and gdb's own core file?
#
#     tests/gdb/gdb_test.sh PARKED_PROGRAM
#
# Ends with 77 where gdb, or its Python, is missing.
set -uo pipefail
program=$(readlink -f "$1")
script=$(cd "$(dirname "$0")/../../tools/gdb" && pwd)/torc-gdb.py
scratch=$(mktemp -d)
pid=
failures=0

stop_program()
{
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    [ -z "$pid" ] || wait "$pid" 2>/dev/null
    pid=
}
trap 'stop_program; rm -rf "$scratch"' EXIT

if ! gdb -nx -batch -ex 'python import gdb.unwinder' >"$scratch/probe" 2>&1 ||
    grep -q 'not supported' "$scratch/probe"; then
    echo "skipped: there is no gdb, or it has no Python"
    exit 77
fi

# Starts the program, with the environment given, and waits until its fibers are parked.
start_program()
{
    rm -f "$scratch/output"
    (cd "$scratch" && ulimit -c unlimited && exec env "$@" "$program" >output 2>errors) &
    pid=$!
    for _ in $(seq 200); do
        grep -q parked "$scratch/output" 2>/dev/null && return 0
        sleep 0.05
    done
    echo "the program has not parked its fibers"
    exit 1
}

# look WHAT ARGUMENT...: list the fibers and show their stacks. Where only a linker's symbol is
# known, gdb may take the two underscores of torc__context_boot for Ada's dot.
look()
{
    what=$1
    shift
    gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set width 0' -x "$script" "$@" \
        -ex 'torc fibers' -ex 'torc bt all' -ex 'torc bt 0.2' >"$scratch/gdb" 2>&1 </dev/null
    for wanted in \
        '^ *0 +1  main +WAITING +recv on [0-9]+, [0-9.]+ s +main_fiber' \
        '^ *0 +2  reader +WAITING +recv on [0-9]+, [0-9.]+ s +reader_body' \
        '^ *0 +3  sleeper +WAITING +sleep, [0-9.]+ s +sleeper_body' \
        '^ *0 +4  waiter +WAITING +event never, [0-9.]+ s +waiter_body' \
        '^ *1 +1  main +WAITING +sleep, [0-9.]+ s +main_fiber' \
        '^5 fibers' \
        '#[0-9]+ .* in await_bytes \(\)' \
        '#[0-9]+ .* in reader_body \(arg=' \
        '#[0-9]+ .* in doze \(\)' \
        '#[0-9]+ .* in sleeper_body \(arg=' \
        '#[0-9]+ .* in await_godot \(\)' \
        '#[0-9]+ .* in waiter_body \(arg=' \
        '#[0-9]+ .* in torc__fiber_main' \
        '#[0-9]+ .* in torc(__|\.)context_boot'; do
        if ! grep -Eq "$wanted" "$scratch/gdb"; then
            echo "$what: gdb does not show $wanted"
            failures=$((failures + 1))
        fi
    done
    if [ "$(grep -c 'in reader_body' "$scratch/gdb")" != 2 ]; then
        echo "$what: the stack of fiber 0.2 was not shown twice"
        failures=$((failures + 1))
    fi
    if grep -Eq 'corrupt stack|Python Exception|Error' "$scratch/gdb"; then
        echo "$what: gdb complains"
        failures=$((failures + 1))
    fi
    [ "$failures" = 0 ] || cat "$scratch/gdb"
    echo "$what: looked at"
}

# Without symbols there are no names of functions, but all else.
look_stripped()
{
    gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set width 0' -x "$script" "$@" \
        -ex 'torc fibers' -ex 'torc bt 0.2' >"$scratch/gdb" 2>&1 </dev/null
    for wanted in \
        '^ *0 +2  reader +WAITING +recv on [0-9]+, [0-9.]+ s' \
        '^ *0 +3  sleeper +WAITING +sleep, [0-9.]+ s' \
        '^5 fibers' \
        '^  #4 '; do
        if ! grep -Eq "$wanted" "$scratch/gdb"; then
            echo "a stripped program: gdb does not show $wanted"
            failures=$((failures + 1))
        fi
    done
    [ "$failures" = 0 ] || cat "$scratch/gdb"
    echo "a stripped program: looked at"
}

start_program TORC_FORBID=
if ! gdb -nx -batch -p "$pid" -ex 'set debuginfod enabled off' \
    -ex 'ptype struct torc__shard' 2>&1 </dev/null | grep -q running; then
    echo "skipped: libtorc was built without debug information"
    exit 77
fi
look "a process" -p "$pid"

if [ "$(cut -c1 /proc/sys/kernel/core_pattern)" != "|" ]; then
    kill -ABRT "$pid"
    wait "$pid" 2>/dev/null
    pid=
    core=$(find "$scratch" -name '*core*' -type f -print -quit)
    if [ -n "$core" ]; then
        look "a core file" "$program" "$core"
    else
        echo "a core file: none was written, so none was looked at"
    fi
fi
stop_program

# With guard regions, gdb's own core files lack the stacks.
start_program TORC_FORBID=guard_regions
gdb -nx -batch -p "$pid" -ex 'set debuginfod enabled off' \
    -ex "generate-core-file $scratch/by-gdb" >"$scratch/gdb" 2>&1 </dev/null
look "gdb's core file" "$program" "$scratch/by-gdb"

stop_program

if command -v strip >/dev/null; then
    strip -o "$scratch/stripped" "$program"
    program=$scratch/stripped
    start_program TORC_FORBID=
    look_stripped -p "$pid"
fi

[ "$failures" = 0 ]
