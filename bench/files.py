#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""files.py - reading a file: reads per second of 4 KiB at random places, from the page cache and
past it (O_DIRECT), and the whole file from begin to end; what each costs.

Every program runs alone on one CPU, its threads too, and reads a file that was made for this in a
temporary directory. All but fio and dd verify what they read.
"""
import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import measure
import programs
import report
from programs import Program
from report import median, number

BASE = "ring"
STAMP_EVERY = 4096  # bytes; each such block of the file begins with its own offset
CHUNK = 1 << 20

OPTIONS = ["--seconds", "{seconds}", "--block", "{block}", "--depth", "{depth}", "--direct",
           "{direct}", "--sequential", "{sequential}"]
FIO = Program(
    "fio", "--name=read", "--filename={file}", "--readonly", "--rw=randread", "--bs={block}",
    "--ioengine=io_uring", "--iodepth={depth}", "--iodepth_batch_submit={depth}",
    "--iodepth_batch_complete_min=1", "--iodepth_batch_complete_max={depth}", "--direct={direct}",
    "--time_based", "--runtime={milliseconds}ms", "--invalidate=0", "--gtod_reduce=1", "--thread",
    "--norandommap", "--randrepeat=0", "--output-format=json")

# {word}: see arguments_of(). A program that prints no JSON is judged from outside.
PROGRAMS = {
    "torc": Program("bench/file_torc", "{file}", *OPTIONS),
    "torc-epoll": Program("bench/file_torc", "{file}", *OPTIONS, env={"TORC_DRIVER": "epoll"},
                          lacks=programs.lacks_driver("epoll")),
    "ring": Program("bench/file_raw_ring", "{file}", *OPTIONS),
    "libuv": Program("bench/file_libuv", "{file}", *OPTIONS),
    "libuv-32": Program("bench/file_libuv", "{file}", *OPTIONS, env={"UV_THREADPOOL_SIZE": "32"}),
    "fio": FIO,
    "dd": Program("dd", "if={file}", "of=/dev/null", "bs={block}", "status=none"),
}

# Name: block size, reads under way, O_DIRECT, sequential, who takes part.
CASES = {
    "cached": (4096, 32, 0, 0, ["torc", "torc-epoll", "ring", "libuv", "libuv-32", "fio"]),
    "direct": (4096, 32, 1, 0, ["torc", "torc-epoll", "ring", "libuv", "libuv-32", "fio"]),
    "sequential": (CHUNK, 1, 0, 1, ["torc", "torc-epoll", "ring", "libuv", "dd"]),
    "sequential-deep": (CHUNK, 8, 0, 1, ["torc", "torc-epoll", "ring", "libuv", "dd"]),
}
TITLES = {
    "cached": "Random reads of 4 KiB from the page cache, 32 at a time",
    "direct": "Random reads of 4 KiB with O_DIRECT, 32 at a time",
    "sequential": "The whole file from the page cache, 1 MiB at a time",
    "sequential-deep": "The whole file from the page cache, 8 blocks of 1 MiB at a time (dd: one)",
}


def write_file(path, size):
    chunk = bytearray(os.urandom(STAMP_EVERY) * (CHUNK // STAMP_EVERY))
    with open(path, "wb") as file:
        for begin in range(0, size, CHUNK):
            for at in range(0, CHUNK, STAMP_EVERY):
                struct.pack_into("=Q", chunk, at, begin + at)
            file.write(chunk)
        os.fsync(file.fileno())


def read_file(path):
    """So that all of it is in the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(CHUNK):
            pass


def takes_direct(path):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def arguments_of(case, path, seconds):
    block, depth, direct, sequential, _ = CASES[case]
    return {"file": path, "seconds": seconds, "milliseconds": round(seconds * 1000),
            "block": block, "depth": depth, "direct": direct, "sequential": sequential}


def parse_output(text, spent, operations):
    """(reads, seconds, CPU seconds) by what the program says, else by what was seen of it."""
    if not text.strip():
        return operations, spent["seconds"], spent["cpu"]
    result = json.loads(text[text.index("{"):])
    if "jobs" not in result:
        return result["operations"], result["seconds"], result["cpu_seconds"]
    job = result["jobs"][0]
    seconds = job["read"]["runtime"] / 1e3
    return job["read"]["total_ios"], seconds, (job["usr_cpu"] + job["sys_cpu"]) / 100 * seconds


def run_once(name, case, path, config):
    """One run of a program, and what others used of the machine meanwhile."""
    program = config.table[name]
    argv = program.command(config.build, **arguments_of(case, path, config.seconds))
    begin, before, own = time.monotonic(), measure.machine_ticks(), time.process_time()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, env=program.environment(),
            preexec_fn=measure.child_on(config.server_cpu))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, after = time.monotonic() - begin, measure.machine_ticks()
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise measure.BenchError(f"{name} failed ({process.returncode}): {text}")
    cpu = usage.ru_utime + usage.ru_stime
    busy, steal = after[0] - before[0], after[1] - before[1]
    others = max(steal, busy + steal - cpu - (time.process_time() - own))
    operations, measured, used = parse_output(
        text, {"seconds": seconds, "cpu": cpu}, os.path.getsize(path) // CASES[case][0])
    return {
        "operations": operations,
        "seconds": measured,
        "rate": operations / measured,
        "bytes_per_second": operations / measured * CASES[case][0],
        "cpu_us": used / operations * 1e6,
        "foreign": max(0.0, others / seconds),
    }


def undisturbed(name, case, path, config):
    for attempt in range(1, measure.TRIES + 1):
        record = run_once(name, case, path, config)
        record["tries"] = attempt
        record["dropped"] = record["foreign"] > config.foreign
        if not record["dropped"]:
            break
    return record


def table(records, case, names):
    cells = {(r["round"], r["server"]): r for r in records
             if r["case"] == case and not r["dropped"]}
    rounds = sorted({key[0] for key in cells})

    def ratios(name, field):
        pairs = ((cells.get((r, name)), cells.get((r, BASE))) for r in rounds)
        return median([mine[field] / other[field] for mine, other in pairs if mine and other])

    sequential = CASES[case][3]
    yield (f"| program | {'GiB/s' if sequential else 'reads/s'} | relative to {BASE} |"
           f" CPU us/read | relative to {BASE} | {'GiB' if sequential else 'reads'} per CPU second"
           " | n |")
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        mine = [cell for (_, server), cell in cells.items() if server == name]
        rate, cpu = (median([cell[key] for cell in mine]) for key in ("rate", "cpu_us"))
        scale = CASES[case][0] / 2**30 if sequential else 1
        digits = 2 if sequential else 0
        row = [name, number(rate and rate * scale, digits), number(ratios(name, "rate")),
               number(cpu), number(ratios(name, "cpu_us")),
               number(cpu and 1e6 / cpu * scale, digits), str(len(mine))]
        yield "| " + " | ".join(row) + " |"


def summary(machine, records, config):
    lines = ["# Reading a file", "", report.machine_text(machine),
             f"A file of {config.file_mib:,} MiB, one CPU for each program;"
             f" {machine['fio'] or 'no fio'}. Medians of {config.rounds} rounds, ratios taken"
             " within a round; samples left out because others used the machine:"
             f" {sum(r['dropped'] for r in records)}.", ""]
    for case in config.cases:
        names = [name for name in config.servers
                 if any(r["case"] == case and r["server"] == name for r in records)]
        if names:
            lines += [f"## {TITLES[case]}", "", *table(records, case, names), ""]
    return "\n".join(lines)


def measure_all(path, config, results):
    for round_index in range(config.rounds):
        for case in config.cases:
            if CASES[case][2] and not takes_direct(path):
                print(f"{case}: no O_DIRECT in {os.path.dirname(path)}; left out", file=sys.stderr)
                continue
            if not CASES[case][2]:
                read_file(path)
            added = list(config.added or {})
            names = [name for name in config.servers if name in CASES[case][4] + added]
            for name in measure.rotated(names, round_index):
                results.add({"round": round_index, "case": case, "server": name,
                             **undisturbed(name, case, path, config)})
            print(f"round {round_index + 1}/{config.rounds}: {case}", file=sys.stderr)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES),
                        help="of " + ", ".join(CASES))
    parser.add_argument("--file-mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="where to make it")
    programs.add_options(parser, PROGRAMS, [name for name in PROGRAMS if name != "torc-epoll"])
    measure.add_sample_options(parser, 5, 1)
    config = parser.parse_args()
    for case in config.cases:
        if case not in CASES:
            parser.error(f"there is no case {case}, but {', '.join(CASES)}")
    return config


def main():
    config = parse_options()
    measure.check_config(config)
    size = config.file_mib * CHUNK
    if shutil.disk_usage(config.directory).free < 2 * size:
        raise measure.BenchError(f"too little room in {config.directory}; see --file-mib")
    results = report.Results(config, "files")
    with tempfile.TemporaryDirectory(prefix="torc-files-", dir=config.directory) as folder:
        path = os.path.join(folder, "file")
        write_file(path, size)
        measure_all(path, config, results)
    results.finish(summary(results.machine, results.records, config))


measure.run(main)
