#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""micro.py - what single things cost, seen over some minutes.

A machine that is shared with others runs for seconds at two thirds of its speed, whatever it runs
itself. So micro is run again and again: the best of all is what the thing costs on a machine of
one's own, the median what it costs here.
"""
import argparse
import json
import os
import subprocess
import sys

import measure
import report
from report import median, number


def micro(config):
    """What micro tells, a record for each figure."""
    program = os.path.join(config.build, "bench", "micro")
    if not os.access(program, os.X_OK):
        raise measure.BenchError(f"{program} is not built")
    done = subprocess.run([program, "--json", *config.measurements], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False,
                          preexec_fn=measure.child_on(config.server_cpu))
    if done.returncode != 0:
        raise measure.BenchError(f"micro failed with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def verdict(best, target):
    if target is None:
        return ""
    return "met" if best <= target else "**missed**"


def summary(machine, records):
    lines = [
        "# Single things",
        "",
        report.machine_text(machine),
        "Best and median of all runs; of a run, what micro calls best (the 10th percentile of the"
        " best of its repetitions).",
        "",
        "| what | best | median | target | |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(record["name"] for record in records):
        mine = [record for record in records if record["name"] == name]
        values = [record.get("best_p10", record.get("value")) for record in mine]
        target = mine[0].get("target")
        lines.append(f"| {name} | {number(min(values))} | {number(median(values))} |"
                     f" {number(target)} {mine[0]['unit']} | {verdict(min(values), target)} |")
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", default=os.path.join(measure.HERE, "..", "build", "release"))
    parser.add_argument("measurements", nargs="*", help="of micro --list; all, if none is named")
    measure.add_sample_options(parser, 10, 1)
    config = parser.parse_args()

    results = report.Results(config, "micro")
    for round_index in range(config.rounds):
        for record in micro(config):
            results.add({"round": round_index, **record})
        print(f"round {round_index + 1}/{config.rounds}", file=sys.stderr)
    results.finish(summary(results.machine, results.records))


measure.run(main)
