#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""top_test.py - torc top shows what a running program does, on a terminal and without one."""
import ctypes
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import seccomp_test
import tool

ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
NO_PROCESS = 2 ** 22 + 1  # More than the kernel gives out.


def talk(echo, times=20):
    with echo.connect() as connection:
        for _ in range(times):
            connection.sendall(b"hello")
            assert tool.receive(connection, 5) == b"hello"


class Terminal:
    """torc top on a terminal of its own."""

    def __init__(self, rows, columns, *arguments):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [tool.TORC, "top", *map(str, arguments)], stdin=slave, stdout=slave,
            stderr=subprocess.PIPE, env=dict(os.environ, TERM="xterm", NO_COLOR="1"),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave
        self.output = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, condition, what):
        """Read on until the text since the last call, as the program wrote it, is so."""
        deadline = time.monotonic() + tool.LIMIT
        text = ""
        while not condition(text):
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                text += os.read(self.master, 65536).decode(errors="replace")
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}: {text!r}")
        return text

    def screen(self):
        """One whole screen: what is between two moves to the upper left corner."""
        text = self.read_until(lambda text: text.count("\x1b[H") >= 2, "a screen")
        page = text.split("\x1b[H")[1]
        return ESCAPES.sub("", page).replace("\r", "").split("\n")

    def press(self, key):
        os.write(self.master, key)

    def end(self):
        """Wait for the end, reading all the while, since it may want to write."""
        self.read_until(lambda _: self.process.poll() is not None, "the end")
        return self.process.returncode


class Top(tool.TestCase):
    def test_once_shows_shards_and_names(self):
        with tool.Echo("--shards", 2) as echo:
            talk(echo)
            result = tool.torc("top", echo.process.pid, "--once", "--interval", "100ms")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"\Atorc top: torc \(\d+\), 2 shards, \w+, last ")
        for title in ("BUSY%", "CPU%", "FIBERS", "INFLIGHT", "OPS/WAIT", "DELAY99", "ENOBUFS",
                      "OVERFL", "STALLS", "TIMERS", "WAKE/S", "BUFS"):
            self.assertIn(title, result.stdout)
        self.assertRegex(result.stdout, r"\nall +\d")
        self.assertRegex(result.stdout, r"\n0 +\d")
        self.assertRegex(result.stdout, r"\n1 +\d")
        self.assertRegex(result.stdout, r"\naccept +\d+\.\d +2 +0 +2\n")
        self.assertNotIn("\x1b", result.stdout)

    def test_json_has_counters_rates_and_names(self):
        with tool.Echo() as echo, echo.connect() as connection:
            connection.sendall(b"hello")
            self.assertEqual(tool.receive(connection, 5), b"hello")
            result = tool.torc("top", echo.process.pid, "--once", "--json", "--interval", "100ms")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        found = json.loads(result.stdout)
        self.assertEqual((found["event"], found["pid"], found["process"], found["answers"]),
                         ("top", echo.process.pid, "torc", True))
        self.assertEqual([shard["shard"] for shard in found["shards"]], [0])
        counters, rates = found["shards"][0]["counters"], found["shards"][0]["rates"]
        self.assertGreater(counters["switches"], 0)
        self.assertGreaterEqual(counters["ops"], 3)  # accept, recv, send
        self.assertGreaterEqual(counters["ops_in_flight"], 1)
        self.assertGreaterEqual(rates["busy"], 0)
        self.assertLessEqual(rates["busy"], 1)
        names = {name["name"]: name for name in found["names"]}
        self.assertEqual(names["connection"]["fibers"], 1)
        self.assertEqual(names["connection"]["waiting"], 1)
        self.assertEqual(sum(name["fibers"] for name in found["names"]), counters["fibers"])

    def test_the_counters_go_on_between_looks(self):
        with tool.Echo() as echo:
            top = subprocess.Popen([tool.TORC, "top", str(echo.process.pid), "--json",
                                    "--interval", "50ms"], stdout=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
            try:
                first = json.loads(top.stdout.readline())["shards"][0]["counters"]["completions"]
                talk(echo)

                def has_moved():
                    look = json.loads(top.stdout.readline())
                    return look["shards"][0]["counters"]["completions"] >= first + 40
                tool.wait_until(has_moved, "40 completions more")
                top.send_signal(signal.SIGTERM)
                top.stdout.read()
                self.assertEqual(top.wait(tool.LIMIT), 0)
            finally:
                if top.poll() is None:
                    top.kill()
                top.communicate()

    def test_it_fits_the_terminal_and_follows_its_size(self):
        with tool.Echo("--shards", 2) as echo:
            with Terminal(24, 80, echo.process.pid, "--interval", "50ms") as top:
                text = top.read_until(lambda text: "torc top: " in text, "the screen")
                self.assertIn("\x1b[?7l", text)  # What is too long is cut off, not wrapped.
                for rows, columns in ((40, 200), (10, 60), (5, 30), (24, 80)):
                    top.resize(rows, columns)
                    wanted = min(columns, 147)  # All columns.

                    def fits():
                        page = top.screen()
                        header = next((line for line in page if line.startswith("SHARD")), "")
                        table = [line for line in page[1:] if re.match(r"SHARD|all|[01] ", line)]
                        return (len(page) <= rows and wanted - 10 < len(header) <= wanted
                                and all(len(line) <= columns for line in table))
                    tool.wait_until(fits, f"a screen of {rows} x {columns}")
                top.press(b"q")
                self.assertEqual(top.end(), 0)

    def test_q_and_signals_end_it_and_leave_the_terminal_as_it_was(self):
        with tool.Echo() as echo:
            for way in (b"q", b"\x03", signal.SIGTERM, signal.SIGHUP):
                with Terminal(24, 80, echo.process.pid, "--interval", "50ms") as top:
                    top.screen()
                    self.assertNotEqual(termios.tcgetattr(top.slave), top.before)
                    if isinstance(way, bytes):
                        top.press(way)
                    else:
                        top.process.send_signal(way)
                    self.assertEqual(top.end(), 0)
                    self.assertEqual(termios.tcgetattr(top.slave), top.before)

    def test_it_ends_when_its_terminal_goes_away_even_if_nobody_tells_it(self):
        with tool.Echo() as echo:
            # The signal comes to those whose controlling terminal it is, which this is not.
            master, slave = pty.openpty()
            with subprocess.Popen(
                    [tool.TORC, "top", str(echo.process.pid), "--interval", "3600s"],
                    stdin=slave, stdout=slave, env=dict(os.environ, TERM="xterm"),
                    start_new_session=True) as top:
                try:
                    os.close(slave)
                    self.assertTrue(select.select([master], [], [], tool.LIMIT)[0])
                    os.close(master)
                    top.wait(tool.LIMIT)
                finally:
                    top.kill()

    def test_it_ends_with_the_process(self):
        with tool.Echo() as echo:
            top = subprocess.Popen([tool.TORC, "top", str(echo.process.pid), "--json",
                                    "--interval", "50ms"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
            try:
                top.stdout.readline()
                echo.process.kill()
                _, err = top.communicate(timeout=tool.LIMIT)
                self.assertEqual(top.returncode, 0)
                self.assertIn("has ended", err)
            finally:
                if top.poll() is None:
                    top.kill()
                    top.communicate()

    def test_a_process_that_is_stopped_does_not_answer(self):
        with tool.Echo() as echo:
            self.assert_waits_for_no_stopped_process(echo, "top", echo.process.pid, "--once")

    def test_what_is_wrong_is_told_in_one_line(self):
        self.assert_fails(tool.torc("top", NO_PROCESS), 1)
        result = tool.torc("top", os.getpid())
        self.assert_fails(result, 1)
        self.assertIn("does not run torc", result.stderr)
        self.assert_fails(tool.torc("top"), 2)
        self.assert_fails(tool.torc("top", "x"), 2)
        self.assert_fails(tool.torc("top", "-1"), 2)
        self.assert_fails(tool.torc("top", "1", "2"), 2)
        self.assert_fails(tool.torc("top", "1", "--interval", "1ms"), 2)
        with tool.Echo() as echo:
            result = tool.torc("top", echo.process.pid, "--once", "--runtime", 1)
        self.assert_fails(result, 1)
        self.assertIn("has no runtime 1", result.stderr)

    def test_a_process_with_more_rights_than_ours_is_not_said_to_be_without_torc(self):
        def with_fewer_rights():
            drop_of_bounding_set, kill, ptrace = 24, 5, 19
            libc = ctypes.CDLL(None, use_errno=True)
            for right in (kill, ptrace):
                if libc.prctl(drop_of_bounding_set, right, 0, 0, 0) != 0:
                    raise OSError(ctypes.get_errno(), "prctl")

        if os.geteuid() != 0:
            self.skipTest("only root can have fewer rights and be the same user")
        with tool.Echo() as echo:
            try:
                result = tool.torc("top", echo.process.pid, "--once", preexec=with_fewer_rights)
            except subprocess.SubprocessError as error:
                self.skipTest(f"rights cannot be dropped: {error}")
        if result.returncode == 0:
            self.skipTest("the process has no more rights than the command")
        self.assert_fails(result, 1)
        self.assertIn("protected", result.stderr)

    def test_names_are_seen_in_a_container_that_denies_reading_memory(self):
        with tool.Echo(preexec=seccomp_test.under_the_filter()) as echo:
            result = tool.torc("top", echo.process.pid, "--once", "--json", "--interval", "50ms")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("accept", [name["name"] for name in json.loads(result.stdout)["names"]])

    def test_somebody_elses_process_is_not_looked_into(self):
        if os.getuid() != 0:
            self.skipTest("only root can become somebody else")
        with tool.Echo() as echo:
            # Everything on the way to the command has to be readable for others, too.
            result = tool.torc("top", echo.process.pid, "--once",
                               preexec=lambda: os.setresuid(65534, 65534, 65534)) \
                if os.access(tool.TORC, os.X_OK) and self.others_may_run() else None
            if result is None:
                self.skipTest("others may not run this program")
            self.assert_fails(result, 1)
            self.assertIn("somebody else's", result.stderr)

    @staticmethod
    def others_may_run():
        try:
            return tool.torc("--version",
                             preexec=lambda: os.setresuid(65534, 65534, 65534)).returncode == 0
        except (OSError, subprocess.SubprocessError):
            return False


def wakeups(pid):
    """Voluntary switches of every thread of a process."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            found[thread] = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(),
                                      re.MULTILINE).group(1)
    return found


class Idle(tool.TestCase):
    def test_an_idle_program_sleeps_although_it_is_watched_for_stalls(self):
        if tool.SLOW:
            self.skipTest("ThreadSanitizer has a thread that wakes ten times a second")
        # Set here, since elsewhere in the tests nobody looks for stalls.
        os.environ["TORC_STALL_MS"] = "25"
        try:
            with tool.Echo("--shards", 2) as echo:
                talk(echo)
                self.assertEqual(tool.torc("top", echo.process.pid, "--once", "--interval",
                                           "50ms").returncode, 0)

                def is_quiet():
                    before = wakeups(echo.process.pid)
                    select.select([], [], [], 0.5)  # Twenty times the limit for stalls.
                    return wakeups(echo.process.pid) == before
                tool.wait_until(is_quiet, "half a second in which nothing wakes")
                talk(echo)  # It is idle, not dead.
        finally:
            os.environ["TORC_STALL_MS"] = "0"


if __name__ == "__main__":
    tool.main()
