#!/bin/bash
# SPDX-License-Identifier: MIT
#
# demo.sh - show torc at work: an echo server on all cores under load, then torc, libuv and bare
# epoll on one core each, in turns, and a table of them all. About ten seconds; takes the options
# of `torc demo`. Builds nothing: `make demo` does.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -x build/release/torc ]; then
    echo "demo.sh: there is no build/release/torc: call make demo, which builds it" >&2
    exit 1
fi
exec build/release/torc demo "$@"
