#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""idle.py - what connections cost that say nothing: memory of each, CPU and wake-ups of all.

Every connection is echoed one message first, so its buffer and its stack have been used once.
"""
import argparse
import os
import socket
import sys
import time

import measure
import report
from report import median, number

MESSAGE = bytes(range(64))
SETTLE_S = 1.0
SPARE_FILES = 64


def memory_bytes(pid):
    """(resident memory, page tables) of a process."""
    resident = measure.status_fields(f"/proc/{pid}/smaps_rollup", {"Rss"})
    tables = measure.status_fields(f"/proc/{pid}/status", {"VmPTE"})
    return resident * 1024, tables * 1024


def open_connection(address):
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    echo_once(connection)
    return connection


def echo_once(connection):
    connection.sendall(MESSAGE)
    answer = b""
    while len(answer) < len(MESSAGE):
        part = connection.recv(len(MESSAGE))
        if not part:
            raise measure.BenchError("the server closed a connection")
        answer += part
    if answer != MESSAGE:
        raise measure.BenchError("the answer is not what was sent")


def spent_while_idle(pid, seconds):
    """CPU time and context switches of a process nobody talks to."""
    cpu, switches = measure.cpu_ns(pid), measure.voluntary_switches(pid)
    time.sleep(seconds)
    return {
        "idle_cpu_us": (measure.cpu_ns(pid) - cpu) / 1e3,
        "idle_wakeups": measure.voluntary_switches(pid) - switches,
        "idle_seconds": seconds,
    }


def measure_server(name, config):
    server = measure.Server(name, config)
    connections = []
    try:
        open_connection(server.address).close()  # first use of code and of the heap
        time.sleep(SETTLE_S)
        before = memory_bytes(server.pid)
        for _ in range(config.connections):
            connections.append(open_connection(server.address))
        time.sleep(SETTLE_S)
        after = memory_bytes(server.pid)
        idle = spent_while_idle(server.pid, config.seconds)
        echo_once(connections[0])  # it is idle, not dead
    finally:
        for connection in connections:
            connection.close()
        server.stop()
    return {
        "connections": config.connections,
        "resident": (after[0] - before[0]) / config.connections,
        "tables": (after[1] - before[1]) / config.connections,
        "resident_at_start": before[0],
        **idle,
    }


def summary(machine, records, servers):
    lines = [
        "# Idle connections",
        "",
        report.machine_text(machine),
        f"{records[0]['connections']:,} connections, each echoed {len(MESSAGE)} bytes once. Memory"
        " of the process, without what the kernel keeps per socket; CPU and voluntary context"
        f" switches over {records[0]['idle_seconds']:g} s without traffic. Medians.",
        "",
        "| server | resident bytes/connection | page tables/connection | together, KiB |"
        " resident at start, MiB | idle CPU us | idle wake-ups |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in servers:
        mine = [record for record in records if record["server"] == name]
        middle = {key: median([record[key] for record in mine])
                  for key in mine[0] if key not in ("server", "round")}
        cells = [
            name,
            number(middle["resident"], 0),
            number(middle["tables"], 0),
            number((middle["resident"] + middle["tables"]) / 1024),
            number(middle["resident_at_start"] / 2**20, 1),
            number(middle["idle_cpu_us"], 0),
            number(middle["idle_wakeups"], 0),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=0,
                        help="0: as many as allowed, at most 20,000")
    measure.add_options(parser, 1, 3,
                        ["torc", "torc-stream", "ring", "multishot", "epoll", "libuv"])
    config = parser.parse_args()
    measure.check_config(config)
    allowed = min(20000, measure.raise_file_limit() - SPARE_FILES)  # the server's, and ours
    config.connections = min(config.connections or allowed, allowed)
    os.sched_setaffinity(0, {config.client_cpu})

    results = report.Results(config, "idle")
    for round_index in range(config.rounds):
        for name in measure.rotated(config.servers, round_index):
            results.add({"round": round_index, "server": name, **measure_server(name, config)})
            print(f"round {round_index + 1}/{config.rounds}: {name}", file=sys.stderr)
    results.finish(summary(results.machine, results.records, config.servers))


measure.run(main)
