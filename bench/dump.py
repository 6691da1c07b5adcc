#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""dump.py - what does it take to look at every fiber of a program, and what does that cost it?

The program is that of the tests (build tests/tool/tool_dumped): fibers that wait alike, and fibers
that wake every millisecond, so that most have run between the two looks.
"""
import argparse
import json
import os
import subprocess
import time

import measure
import report
from report import median, number

CASES = (("many", "all wait"), ("busy", "each wakes every ms"))


def start(config, case, fibers):
    program = os.path.join(config.build, "tests", "tool", "tool_dumped")
    if not os.access(program, os.X_OK):
        raise measure.BenchError(f"{program} is not built (target tool_dumped)")
    server = subprocess.Popen([program, case, str(fibers)], stdout=subprocess.PIPE, text=True,
                              preexec_fn=measure.child_on(config.server_cpu))
    if server.stdout.readline() != "ready\n":
        server.kill()
        raise measure.BenchError(f"{program} did not start")
    return server


def look(config, pid, *options):
    """Seconds that a dump took; and what it printed."""
    begin = time.monotonic()
    done = subprocess.run([os.path.join(config.build, "torc"), "dump", *options, str(pid)],
                          stdout=subprocess.PIPE, check=True, text=True,
                          preexec_fn=measure.child_on(config.client_cpu))
    return time.monotonic() - begin, done.stdout


def sample(config, case, fibers):
    server = start(config, case, fibers)
    try:
        look(config, server.pid)  # The files are in the cache from here on.
        grouped, _ = look(config, server.pid)
        every, _ = look(config, server.pid, "--all")
        as_json, text = look(config, server.pid, "--json")
    finally:
        server.kill()
        server.communicate()
    found = json.loads(text)
    if len(found["fibers"]) <= fibers:
        raise measure.BenchError(f"only {len(found['fibers'])} fibers were shown")
    return {"grouped_ms": grouped * 1e3, "all_ms": every * 1e3, "json_ms": as_json * 1e3,
            "pause_us": max(shard["pause_ns"] for shard in found["shards"]) / 1e3,
            "stacks": len(found["stacks"])}


def summary(machine, records, config):
    lines = [
        "# Looking at every fiber",
        "",
        report.machine_text(machine),
        f"One shard. `torc dump` from its start to its end, and for how long the shard stood"
        f" still. Medians of {config.rounds} rounds.",
        "",
        "| fibers | what they do | grouped, ms | --all, ms | --json, ms | shard stopped, ms |",
        "|---|---|---|---|---|---|",
    ]
    for case, what in CASES:
        for fibers in config.fibers:
            mine = [r for r in records if (r["case"], r["fibers"]) == (case, fibers)]
            cells = [number(median([r[key] for r in mine]), 1)
                     for key in ("grouped_ms", "all_ms", "json_ms")]
            pause = number(median([r["pause_us"] for r in mine]) / 1e3)
            lines.append("| " + " | ".join([f"{fibers:,}", what, *cells, pause]) + " |")
    return "\n".join([*lines, ""])


def counts(text):
    return [int(count) for count in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(measure.HERE, "..", "build", "release"))
    parser.add_argument("--fibers", type=counts, default=[1000, 10000, 100000])
    measure.add_sample_options(parser, 5, 1)
    config = parser.parse_args()

    results = report.Results(config, "dump")
    for round_index in range(config.rounds):
        for case, _ in CASES:
            for fibers in config.fibers:
                record = sample(config, case, fibers)
                results.add({"round": round_index, "case": case, "fibers": fibers, **record})
    results.finish(summary(results.machine, results.records, config))


measure.run(main)
