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
}
SERVERS = {
    "matrix": ["torc", "ring", "epoll", "libuv"],
    "pingpong": ["torc-poll", "torc", "ring", "epoll", "libuv"],
    "epoll": ["torc-epoll", "torc", "epoll", "libuv"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, default="matrix",
                        help="; ".join(f"{name}: {text}" for name, text in CASES.items()))
    known, _ = parser.parse_known_args()
    pingpong = known.case == "pingpong"
    compare.add_options(parser, [1] if pingpong else [10, 100, 1000],
                        [64] if pingpong else [64, 1024, 16384], [1] if pingpong else [1, 16])
    measure.add_options(parser, 5, 1, SERVERS[known.case])
    config = parser.parse_args()

    what = {"matrix": "echo", "pingpong": "pingpong", "epoll": "echo-epoll"}[config.case]
    bases = compare.Bases("epoll" if config.case == "epoll" else "ring", "libuv", "epoll")
    compare.run(config, what, "TCP echo", bases)


measure.run(main)
