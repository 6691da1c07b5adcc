#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""observe.py - what it costs to be observable, to a fraction of a percent.

    bare     without counters, notes, probes, and places for them (bench/bare.py; left out if it
             was not built)
    off      with these, and without an observer
    on       the default: the observer looks for stalls
    watched  `torc top` looks once a second
    traced   `torc trace` records

All servers live at the same time and are loaded in turn, for some milliseconds each (slices.c):
what disturbs a machine lasts longer as a rule, and so disturbs all of them alike. It is hard on the
observer, which has gone to sleep by the time its shard is loaded again. What is compared are slices
of the same round: CPU per message and messages per second, as the median of the ratios, and the
interval in which that lies with 95 % (by the sign test, which supposes nothing of how the ratios
are distributed). Beside that stands what does not depend on the machine's mood: instructions of
user space per message, counted by valgrind, and the CPU time of the observer's own thread.
"""
import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import measure
import report
from programs import BenchError, Program, torc_echo

ECHO = ("echo", "--listen", "127.0.0.1:0", "--shards", "1", "--busy-poll", "off")
BARE = os.path.join(os.path.dirname(measure.HERE), "build", "bare", "torc")
SERVERS = {
    "bare": Program(BARE, *ECHO, env={"TORC_OBSERVER": "0"}),
    "off": torc_echo(env={"TORC_OBSERVER": "0"}),
    "on": torc_echo(),
    "watched": torc_echo(beside=["torc", "top", "{pid}", "--json"]),
    "traced": torc_echo(beside=["torc", "trace", "{pid}", "--seconds", "3600", "-o", "/dev/null"]),
}
COMPARED = (("off", "bare"), ("on", "off"), ("on", "bare"), ("watched", "on"), ("traced", "on"))
COUNTED = ("bare", "off", "on")
MESSAGES = (1000, 6000)
COUNTS = 3  # of which the least is told: now and then a message takes one more turn.
COLLECTED = re.compile(r"Collected : (\d+)")


# ---- Slices ----

def observer_thread(pid):
    """The thread that looks; 0 if there is none."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as file:
            if file.read() == "torc-observer\n":
                return int(thread)
    return 0


def measure_slices(names, connections, config, results):
    servers = {name: measure.Server(name, config) for name in names}
    try:
        argv = [os.path.join(config.build, "bench/slices"), str(connections), str(config.size), "1",
                str(round(config.seconds * len(names))), str(config.settle), str(config.slice)]
        argv += [f"{server.address},{server.pid},{observer_thread(server.pid)}"
                 for server in servers.values()]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False,
                              preexec_fn=measure.child_on(config.client_cpu))
    finally:
        for server in servers.values():
            server.stop()
    if done.returncode != 0:
        raise BenchError("the load generator failed")
    for line in done.stdout.splitlines():
        number, server, messages, time_ns, cpu_ns, thread_ns, *_ = map(int, line.split())
        results.add({"kind": "slice", "connections": connections, "round": number,
                     "server": names[server], "messages": messages, "ns": time_ns,
                     "cpu_ns": cpu_ns, "observer_ns": thread_ns})


# ---- Instructions ----

def connect(address):
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def exchange(address, messages):
    with connect(address) as connection:
        for _ in range(messages):
            connection.sendall(b"m" * 64)
            if len(connection.recv(64, socket.MSG_WAITALL)) != 64:
                raise BenchError("the server closed a connection")


def instructions_of(name, messages, config):
    """What a server executes that answers so many messages on one connection, in all its life."""
    program = config.table[name]
    # The observer is there, and looks when all is over: its own work depends on time.
    environment = {**program.environment(), "TORC_STALL_MS": "3600000"}
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
            *program.command(config.build)]
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=environment) as process:
        def text():
            output.seek(0)
            return output.read()
        try:
            if not measure.wait_until(lambda: measure.READY_LINE.search(text()), 60, 0.05):
                raise BenchError(f"{name} did not start under valgrind:\n{text()}")
            address = measure.READY_LINE.search(text()).group(1)
            exchange(address, messages)
            process.terminate()
            while process.poll() is None:  # It hears of signals only between calls.
                with contextlib.suppress(OSError):
                    connect(address).close()
                time.sleep(0.05)
        finally:
            process.kill()
        return int(COLLECTED.search(text()).group(1))


def count_instructions(names, config, results):
    for name in names:
        few, many = (min(instructions_of(name, messages, config) for _ in range(COUNTS))
                     for messages in MESSAGES)
        results.add({"kind": "instructions", "server": name,
                     "per_message": (many - few) / (MESSAGES[1] - MESSAGES[0])})


# ---- What comes of it ----

def ratios(records, connections, name, base, value):
    """Of the slices of two servers in the same round."""
    slices = {(record["round"], record["server"]): value(record) for record in records
              if record["kind"] == "slice" and record["connections"] == connections}
    rounds = {number for number, server in slices if server == name}
    return [slices[number, name] / slices[number, base] for number in rounds
            if (number, base) in slices]


def percent(interval):
    middle, low, high = (100 * (value - 1) for value in interval)
    return f"{middle:+.2f} % ({low:+.2f} to {high:+.2f})"


def comparison_lines(records, connections):
    yield "| | CPU per message | messages/s | rounds |\n|---|---|---|---|\n"
    for name, base in COMPARED:
        cpu = ratios(records, connections, name, base, lambda s: s["cpu_ns"] / s["messages"])
        rate = ratios(records, connections, name, base, lambda s: s["messages"] / s["ns"])
        if len(cpu) > 8:
            yield (f"| {name} / {base} | {percent(report.median_with_interval(cpu))} | "
                   f"{percent(report.median_with_interval(rate))} | {len(cpu)} |\n")


def absolute_lines(records, connections):
    slices = [record for record in records
              if record["kind"] == "slice" and record["connections"] == connections]
    yield "| | CPU per message, ns | messages/s | observer's thread, % of a CPU |\n"
    yield "|---|---|---|---|\n"
    for name in dict.fromkeys(record["server"] for record in slices):
        own = [record for record in slices if record["server"] == name]
        cpu = statistics.median(record["cpu_ns"] / record["messages"] for record in own)
        rate = statistics.median(record["messages"] / record["ns"] * 1e9 for record in own)
        observer = sum(record["observer_ns"] for record in own) / sum(r["ns"] for r in own)
        yield f"| {name} | {cpu:,.0f} | {rate:,.0f} | {100 * observer:.3f} |\n"


def summary(machine, records):
    yield "# What it costs to be observable\n\n" + report.machine_text(machine)
    for connections in dict.fromkeys(record["connections"] for record in records
                                     if record["kind"] == "slice"):
        yield f"\n## {connections} connection{'s' if connections > 1 else ''}\n\n"
        yield from comparison_lines(records, connections)
        yield "\nMedians of the ratios within a round, and where these lie with 95 %.\n\n"
        yield from absolute_lines(records, connections)
    counted = [record for record in records if record["kind"] == "instructions"]
    if counted:
        yield "\n## Instructions of user space per message, one connection\n\n| | |\n|---|---|\n"
    for record in counted:
        yield f"| {record['server']} | {record['per_message']:,.1f} |\n"


def read_runs(paths):
    """What several runs on one machine have recorded, as if it were one."""
    records, machine = [], None
    for path in paths:
        machine, more = report.read_results(path)
        first = 1 + max((record.get("round", 0) for record in records), default=-1)
        records += [{**record, "round": first + record["round"]} if "round" in record else record
                    for record in more]
    return machine, records


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    measure.add_options(parser, 0, 20, ["bare", "off", "on"], table=SERVERS)
    parser.add_argument("--connections", default="1,64")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--settle", type=int, default=4, help="ms before a slice is counted")
    parser.add_argument("--slice", type=int, default=12, help="ms")
    parser.add_argument("--no-instructions", action="store_true")
    parser.add_argument("--summarize", metavar="FILE", nargs="+",
                        help="only summarize what was measured before, in several runs perhaps")
    config = parser.parse_args()
    if config.summarize:
        print("".join(summary(*read_runs(config.summarize))), end="")
        return
    measure.check_config(config)
    results = report.Results(config, "observe")
    for connections in map(int, config.connections.split(",")):
        measure_slices(config.servers, connections, config, results)
    if shutil.which("valgrind") and not config.no_instructions:
        count_instructions([name for name in config.servers if name in COUNTED], config, results)
    results.finish("".join(summary(results.machine, results.records)))


measure.run(main)
