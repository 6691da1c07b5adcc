#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""shards.py - what does a message cost on two shards, compared with one?

The load is a fixed number of messages per second, so that all do the same work:

    two   two shards under the load
    one   one shard under the load: it has more to do at a time, so its batches are larger
    half  one shard under half of the load, over half of the connections: as busy as each of the two

Neither servers nor the load generator are pinned from outside: two shards pin themselves, one runs
where the kernel puts it. With two CPUs all share them; so read nothing but CPU per message.
"""
import argparse
import itertools
import sys

import compare
import measure
import report

SERVERS = {"half": ("torc", 2), "one": ("torc", 1), "two": ("torc-2", 1)}  # load divided by
BASES = compare.Bases("half", "half", "half")


def client_arguments(case, rate, divisor):
    connections, size, depth = case
    return ["--connections", str(connections // divisor), "--rate", str(rate // divisor),
            "--size", str(size), "--depth", str(depth)]


def measure_round(round_index, cases, servers, config, results):
    for index, case in enumerate(cases):
        for name in measure.rotated(list(SERVERS), round_index + index):
            program, divisor = SERVERS[name]
            record = measure.undisturbed_sample(
                servers[program], client_arguments(case, config.rate, divisor), config.seconds,
                config, case[0] // divisor)
            results.add({"kind": "sample", "round": round_index, "case": case, "server": name,
                         **record})
        print(f"round {round_index + 1}/{config.rounds}: {compare.case_text(case)}",
              file=sys.stderr)


def run(config):
    title = f"TCP echo on one shard and on two, {config.rate:,} messages/s"
    measure.check_config(config)
    cases = list(itertools.product(config.connections, config.size, config.depth))
    servers = {}
    try:
        for name in config.servers:
            servers[name] = measure.Server(name, config)
        results = report.Results(config, "shards")
        for round_index in range(config.rounds):
            measure_round(round_index, cases, servers, config, results)
    finally:
        for server in servers.values():
            server.stop()
    results.finish(compare.summary(results.machine, results.records, title, BASES, list(SERVERS)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=compare.number_list, default=[100])
    parser.add_argument("--size", type=compare.number_list, default=[64, 1024], help="bytes")
    parser.add_argument("--depth", type=compare.number_list, default=[1], help="at most in flight")
    parser.add_argument("--rate", type=int, default=40000, help="messages per second")
    measure.add_options(parser, 9, 1, ["torc", "torc-2"])
    parser.set_defaults(server_cpu=None, client_cpu=None)
    run(parser.parse_args())


measure.run(main)
