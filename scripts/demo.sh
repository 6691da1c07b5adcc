#!/bin/bash
# SPDX-License-Identifier: MIT
#
# demo.sh - show torc at work: an echo server on all cores under load for about ten seconds, then
# the same load on libuv and on bare epoll, and a table of the three. Builds nothing: `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."

exec build/release/torc demo "$@"
