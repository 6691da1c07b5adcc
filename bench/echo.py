#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""echo.py - TCP echo: CPU per message, messages per second and latency of torc and its peers.

In every round each case is measured on all servers in turn, in rotated order; what is compared is
the ratio within a round, since this evens out whatever drifts slower than a round.
"""
import argparse
import itertools
import statistics
import sys

import measure
import report
from report import median, number

BASE_CPU = "ring"  # CPU per message is given relative to this server,
BASE_RATE = "libuv"  # messages per second to this one,
BASE_TAIL = "epoll"  # and the 99th percentile to this one.
SYSCALL_SECONDS = (0.3, 1.0)


def case_text(case):
    connections, size, depth = case
    return f"{connections} x {size} B x {depth}"


def client_arguments(case):
    connections, size, depth = case
    return ["--connections", str(connections), "--size", str(size), "--depth", str(depth)]


def measure_round(round_index, cases, servers, config, results):
    for index, case in enumerate(cases):
        for name in measure.rotated(list(servers), round_index + index):
            record = measure.undisturbed_sample(
                servers[name], client_arguments(case), config.seconds, config, case[0]
            )
            results.add({"kind": "sample", "round": round_index, "case": case, "server": name,
                         **record})
        print(f"round {round_index + 1}/{config.rounds}: {case_text(case)}", file=sys.stderr)


def count_syscalls(name, case, seconds, traced, config):
    """(system calls, messages) of a server that lives for this one run."""
    server = measure.Server(name, config.build, config.server_cpu, traced)
    try:
        arguments = [*client_arguments(case), "--duration", str(seconds)]
        client = measure.start_client(server, arguments, config.build, config.client_cpu)
        result = measure.finish_client(client, 60)
    finally:
        calls = server.stop()
    return calls, result["messages"]


def measure_syscalls(cases, config, results):
    """System calls per message: two runs, of which only the difference counts, since it is free of
    start, end and connecting. A traced server is slower, so its batches are larger."""
    for case, name in itertools.product(cases, config.servers):
        for traced in (False, True):
            if traced and not measure.HAVE_STRACE:
                break
            short = count_syscalls(name, case, SYSCALL_SECONDS[0], traced, config)
            if short[0] is None:
                continue
            long = count_syscalls(name, case, SYSCALL_SECONDS[1], traced, config)
            results.add({"kind": "syscalls", "case": case, "server": name, "traced": traced,
                         "per_message": (long[0] - short[0]) / max(1, long[1] - short[1])})
            break


class Table:
    """Medians and ratios of the records of one run."""

    def __init__(self, records):
        samples = [r for r in records if r["kind"] == "sample" and not r["dropped"]]
        self.cells = {(r["round"], tuple(r["case"]), r["server"]): r for r in samples}
        self.rounds = sorted({r["round"] for r in records if r["kind"] == "sample"})
        self.cases = list(dict.fromkeys(
            tuple(r["case"]) for r in records if r["kind"] == "sample"))
        self.servers = sorted({r["server"] for r in records if r["kind"] == "sample"},
                              key=list(measure.SERVERS).index)
        self.syscalls = {(tuple(r["case"]), r["server"]): r
                         for r in records if r["kind"] == "syscalls"}
        self.dropped = sum(r["kind"] == "sample" and r["dropped"] for r in records)

    def values(self, case, server, read):
        cells = (self.cells.get((r, case, server)) for r in self.rounds)
        return [read(cell) for cell in cells if cell]

    def ratios(self, case, server, base, read):
        """Of each round in which both were measured."""
        pairs = ((self.cells.get((r, case, server)), self.cells.get((r, case, base)))
                 for r in self.rounds)
        return [read(mine) / read(other) for mine, other in pairs if mine and other]

    def mean_ratio(self, cases, server, base, read):
        """(geometric mean, smallest, largest) of the cases' median ratios."""
        medians = [median(self.ratios(case, server, base, read)) for case in cases]
        medians = [value for value in medians if value]
        if not medians:
            return None, None, None
        return statistics.geometric_mean(medians), min(medians), max(medians)


def read_cpu(cell):
    return cell["cpu_us"]


def read_rate(cell):
    return cell["rate"]


def read_p99(cell):
    return cell["latency_us"]["p99"]


def spread(ratios):
    if not ratios:
        return "-"
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def syscalls_text(record):
    if record is None:
        return "-"
    return ("~" if record["traced"] else "") + f"{record['per_message']:.2f}"


def case_rows(table):
    yield (f"| connections x size x depth | server | CPU us/msg | relative to {BASE_CPU} | msgs/s |"
           f" relative to {BASE_RATE} | p50 us | p99 us | relative to {BASE_TAIL} | syscalls/msg |"
           f" n |")
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for case, server in itertools.product(table.cases, table.servers):
        p50 = table.values(case, server, lambda cell: cell["latency_us"]["p50"])
        cells = [
            case_text(case),
            server,
            number(median(table.values(case, server, read_cpu))),
            spread(table.ratios(case, server, BASE_CPU, read_cpu)),
            number(median(table.values(case, server, read_rate)), 0),
            spread(table.ratios(case, server, BASE_RATE, read_rate)),
            number(median(p50), 0),
            number(median(table.values(case, server, read_p99)), 0),
            number(median(table.ratios(case, server, BASE_TAIL, read_p99))),
            syscalls_text(table.syscalls.get((case, server))),
            str(len(p50)),
        ]
        yield "| " + " | ".join(cells) + " |"


def mean_rows(table):
    most = max(case[0] for case in table.cases)
    crowded = [case for case in table.cases if case[0] == most]
    yield (f"| server | CPU relative to {BASE_CPU} | its worst case | msgs/s relative to"
           f" {BASE_RATE} | p99 relative to {BASE_TAIL} with {most} conns | user us/msg |")
    yield "|---|---|---|---|---|---|"
    for server in table.servers:
        cpu, _, worst = table.mean_ratio(table.cases, server, BASE_CPU, read_cpu)
        rate = table.mean_ratio(table.cases, server, BASE_RATE, read_rate)[0]
        tail = table.mean_ratio(crowded, server, BASE_TAIL, read_p99)[0]
        user = [table.values(case, server, lambda cell: cell["user_us"]) for case in table.cases]
        user = statistics.mean(itertools.chain(*user)) if any(user) else None
        yield (f"| {server} | {number(cpu, 3)} | {number(worst)} | {number(rate, 3)} |"
               f" {number(tail)} | {number(user)} |")


def summary(machine, records):
    table = Table(records)
    if not table.cells:
        raise measure.BenchError("every sample was disturbed; see --foreign")
    return "\n".join([
        "# TCP echo",
        "",
        report.machine_text(machine),
        "Geometric means of the cases below:",
        "",
        *mean_rows(table),
        "",
        "Medians over the rounds; a ratio is taken within a round, then the median of these"
        " (smallest-largest).",
        "System calls with ~ were counted by strace, which slows the server down and thereby"
        " enlarges its batches.",
        f"Samples left out because others used the machine: {table.dropped}.",
        "",
        *case_rows(table),
        "",
    ])


def number_list(text):
    return [int(word) for word in text.split(",")]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=["matrix", "pingpong"], default="matrix",
                        help="pingpong: one connection, 64 B, torc polls before it sleeps")
    parser.add_argument("--connections", type=number_list, default=[10, 100, 1000])
    parser.add_argument("--size", type=number_list, default=[64, 1024, 16384], help="bytes")
    parser.add_argument("--depth", type=number_list, default=[1, 16])
    parser.add_argument("--no-syscalls", action="store_true",
                        help="do not count system calls (for the smallest size only)")
    parser.add_argument("--summarize", metavar="FILE", help="of an earlier run; measure nothing")
    measure.add_options(parser, 5, 1, ["torc", "ring", "epoll", "libuv"])
    parser.set_defaults(servers=None)
    config = parser.parse_args()
    pingpong = config.case == "pingpong"
    if pingpong:
        config.connections, config.size, config.depth = [1], [64], [1]
    if config.servers is None:
        config.servers = ("torc-poll," if pingpong else "") + "torc,ring,epoll,libuv"
    return config


def main():
    config = parse_options()
    if config.summarize:
        print(summary(*report.read_results(config.summarize)))
        return

    measure.check_config(config)
    cases = list(itertools.product(config.connections, config.size, config.depth))
    servers = {}
    try:
        for name in config.servers:
            servers[name] = measure.Server(name, config.build, config.server_cpu)
        results = report.Results(config, "echo" if config.case == "matrix" else config.case)
        for round_index in range(config.rounds):
            measure_round(round_index, cases, servers, config, results)
    finally:
        for server in servers.values():
            server.stop()
    if not config.no_syscalls:
        smallest = [case for case in cases if case[1] == min(config.size)]
        measure_syscalls(smallest, config, results)
    results.finish(summary(results.machine, results.records))


measure.run(main)
