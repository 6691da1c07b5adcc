#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""trace_test.py - torc trace writes what a running program does, in the form Perfetto reads."""
import collections
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading

import tool


class Talker(threading.Thread):
    """Keeps an echo server busy for as long as `with` lasts."""

    def __init__(self, echo):
        super().__init__()
        self.echo = echo
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set():
            with self.echo.connect() as connection:
                for _ in range(10):
                    connection.sendall(b"hello")
                    tool.receive(connection, 5)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()


def check_form(test, trace):
    """Each event has what its kind needs; slices of a thread are nested or apart."""
    threads = collections.defaultdict(list)
    open_ops = collections.Counter()
    for event in trace["traceEvents"]:
        test.assertIn(event["ph"], "MXbeni")
        test.assertGreater(event["pid"], 0)
        if event["ph"] != "M":
            test.assertGreaterEqual(event["ts"], 0)
        if event["ph"] == "X":
            test.assertGreaterEqual(event["dur"], 0)
            threads[event["pid"], event["tid"]].append(event)
        if event["ph"] in "be":
            open_ops[event["pid"], event["id"], event["name"]] += 1 if event["ph"] == "b" else -1
    for key, count in open_ops.items():
        test.assertIn(count, (0, 1), key)
    for slices in threads.values():
        ends = []
        for event in sorted(slices, key=lambda event: (event["ts"], -event["dur"])):
            begin, end = event["ts"], event["ts"] + event["dur"]
            while ends and ends[-1] <= begin + 0.0005:
                ends.pop()
            if ends:
                test.assertLessEqual(end, ends[-1] + 0.0015, event)
            ends.append(end)
    return threads


class Trace(tool.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "trace.json")

    def load(self):
        with open(self.path, encoding="ascii") as file:
            return json.load(file)

    def trace(self, echo, *options):
        """A trace that is written to self.path."""
        result = tool.torc("trace", echo.process.pid, *options, "-o", self.path)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_it_shows_shards_fibers_and_operations(self):
        with tool.Echo("--shards", 2) as echo, Talker(echo):
            def both_shards():
                result = tool.torc("trace", echo.process.pid, "--seconds", "200ms", "-o",
                                   self.path)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
                pids = {event["pid"] for event in self.load()["traceEvents"]
                        if event["ph"] == "X" and event["name"] == "connection"}
                return pids == {1, 2}  # Connections are spread over the shards by a hash.
            tool.wait_until(both_shards, "connections on both shards")
        trace = self.load()
        threads = check_form(self, trace)
        events = trace["traceEvents"]
        labels = {(event["pid"], event["tid"], event["name"]): event["args"].get("name")
                  for event in events if event["ph"] == "M"}
        self.assertEqual(labels[1, 0, "process_name"], "shard 0")
        self.assertEqual(labels[2, 0, "process_name"], "shard 1")
        self.assertTrue(any(label and label.endswith(" connection") for label in labels.values()))
        names = collections.Counter((event["ph"], event["name"]) for event in events)
        for wanted in (("X", "connection"), ("X", "loop"), ("X", "running"), ("X", "waiting"),
                       ("X", "ready"), ("b", "recv"), ("e", "recv"), ("e", "send")):
            self.assertGreater(names[wanted], 0, wanted)
        self.assertTrue(any(tid > 0 for _, tid in threads))
        results = [event["args"]["result"] for event in events
                   if (event["ph"], event["name"]) == ("e", "send")]
        self.assertEqual(set(results), {5})

    def test_it_can_go_to_standard_output_and_the_memory_is_given_back(self):
        with tool.Echo() as echo:
            for _ in range(2):
                result = tool.torc("trace", echo.process.pid, "--seconds", "10ms", "--output", "-",
                                   "--events", 1024)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                check_form(self, json.loads(result.stdout))

            def has_trace():
                folder = f"/proc/{echo.process.pid}/fd"
                return any("torc-trace" in os.readlink(os.path.join(folder, name))
                           for name in os.listdir(folder))
            tool.wait_until(lambda: not has_trace(), "the end of the trace's memory")

    @staticmethod
    def catches(pid, number):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        return bool(int(fields["SigCgt"], 16) >> (number - 1) & 1)

    @contextlib.contextmanager
    def recording(self, echo, number=signal.SIGINT, preexec=None):
        """A trace that goes on for an hour, from when it catches a signal: when it records."""
        trace = subprocess.Popen([tool.TORC, "trace", str(echo.process.pid), "--seconds", "3600",
                                  "-o", self.path], stderr=subprocess.PIPE, text=True,
                                 stdin=subprocess.DEVNULL, preexec_fn=preexec)
        try:
            tool.wait_until(lambda: self.catches(trace.pid, number), "the handler")
            yield trace
        finally:
            if trace.poll() is None:
                trace.kill()
                trace.communicate()

    def test_an_interrupt_ends_it_early_and_what_there_is_is_written(self):
        with tool.Echo() as echo, Talker(echo), self.recording(echo) as trace:
            trace.send_signal(signal.SIGINT)
            _, err = trace.communicate(timeout=tool.LIMIT)
        self.assertEqual((trace.returncode, err), (0, ""))
        check_form(self, self.load())

    def test_a_signal_that_was_ignored_when_it_was_started_does_not_end_it(self):
        with tool.Echo() as echo, \
                self.recording(echo, signal.SIGTERM, tool.ignore_interrupts) as trace:
            self.assertFalse(self.catches(trace.pid, signal.SIGINT))
            trace.send_signal(signal.SIGINT)
            trace.send_signal(signal.SIGTERM)
            _, err = trace.communicate(timeout=tool.LIMIT)
        self.assertEqual((trace.returncode, err), (0, ""))

    def test_it_ends_when_the_process_does(self):
        with tool.Echo() as echo, self.recording(echo) as trace:
            echo.process.kill()
            _, err = trace.communicate(timeout=tool.LIMIT)
        self.assertEqual((trace.returncode, err),
                         (1, f"torc trace: process {echo.process.pid} has ended, and its trace with"
                             " it\n"))

    def test_who_records_is_not_disturbed_by_others(self):
        with tool.Echo() as echo, Talker(echo):
            with self.recording(echo) as first:
                for _ in range(3):
                    result = tool.torc("trace", echo.process.pid, "-o", self.path + ".2")
                    self.assert_fails(result, 1)
                    self.assertIn("is being traced already", result.stderr)
                first.send_signal(signal.SIGINT)
                _, err = first.communicate(timeout=tool.LIMIT)
            self.assertEqual((first.returncode, err), (0, ""))
            check_form(self, self.load())
            self.assertFalse(os.path.exists(self.path + ".2"))
            self.trace(echo, "--seconds", "1ms")

    def test_a_shard_that_computes_does_not_look_as_if_others_traced_it(self):
        program = os.path.join(os.path.dirname(tool.TORC), "tests", "tool", "tool_dumped")
        with subprocess.Popen([program, "hangs"], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                self.assertEqual(process.stdout.readline(), "ready\n")
                options = ("trace", process.pid, "--seconds", "1ms", "-o", self.path)
                self.assertEqual(tool.torc(*options).returncode, 0)
                result = tool.torc(*options)
                self.assert_fails(result, 1)
                self.assertIn("too busy to end its last trace", result.stderr)
            finally:
                process.kill()

    def test_what_is_wrong_is_told_in_one_line(self):
        result = tool.torc("trace", os.getpid(), "-o", self.path)
        self.assert_fails(result, 1)
        self.assertFalse(os.path.exists(self.path))
        self.assert_fails(tool.torc("trace"), 2)
        self.assert_fails(tool.torc("trace", "1", "--seconds", "0"), 2)
        self.assert_fails(tool.torc("trace", "1", "-x"), 2)
        self.assert_fails(tool.torc("trace", "1", "-o"), 2)
        with tool.Echo() as echo:
            # At once, and not in an hour.
            result = tool.torc("trace", echo.process.pid, "--seconds", "3600", "-o",
                               os.path.join(self.folder.name, "no", "such"))
            self.assert_fails(result, 1)
            self.assertIn("cannot write", result.stderr)
            self.trace(echo, "--seconds", "1ms")  # The other one does not go on.

    def test_a_shorter_trace_leaves_nothing_of_a_longer_one(self):
        with open(self.path, "w", encoding="ascii") as file:
            file.write("x" * 1000000)
        with tool.Echo() as echo:
            self.trace(echo, "--seconds", "1ms", "--events", 10)
        check_form(self, self.load())

    def test_what_a_stopped_process_was_asked_for_is_not_done_later(self):
        with tool.Echo() as echo:
            self.assert_waits_for_no_stopped_process(echo, "trace", echo.process.pid,
                                                     "-o", self.path)
            self.trace(echo, "--seconds", "1ms")


if __name__ == "__main__":
    tool.main()
