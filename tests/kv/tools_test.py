#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools_test.py - redis-cli and redis-benchmark work with kv as they do with Redis."""
import subprocess
import unittest

import kv

kv.need("redis-cli", "redis-benchmark")

TESTS = "ping_inline,ping_mbulk,set,get,incr,mset"


def run(program, server, *arguments, text=None):
    """Run a program of Redis to its end; what it printed."""
    argv = [program, "-h", server.address[0], "-p", str(server.address[1]), *map(str, arguments)]
    result = subprocess.run(argv, input=text, stdin=None if text else subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=kv.LIMIT, check=False)
    return result.returncode, result.stdout, result.stderr


class Tools(unittest.TestCase):
    def test_redis_cli_runs_commands(self):
        for protocol in ([], ["-3"]):
            with kv.Kv("--shards", 2) as server:
                for words, answer in ((("set", "k", "v"), "OK"), (("get", "k"), '"v"'),
                                      (("incr", "n"), "(integer) 1"), (("get", "x"), "(nil)"),
                                      (("mget", "k", "x"), '1) "v"\n2) (nil)'),
                                      (("incr", "k"), "(error) ERR value is not an integer or out"
                                                      " of range")):
                    status, out, err = run("redis-cli", server, "--no-raw", *protocol, *words)
                    self.assertEqual((out.strip(), err), (answer, ""))
                    self.assertEqual(status, 0)

    def test_redis_cli_takes_commands_and_bulk_data_from_its_input(self):
        with kv.Kv("--shards", 2) as server:
            status, out, _ = run("redis-cli", server, text='set k "a b"\nget k\nexists k\n')
            self.assertEqual((status, out), (0, "OK\na b\n1\n"))
            data = "".join(f"SET k{i} {i}\r\n" for i in range(2000))
            status, out, err = run("redis-cli", server, "--pipe", text=data)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("errors: 0, replies: 2000", out)
            self.assertIn("db0:keys=2001,", run("redis-cli", server, "info")[1])

    def test_redis_benchmark_finds_no_error(self):
        count = 300 if kv.SLOW else 3000
        for shards in (1, 2):
            for pipeline in (1, 16):
                with kv.Kv("--shards", shards) as server:
                    status, out, err = run("redis-benchmark", server, "-c", 50, "-n", count, "-P",
                                           pipeline, "-r", 1000, "-t", TESTS, "--csv")
                    self.assertEqual((status, err), (0, ""), out)
                    lines = out.strip().splitlines()[1:]
                    self.assertEqual(len(lines), len(TESTS.split(",")), out)
                    for line in lines:
                        rate = float(line.split(",")[1].strip('"'))
                        self.assertGreater(rate, 0, line)
                    self.assertRegex(run("redis-cli", server, "info")[1], "db0:keys=[1-9]")

    def test_redis_benchmark_with_large_values_over_several_threads(self):
        with kv.Kv("--shards", 2) as server:
            status, out, err = run("redis-benchmark", server, "-c", 8, "-n", 200, "-d", 100000,
                                   "--threads", 2, "-t", "set,get", "--csv")
            self.assertEqual((status, err), (0, ""), out)
            status, out, _ = run("redis-cli", server, "get", "key:__rand_int__")
            self.assertEqual((status, len(out)), (0, 100001))


if __name__ == "__main__":
    kv.main()
