#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stream.py - TCP echo through streams that hold no memory while idle, beside what may be had by
hand: a multishot ring with incremental buffers (the yardstick), a one-shot ring, epoll."""
import argparse

import compare
import measure


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    compare.add_options(parser, [10, 100, 1000], [64, 1024, 16384], [1, 16])
    measure.add_options(parser, 5, 5, ["torc-stream", "torc", "multishot", "ring", "epoll"])
    config = parser.parse_args()
    compare.run(config, "stream", "TCP echo through streams",
                compare.Bases("multishot", "multishot", "epoll"))


measure.run(main)
