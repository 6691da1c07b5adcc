#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""unix.py - echo over Unix stream sockets, where the kernel does less and the rest counts more."""
import argparse

import compare
import measure
import programs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    compare.add_options(parser, [10, 100, 1000], [64, 16384], [1, 16])
    measure.add_options(parser, 5, 5, ["torc", "ring", "epoll", "libuv"], programs.UNIX, "unix")
    config = parser.parse_args()
    compare.run(config, "unix", "Unix stream echo", compare.Bases("ring", "libuv", "epoll"))


measure.run(main)
