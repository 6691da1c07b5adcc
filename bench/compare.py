# SPDX-License-Identifier: MIT
"""compare.py - servers that echo, compared: cases in rounds, ratios, geometric means, a table.

In every round all servers are measured in turn; what is compared is the ratio within a round, since
this evens out whatever drifts slower than a round. As a rule a round is some milliseconds for each
server (slices.c). With --samples, and for datagrams, it is a run of the load generator for each.
"""
import itertools
import os
import statistics
import subprocess
import sys

import measure
import report
from report import median, number

SYSCALL_SECONDS = (0.3, 1.0)


class Bases:
    """The servers relative to which CPU per message, messages per second and the 99th percentile
    are given."""

    def __init__(self, cpu, rate, tail):
        self.cpu, self.rate, self.tail = cpu, rate, tail


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


def slice_ms(case):
    """So long that each connection had some turns, which at first are not as they are later."""
    return max(12, case[0] * 3 // 20)


def seconds_of(case, config):
    """For each server: long slices are few, so there they get more time."""
    return config.seconds * max(1, slice_ms(case) // 30)


def measure_slices(case, servers, config, results):
    """Turn from one server to the next every few milliseconds."""
    names = list(servers)
    connections, size, depth = case
    times = [seconds_of(case, config) * len(names), slice_ms(case), slice_ms(case)]
    begin = {name: measure.used(server.pid) for name, server in servers.items()}
    argv = [os.path.join(config.build, "bench/slices"), *["--poll"] * config.client_polls,
            *map(str, (connections, size, depth, *(round(time) for time in times)))]
    argv += [f"{server.address},{server.pid}" for server in servers.values()]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False,
                          preexec_fn=measure.child_on(config.client_cpu))
    if done.returncode != 0:
        raise measure.BenchError("the load generator failed")
    user = {name: measure.user_share(server.pid, begin[name]) for name, server in servers.items()}
    for line in done.stdout.splitlines():
        number, server, messages, time_ns, cpu_ns, _, p50_ns, p99_ns = map(int, line.split())
        name = names[server]
        cpu_us = cpu_ns / messages / 1e3
        results.add({"kind": "sample", "round": number, "case": case, "server": name,
                     "rate": messages / time_ns * 1e9, "cpu_us": cpu_us,
                     "user_us": cpu_us * user[name], "dropped": False,
                     "latency_us": {"p50": p50_ns / 1e3, "p99": p99_ns / 1e3}})
    print(case_text(case), file=sys.stderr)


def count_syscalls(name, case, seconds, traced, config):
    """(system calls, messages) of a server that lives for this one run."""
    server = measure.Server(name, config, traced)
    try:
        arguments = [*client_arguments(case), "--duration", str(seconds)]
        client = measure.start_client(server, arguments, config)
        result = measure.finish_client(client, 60)
    finally:
        calls = server.stop()
    return calls, result["messages"]


def syscalls_per_message(name, case, traced, config):
    """By two runs, of which only the difference counts, since it is free of start, end and
    connecting; None if nobody counts, or if the runs were so disturbed that they make no sense."""
    for _ in range(measure.TRIES):
        short = count_syscalls(name, case, SYSCALL_SECONDS[0], traced, config)
        if short[0] is None:
            return None
        long = count_syscalls(name, case, SYSCALL_SECONDS[1], traced, config)
        if long[0] > short[0] and long[1] > short[1]:
            return (long[0] - short[0]) / (long[1] - short[1])
    return None


def measure_syscalls(cases, config, results):
    """By the server itself, else by strace. A traced server is slower, so its batches are
    larger."""
    for case, name in itertools.product(cases, config.servers):
        for traced in (False, True) if measure.HAVE_STRACE else (False,):
            value = syscalls_per_message(name, case, traced, config)
            if value is not None:
                results.add({"kind": "syscalls", "case": case, "server": name, "traced": traced,
                             "per_message": value})
                break


class Table:
    """Medians and ratios of the records of one run."""

    def __init__(self, records, order):
        samples = [r for r in records if r["kind"] == "sample" and not r["dropped"]]
        self.cells = {(r["round"], tuple(r["case"]), r["server"]): r for r in samples}
        self.rounds = sorted({r["round"] for r in records if r["kind"] == "sample"})
        self.cases = list(dict.fromkeys(
            tuple(r["case"]) for r in records if r["kind"] == "sample"))
        found = dict.fromkeys(r["server"] for r in records if r["kind"] == "sample")
        self.servers = [name for name in [*order, *(found.keys() - set(order))] if name in found]
        self.syscalls = {(tuple(r["case"]), r["server"]): r
                         for r in records if r["kind"] == "syscalls"}
        self.lost = sum(r.get("lost", 0) for r in samples)
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
    return "{:.2f} ({:.2f}-{:.2f})".format(*report.median_with_interval(ratios))


def syscalls_text(record):
    if record is None:
        return "-"
    return ("~" if record["traced"] else "") + f"{record['per_message']:.2f}"


def case_rows(table, bases):
    yield ("| connections x size x depth | server | CPU us/msg"
           f" | relative to {bases.cpu} | msgs/s | relative to {bases.rate}"
           f" | p50 us | p99 us | relative to {bases.tail} | syscalls/msg | n |")
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for case, server in itertools.product(table.cases, table.servers):
        p50 = table.values(case, server, lambda cell: cell["latency_us"]["p50"])
        cells = [
            case_text(case),
            server,
            number(median(table.values(case, server, read_cpu))),
            spread(table.ratios(case, server, bases.cpu, read_cpu)),
            number(median(table.values(case, server, read_rate)), 0),
            spread(table.ratios(case, server, bases.rate, read_rate)),
            number(median(p50), 0),
            number(median(table.values(case, server, read_p99)), 0),
            number(median(table.ratios(case, server, bases.tail, read_p99))),
            syscalls_text(table.syscalls.get((case, server))),
            str(len(p50)),
        ]
        yield "| " + " | ".join(cells) + " |"


def mean_rows(table, bases):
    most = max(case[0] for case in table.cases)
    crowded = [case for case in table.cases if case[0] == most]
    yield (f"| server | CPU relative to {bases.cpu} | its worst case | msgs/s relative to"
           f" {bases.rate} | p99 relative to {bases.tail} with {most} conns | user us/msg |")
    yield "|---|---|---|---|---|---|"
    for server in table.servers:
        cpu, _, worst = table.mean_ratio(table.cases, server, bases.cpu, read_cpu)
        rate = table.mean_ratio(table.cases, server, bases.rate, read_rate)[0]
        tail = table.mean_ratio(crowded, server, bases.tail, read_p99)[0]
        user = [table.values(case, server, lambda cell: cell["user_us"]) for case in table.cases]
        user = statistics.mean(itertools.chain(*user)) if any(user) else None
        yield (f"| {server} | {number(cpu, 3)} | {number(worst)} | {number(rate, 3)} |"
               f" {number(tail)} | {number(user)} |")


def summary(machine, records, title, bases, order):
    table = Table(records, order)
    if not table.cells:
        raise measure.BenchError("every sample was disturbed; see --foreign")
    return "\n".join([
        f"# {title}",
        "",
        report.machine_text(machine),
        "Geometric means of the cases below:",
        "",
        *mean_rows(table, bases),
        "",
        "Medians over n rounds; a ratio is taken within a round, then the median of these (and"
        " where that lies with 95 %; of few rounds: smallest-largest).",
        "System calls with ~ were counted by strace, which slows the server down and thereby"
        " enlarges its batches.",
        *([f"Samples left out because others used the machine: {table.dropped}."]
          if table.dropped else []),
        *([f"Datagrams lost: {table.lost:,}."] if table.lost else []),
        "",
        *case_rows(table, bases),
        "",
    ])


def number_list(text):
    return [int(word) for word in text.split(",")]


def add_options(parser, connections, sizes, depths):
    """Which cases, and the summary alone."""
    parser.add_argument("--connections", type=number_list, default=connections)
    parser.add_argument("--size", type=number_list, default=sizes, help="bytes")
    parser.add_argument("--depth", type=number_list, default=depths, help="messages in flight")
    parser.add_argument("--no-syscalls", action="store_true",
                        help="do not count system calls (for the smallest size only)")
    parser.add_argument("--client-polls", action="store_true",
                        help="let the load generator poll for answers, not sleep (in slices)")
    parser.add_argument("--samples", action="store_true",
                        help="a run of the load generator for each server in each of --rounds")
    parser.add_argument("--summarize", metavar="FILE", help="of an earlier run; measure nothing")


def run(config, what, title, bases, fits=lambda case: True):
    """The whole benchmark: what it is called in file names, and in the heading. A case that does
    not fit is left out."""
    if config.summarize:
        machine, records = report.read_results(config.summarize)
        print(summary(machine, records, title, bases, list(config.table)))
        return

    measure.check_config(config)
    cases = [case for case in itertools.product(config.connections, config.size, config.depth)
             if fits(case)]
    servers = {}
    try:
        for name in config.servers:
            servers[name] = measure.Server(name, config)
        results = report.Results(config, what)
        for case in () if config.samples else cases:
            measure_slices(case, servers, config, results)
        for round_index in range(config.rounds if config.samples else 0):
            measure_round(round_index, cases, servers, config, results)
    finally:
        for server in servers.values():
            server.stop()
    if not config.no_syscalls:
        smallest = [case for case in cases if case[1] == min(config.size)]
        measure_syscalls(smallest, config, results)
    results.finish(summary(results.machine, results.records, title, bases, list(config.table)))
