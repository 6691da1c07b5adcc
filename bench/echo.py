#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""echo.py - TCP echo: CPU per message, messages per second and latency of torc and its peers."""
import argparse

import compare
import measure

CASES = {
    "matrix": "10/100/1,000 connections x 64 B/1 KiB/16 KiB x 1/16 in flight",
    "pingpong": "one connection, 64 B, torc also polling before it sleeps",
    "epoll": "the matrix with torc on its epoll driver, beside epoll by hand and libuv",
    "options": "torc with SQPOLL, NAPI polling, and waits that collect completions for 50 us",
}
SERVERS = {
    "matrix": ["torc", "ring", "epoll", "libuv"],
    "pingpong": ["torc-poll", "torc", "ring", "epoll", "libuv"],
    "epoll": ["torc-epoll", "torc", "epoll", "libuv"],
    "options": ["torc", "torc-sqpoll", "torc-napi", "torc-min-wait"],
}
BASES = {
    "epoll": compare.Bases("epoll", "libuv", "epoll"),
    "options": compare.Bases("torc", "torc", "torc"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, default="matrix",
                        help="; ".join(f"{name}: {text}" for name, text in CASES.items()))
    known, _ = parser.parse_known_args()
    few = {"pingpong": [1], "options": [1, 100]}.get(known.case)
    compare.add_options(parser, few or [10, 100, 1000], [64] if few else [64, 1024, 16384],
                        [1] if few else [1, 16])
    measure.add_options(parser, 5, 5, SERVERS[known.case])
    if known.case == "options":  # A kernel thread that polls would disturb the slices of others.
        parser.set_defaults(samples=True, seconds=1)
    config = parser.parse_args()

    what = {"matrix": "echo", "pingpong": "pingpong"}.get(config.case, "echo-" + config.case)
    what += "-client-polls" if config.client_polls else ""
    bases = BASES.get(config.case, compare.Bases("ring", "libuv", "epoll"))
    compare.run(config, what, "TCP echo", bases)


measure.run(main)
