#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""udp.py - UDP echo: what a datagram costs that comes and is sent back.

A socket's receive buffer holds some 250 small datagrams, and what does not fit is lost; so cases
with more in flight are left out.
"""
import argparse

import compare
import measure
import programs


IN_FLIGHT_MAX = 200


def fits(case):
    connections, _, depth = case
    return connections * depth <= IN_FLIGHT_MAX


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    compare.add_options(parser, [1, 10, 100], [64], [1, 16])
    parser.set_defaults(samples=True)
    servers = ["torc", "torc-feed", "torc-poll", "mmsg", "ring", "libuv"]
    measure.add_options(parser, 5, 1, servers, programs.UDP, "udp")
    config = parser.parse_args()
    compare.run(config, "udp", "UDP echo", compare.Bases("mmsg", "libuv", "mmsg"), fits)


measure.run(main)
