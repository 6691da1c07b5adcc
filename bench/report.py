# SPDX-License-Identifier: MIT
"""report.py - what the benchmarks write: the machine, raw records, the summary beside them."""
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def output_of(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=HERE)
    except OSError:
        return ""
    return done.stdout.strip()


def first_line(path, pattern=None):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    lines = [line for line in lines if pattern is None or pattern in line]
    return lines[0].strip() if lines else ""


def command_line():
    """As typed in the project's directory, whatever directory it was typed in."""
    project = os.path.dirname(HERE)
    return " ".join(os.path.relpath(word, project) if os.path.isabs(word) else word
                    for word in [os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def describe_machine(build):
    compiler = first_line(os.path.join(build, "CMakeCache.txt"), "CMAKE_C_COMPILER:")
    compiler = compiler.partition("=")[2] or "cc"
    return {
        "cpu": first_line("/proc/cpuinfo", "model name").partition(":")[2].strip(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "mitigations": "mitigations=off" not in first_line("/proc/cmdline"),
        "virtual": "hypervisor" in first_line("/proc/cpuinfo", "flags"),
        "congestion_control": first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
        "compiler": output_of(compiler, "--version").partition("\n")[0],
        "build_type": first_line(os.path.join(build, "CMakeCache.txt"),
                                 "CMAKE_BUILD_TYPE:").partition("=")[2],
        "liburing": output_of("pkg-config", "--modversion", "liburing"),
        "libuv": output_of("pkg-config", "--modversion", "libuv"),
        "fio": output_of("fio", "--version"),
        "revision": output_of("git", "describe", "--always", "--dirty"),
        "command": command_line(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def machine_text(machine):
    return (
        f"{machine['cpus']} x {machine['cpu']}{', virtual machine' if machine['virtual'] else ''}, "
        f"{machine['memory_gib']} GiB; Linux {machine['kernel']}, mitigations "
        f"{'on' if machine['mitigations'] else 'off'}, TCP {machine['congestion_control']}; "
        f"{machine['compiler']} ({machine['build_type'] or 'no build type'}), "
        f"liburing {machine['liburing']}, libuv {machine['libuv']}; "
        f"torc {machine['revision'] or 'without revision'}; {machine['time']}.\n\n"
        f"    {machine['command']}\n"
    )


class Results:
    """The raw records of a run, one JSON object a line, and the summary beside them."""

    def __init__(self, config, what):
        os.makedirs(config.results, exist_ok=True)
        stem = os.path.join(config.results, f"{time.strftime('%Y-%m-%d')}-{config.name or what}")
        self.stem = stem
        for again in itertools.count(2):
            if not os.path.exists(self.stem + ".jsonl"):
                break
            self.stem = f"{stem}-{again}"
        self.records = []
        self.machine = describe_machine(config.build)
        self.file = open(self.stem + ".jsonl", "w", encoding="utf-8")
        self._write({"machine": self.machine})

    def _write(self, record):
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def add(self, record):
        self.records.append(record)
        self._write(record)

    def finish(self, text):
        self.file.close()
        with open(self.stem + ".md", "w", encoding="utf-8") as file:
            file.write(text)
        print(text)
        print(f"{os.path.relpath(self.stem)}.jsonl, .md", file=sys.stderr)


def read_results(path):
    """(machine, records) of a file that Results wrote."""
    with open(path, encoding="utf-8") as file:
        first, *rest = [json.loads(line) for line in file]
    return first["machine"], rest


def median(values):
    return statistics.median(values) if values else None


def median_with_interval(values):
    """(median, lower, upper): between these it lies with 95 %."""
    values = sorted(values)
    count = len(values)
    beyond = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return statistics.median(values), values[beyond], values[count - 1 - beyond]


def number(value, digits=2):
    return "-" if value is None else f"{value:,.{digits}f}"
