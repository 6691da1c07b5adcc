#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""observe.py - what it costs to be observable: CPU per echoed message without an observer, with it,
while `torc top` looks once a second, and while `torc trace` records.

`off` has the counters, probes and branches that are always there. To see what these cost, compare
with a build without them: --server before="/path/to/torc echo --listen 127.0.0.1:0 --shards 1".
"""
import argparse

import compare
import measure
from programs import torc_echo

SERVERS = {
    "off": torc_echo(env={"TORC_OBSERVER": "0"}),
    "on": torc_echo(),
    "watched": torc_echo(beside=["torc", "top", "{pid}", "--json"]),
    "traced": torc_echo(beside=["torc", "trace", "{pid}", "--seconds", "3600", "-o", "/dev/null"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    measure.add_options(parser, 15, 0.4, ["off", "on", "watched", "traced"], table=SERVERS)
    compare.add_options(parser, [1, 100], [64], [1])
    config = parser.parse_args()
    compare.run(config, "observe", "What it costs to be observable",
                compare.Bases("off", "off", "off"))


measure.run(main)
