#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""accept.py - connections that live for one message: accepted per second, CPU of each."""
import argparse
import sys

import measure
import network
import report
from report import median, number

BASE = "ring"


def ratios(cells, rounds, name):
    pairs = ((cells.get((r, name)), cells.get((r, BASE))) for r in range(rounds))
    return [mine["cpu_us"] / other["cpu_us"] for mine, other in pairs if mine and other]


def summary(machine, records, config, own_network):
    cells = {(r["round"], r["server"]): r for r in records if not r["dropped"]}
    lines = [
        "# Connect, one message, close",
        "",
        report.machine_text(machine),
        f"{config.connections} connections at a time, {config.size} bytes each,"
        f" {'without' if own_network else 'WITH, which may distort everything,'} connections in"
        " TIME_WAIT. Connecting costs"
        " the load generator more than accepting costs the server, so CPU per connection is what"
        f" compares. Medians of {config.rounds} rounds; samples left out because others used the"
        f" machine: {sum(r['dropped'] for r in records)}.",
        "",
        f"| server | connections/s | CPU us/connection | relative to {BASE} | load of the server |"
        " load of the generator | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in config.servers:
        mine = [cell for (_, server), cell in cells.items() if server == name]
        cells_text = [name]
        for key, digits in (("rate", 0), ("cpu_us", 1)):
            cells_text.append(number(median([cell[key] for cell in mine]), digits))
        cells_text.append(number(median(ratios(cells, config.rounds, name))))
        for key in ("server_load", "client_load"):
            cells_text.append(number(median([cell[key] for cell in mine])))
        lines.append("| " + " | ".join([*cells_text, str(len(mine))]) + " |")
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=64, help="at a time")
    parser.add_argument("--size", type=int, default=64, help="bytes of the one message")
    measure.add_options(parser, 5, 1, ["torc", "ring", "multishot", "epoll", "libuv"])
    config = parser.parse_args()
    own_network = network.enter_own()
    measure.check_config(config)

    arguments = ["--churn", "--connections", str(config.connections), "--size", str(config.size)]
    servers = {}
    try:
        for name in config.servers:
            servers[name] = measure.Server(name, config)
        results = report.Results(config, "accept")
        for round_index in range(config.rounds):
            for name in measure.rotated(config.servers, round_index):
                record = measure.undisturbed_sample(servers[name], arguments, config.seconds,
                                                    config)
                results.add({"round": round_index, "server": name, **record})
            print(f"round {round_index + 1}/{config.rounds}", file=sys.stderr)
    finally:
        for server in servers.values():
            server.stop()
    results.finish(summary(results.machine, results.records, config, own_network))


measure.run(main)
