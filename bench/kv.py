#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kv.py - requests per second of the key-value server of the examples, beside redis-server.

They serve on one CPU, and redis-benchmark asks on another. In every round each case is measured on
all in turn, in rotated order; what is compared is the ratio within a round. A server that does
nothing shows how much of that the client and the kernel allow.
"""
import argparse
import csv
import io
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile

import measure
import report
from measure import BenchError
from report import median, number

REDIS = ("redis-server", "redis-check-rdb")  # Debian's redis-tools has it by the second name only.
WARM_UP = 0.1  # part of a sample's time, by which the number of requests is chosen
LEAST = 2000   # requests


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def redis_program():
    return next(filter(None, map(shutil.which, REDIS)), None)


def commands(config):
    """Name, program and arguments of what can be measured here; PORT is put in."""
    kv = os.path.join(config.build, "examples", "kv", "kv")
    known = {
        "kv": (kv, ["kv", "--listen", "127.0.0.1:PORT", "--shards", str(config.shards)]),
        "redis": (redis_program(), ["redis-server", "--bind", "127.0.0.1", "--port", "PORT",
                                    "--save", "", "--appendonly", "no"]),
        "null": (os.path.join(config.build, "bench", "resp_null"), ["resp_null", "PORT"]),
    }
    for name in config.servers.split(","):
        if name not in known:
            raise BenchError(f"there is no {name}, but {', '.join(known)}")
        program, argv = known[name]
        if not program or not os.access(program, os.X_OK):
            print(f"{name}: not here; left out", file=sys.stderr)
        else:
            yield name, program, argv


class Server:
    """A running server, pinned to its CPU unless it has several shards."""

    def __init__(self, program, argv, config):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="torc-kv-")
        argv = [word.replace("PORT", str(self.port)) for word in argv]
        prepare = measure.child_on(config.server_cpu) if config.shards == 1 else None
        self.process = subprocess.Popen(argv, executable=program, cwd=self.folder.name,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=prepare)
        self.pid = self.process.pid
        if not measure.wait_until(self.answers, 10, 0.01):
            self.stop()
            raise BenchError(f"{argv[0]} does not answer")

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return connection.recv(7) in (b"+PONG\r\n", b"+OK\r\n")
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def ask(server, case, count, config):
    """Run redis-benchmark once: its row of numbers, the server's CPU time, what others used."""
    test, depth = case
    argv = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-t", test, "-P",
            str(depth), "-c", str(config.connections), "-d", str(config.size), "-n", str(count),
            "-r", str(config.keys), "--csv"]
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              preexec_fn=measure.child_on(config.client_cpu))
    try:
        window = measure.Window(server, client)
        os.waitid(os.P_PID, client.pid, os.WEXITED | os.WNOWAIT)
        spent = window.close()
        out, err = client.communicate(timeout=60)
    finally:
        if client.poll() is None:
            client.kill()
            client.communicate()
    rows = list(csv.DictReader(io.StringIO(out)))
    if client.returncode != 0 or len(rows) != 1:
        raise BenchError(f"redis-benchmark failed ({client.returncode}): {err or out}")
    return rows[0], spent


def sample(server, case, config):
    row, _ = ask(server, case, LEAST, config)
    rate = float(row["rps"])
    row, _ = ask(server, case, max(LEAST, int(rate * WARM_UP * config.seconds)), config)
    count = max(LEAST, int(float(row["rps"]) * config.seconds))
    row, spent = ask(server, case, count, config)
    return {"rate": float(row["rps"]), "p50_us": float(row["p50_latency_ms"]) * 1000,
            "p99_us": float(row["p99_latency_ms"]) * 1000, "requests": count,
            "cpu_us": spent["server"] / count * 1e6, "foreign": spent["foreign"]}


def undisturbed_sample(server, case, config):
    for attempt in range(1, measure.TRIES + 1):
        record = sample(server, case, config)
        record.update(tries=attempt, dropped=record["foreign"] > config.foreign)
        if not record["dropped"]:
            break
    return record


def rows(records):
    samples = [r for r in records if r["kind"] == "sample" and not r["dropped"]]
    cells = {(r["round"], tuple(r["case"]), r["server"]): r for r in samples}
    rounds = sorted({r["round"] for r in samples})
    cases = list(dict.fromkeys(tuple(r["case"]) for r in samples))
    servers = list(dict.fromkeys(r["server"] for r in samples))
    yield ("| command | in flight | server | requests/s | relative to redis | CPU us/request |"
           " p50 us | p99 us | n |")
    yield "|---|---|---|---|---|---|---|---|---|"
    for case, server in itertools.product(cases, servers):
        mine = [cells[key] for key in ((r, case, server) for r in rounds) if key in cells]
        ratios = [cells[r, case, server]["rate"] / cells[r, case, "redis"]["rate"] for r in rounds
                  if (r, case, server) in cells and (r, case, "redis") in cells]
        spread = "{:.2f} ({:.2f}-{:.2f})".format(
            *report.median_with_interval(ratios)) if ratios else "-"
        middle = {field: median([r[field] for r in mine])
                  for field in ("rate", "cpu_us", "p50_us", "p99_us")}
        yield (f"| {case[0]} | {case[1]} | {server} | {number(middle['rate'], 0)} | {spread} |"
               f" {number(middle['cpu_us'])} | {number(middle['p50_us'], 0)} |"
               f" {number(middle['p99_us'], 0)} | {len(mine)} |")


def summary(machine, records):
    samples = [r for r in records if r["kind"] == "sample"]
    if not any(not r["dropped"] for r in samples):
        raise BenchError("every sample was disturbed; see --foreign")
    return "\n".join([
        "# A key-value server on torc, and Redis", "", report.machine_text(machine),
        "Medians over the rounds; a ratio is taken within a round, then the median of these"
        " (and where that lies with 95 %).",
        f"Samples left out because others used the machine: {sum(r['dropped'] for r in samples)}.",
        "", *rows(records), ""])


def options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", default=os.path.join(
        os.path.dirname(measure.HERE), "build", "release"))
    parser.add_argument("--servers", default="kv,redis,null",
                        help="of kv, redis, and null, which answers OK to whatever comes")
    parser.add_argument("--tests", default="set,get", help="of redis-benchmark")
    parser.add_argument("--depth", default="1,16", help="requests in flight of a connection")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--size", type=int, default=3, help="bytes of a value")
    parser.add_argument("--keys", type=int, default=100000)
    parser.add_argument("--shards", type=int, default=1, help="of kv; several are not pinned")
    measure.add_sample_options(parser, rounds=7, seconds=2.0)
    return parser.parse_args()


def main():
    config = options()
    config.build = os.path.abspath(config.build)
    if not shutil.which("redis-benchmark"):
        raise BenchError("there is no redis-benchmark (scripts/setup.sh bench)")
    cases = list(itertools.product(config.tests.split(","), map(int, config.depth.split(","))))
    servers = {}
    try:
        for name, program, argv in commands(config):
            servers[name] = Server(program, argv, config)
        if not servers:
            raise BenchError("nothing to measure")
        results = report.Results(config, "kv")
        for round_index in range(config.rounds):
            for index, case in enumerate(cases):
                for name in measure.rotated(list(servers), round_index + index):
                    record = undisturbed_sample(servers[name], case, config)
                    results.add({"kind": "sample", "round": round_index, "case": case,
                                 "server": name, **record})
            print(f"round {round_index + 1}/{config.rounds}", file=sys.stderr)
    finally:
        for server in servers.values():
            server.stop()
    results.finish(summary(results.machine, results.records))


measure.run(main)
