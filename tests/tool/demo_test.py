#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""demo_test.py - torc demo compares what is there, and never leaves a server behind."""
import os
import signal
import subprocess
import tempfile

import tool

FAKE_PEER = """#!/bin/sh
exec {torc} echo --listen 127.0.0.1:"$1"
"""


def peers(folder, names):
    """Servers that are called like the peers of torc."""
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "w", encoding="ascii") as script:
            script.write(FAKE_PEER.format(torc=tool.TORC))
        os.chmod(path, 0o755)


def children(pid):
    """The processes that this one has started and that still run."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Demo(tool.TestCase):
    def test_it_ends_in_a_table_of_all_that_are_there(self):
        with tempfile.TemporaryDirectory() as folder:
            peers(folder, ("echo_libuv", "echo_raw_epoll"))
            result = tool.torc("demo", "--seconds", "1", "--peers", folder, "--connections", 10)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result)
        self.assertRegex(result.stdout, r"messages/s +p50 +p99 +p99.9 +CPU/message\n")
        lines = result.stdout.splitlines()
        for name, count in (("torc", 2), ("libuv", 1), ("raw epoll", 1)):
            rows = [line for line in lines if line.startswith(f"    {name} ")]
            self.assertEqual(len(rows), count, result.stdout)
            for row in rows:
                self.assertRegex(row, r" +[\d,]+( +[\d.]+ [un]?m?s){3}")

    def test_a_peer_that_is_missing_is_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            peers(folder, ("echo_raw_epoll",))
            result = tool.torc("demo", "--seconds", "1", "--peers", folder, "--connections", 10)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result)
        self.assertIn("without libuv: cannot start echo_libuv: No such file", result.stdout)
        self.assertRegex(result.stdout, r"\n    raw epoll +[\d,]+")
        self.assertNotRegex(result.stdout, r"\n    libuv +[\d,]+")

    def test_its_servers_end_with_it_however_it_ends(self):
        def ignore():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        for number, preexec in ((signal.SIGINT, None), (signal.SIGTERM, None),
                                (signal.SIGKILL, None), (signal.SIGKILL, ignore)):
            with subprocess.Popen([tool.TORC, "demo", "--seconds", "600"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  preexec_fn=preexec) as demo:
                tool.wait_until(lambda pid=demo.pid: children(pid), "a server")
                servers = children(demo.pid)
                demo.send_signal(number)
                _, err = demo.communicate(timeout=tool.LIMIT)
            tool.wait_until(lambda pids=servers: not any(map(runs, pids)), "the servers to end")
            if number == signal.SIGKILL:
                self.assertEqual(demo.returncode, -number)
            else:
                self.assertEqual((demo.returncode, err), (1, "torc demo: interrupted\n"))


if __name__ == "__main__":
    tool.main()
