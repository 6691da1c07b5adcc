#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench_test.py - torc bench measures what happened, and notices servers that do not echo."""
import contextlib
import json
import signal
import socket
import subprocess
import threading
import time

import tool

FIELDS = {"command", "address", "mode", "connections", "size", "depth", "rate", "verified",
          "shards", "warmup_seconds", "duration_seconds", "messages", "messages_per_second",
          "bytes_per_second", "errors", "mismatches", "connect_errors", "unanswered",
          "interrupted", "latency_us", "cpu_seconds"}
LATENCY = ["mean", "p50", "p90", "p99", "p999", "max"]


def bench(port, *arguments, duration="200ms", warmup="50ms"):
    """Run torc bench with --json. Returns its status, the object, and standard error."""
    result = tool.torc("bench", "tcp", f"127.0.0.1:{port}", "--json", "--duration", duration,
                       "--warmup", warmup, *arguments)
    return result.returncode, json.loads(result.stdout) if result.stdout else None, result.stderr


@contextlib.contextmanager
def server(answer):
    """A server that calls answer(connection) in a thread for each connection."""
    def serve(connection):
        with contextlib.suppress(OSError), connection:
            answer(connection)

    def accept(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(tool.LIMIT)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


class Measuring(tool.TestCase):
    def check(self, report, **expected):
        """What every good report has in common."""
        self.assertEqual(set(report), FIELDS)
        self.assertEqual(list(report["latency_us"]), LATENCY)
        for name, value in dict(expected, errors=0, mismatches=0, connect_errors=0,
                                interrupted=False).items():
            self.assertEqual(report[name], value, name)
        self.assertGreater(report["messages"], 0)
        seconds = report["duration_seconds"]
        self.assertAlmostEqual(seconds, 0.2, places=3)
        self.assertAlmostEqual(report["messages_per_second"] * seconds / report["messages"], 1, 3)
        self.assertAlmostEqual(report["bytes_per_second"],
                               report["messages_per_second"] * report["size"], delta=1)
        latency = report["latency_us"]
        ranks = [latency[name] for name in LATENCY[1:]]
        self.assertEqual(ranks, sorted(ranks))
        self.assertTrue(0 < latency["mean"] <= latency["max"])
        self.assertGreater(report["cpu_seconds"], 0)

    def test_closed_loop_with_every_share_of_sizes_and_depths(self):
        loads = (("--connections", 10), ("--connections", 3, "--depth", 16),
                 ("--connections", 2, "--size", "64k"),  # The most for one fiber.
                 ("--connections", 2, "--size", "16k", "--depth", 16),  # Two fibers each.
                 ("--connections", 1, "--size", "3m"),
                 ("--connections", 2, "--size", 1, "--depth", 1000),
                 ("--connections", 300, "--shards", 2), ("--connections", 5, "--no-verify"))
        with tool.Echo("--shards", 2) as echo:
            for load in loads:
                with self.subTest(load):
                    status, report, err = bench(echo.port, *load)
                    self.assertEqual((status, err), (0, ""))
                    self.check(report, mode="closed", rate=None, unanswered=0,
                               connections=int(load[1]), verified="--no-verify" not in load,
                               shards=2 if "--shards" in load else 1)

    def test_churn_makes_a_connection_for_each_message(self):
        with tool.Echo("--json") as echo:
            status, report, err = bench(echo.port, "--churn", "--connections", 4)
            self.assertEqual((status, err), (0, ""))
            self.check(report, mode="churn", depth=1, connections=4)
            served = echo.report()
        self.assertGreaterEqual(served["connections"], report["messages"])
        self.assertEqual(served["connections"], served["messages"])

    def test_a_rate_is_kept(self):
        with tool.Echo("--shards", 2) as echo:
            for load in (("--connections", 7), ("--connections", 1, "--depth", 1),
                         ("--connections", 8, "--shards", 2)):
                with self.subTest(load):
                    status, report, err = bench(echo.port, "--rate", 1000, *load)
                    self.assertEqual((status, err), (0, ""))
                    self.check(report, mode="open", rate=1000.0, unanswered=0)
                    self.assertAlmostEqual(report["messages"], 200, delta=80)

    def test_people_get_a_table(self):
        with tool.Echo() as echo:
            result = tool.torc("bench", "tcp", echo.address, "--duration", "0.1")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertNotIn("\033", result.stdout)
        self.assertRegex(result.stdout, r"messages +[\d,]+ +[\d,]+ /s\n")
        self.assertRegex(result.stdout, r"latency +mean \S+ \w+ +p50 \S+ \w+ .* p99.9 .* max ")

    def interrupt(self, duration, preexec=None):
        """SIGINT once a connection is under load. The report."""
        busy = threading.Event()

        def answer(connection):
            count = 0
            while data := connection.recv(65536):
                connection.sendall(data)
                count += 1
                if count == 100:
                    busy.set()

        with server(answer) as port:
            command = [tool.TORC, "bench", "tcp", f"127.0.0.1:{port}", "--json", "--warmup", "0",
                       "--duration", duration, "--connections", "1"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                  preexec_fn=preexec) as process:
                self.assertTrue(busy.wait(tool.LIMIT))
                process.send_signal(signal.SIGINT)
                report = json.loads(process.communicate(timeout=tool.LIMIT)[0])
        self.assertEqual(process.returncode, 0)
        self.assertGreaterEqual(report["messages"], 99)
        return report

    def test_ctrl_c_ends_it_with_what_it_has(self):
        report = self.interrupt("60")
        self.assertTrue(report["interrupted"])
        self.assertTrue(0 < report["duration_seconds"] < 60)

    def test_a_signal_that_was_ignored_when_it_was_started_does_not_end_it(self):
        report = self.interrupt("0.5", tool.ignore_interrupts)
        self.assertFalse(report["interrupted"])
        self.assertAlmostEqual(report["duration_seconds"], 0.5, places=3)

    def test_a_stall_of_the_server_is_not_left_out(self):
        """While the server sleeps, a client that waits for it would measure one slow message."""
        def answer(connection):
            begin = time.monotonic()
            stalled = False
            while data := connection.recv(65536):
                if not stalled and time.monotonic() - begin > 0.2:
                    stalled = True
                    time.sleep(0.4)
                connection.sendall(data)

        for depth in ((), ("--depth", 1)):
            with server(answer) as port:
                status, report, _ = bench(port, "--rate", 500, "--connections", 1, *depth,
                                          duration="0.8", warmup="0")
            self.assertEqual((status, report["mismatches"]), (0, 0))
            # Half of the time of 0.8 s was a stall: so a quarter waited for 0.2 s and longer.
            self.assertGreater(report["latency_us"]["p90"], 200_000)
            self.assertGreater(report["latency_us"]["max"], 350_000)

    def test_what_was_due_in_the_window_is_sent_after_it(self):
        """The second answer comes after the window, so all that were due behind it are late."""
        def answer(connection):
            connection.sendall(connection.recv(65536))
            data = connection.recv(65536)
            time.sleep(0.4)
            while data:
                connection.sendall(data)
                data = connection.recv(65536)

        with server(answer) as port:
            status, report, err = bench(port, "--rate", 100, "--connections", 1, "--depth", 1,
                                        warmup="0")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual((report["messages"], report["unanswered"]), (1, 0))
        # The latencies of 19 of 20 begin when they were due, which was 0.01 to 0.19 s.
        self.assertGreater(report["latency_us"]["p50"], 250_000)

    def test_what_a_slow_server_leaves_is_unanswered(self):
        def answer(connection):
            while data := connection.recv(65536):
                time.sleep(0.05)
                connection.sendall(data)

        with server(answer) as port:
            status, report, err = bench(port, "--rate", 500, "--connections", 1, "--depth", 1,
                                        warmup="0")
        self.assertEqual((status, err), (0, ""))
        # 100 were due, and in the 2.2 s until the end of the grace 44 come back at most.
        self.assertTrue(56 <= report["unanswered"] < 100, report)


class BadServers(tool.TestCase):
    def fails(self, port, pattern, *arguments):
        status, report, err = bench(port, "--connections", 2, *arguments)
        self.assertEqual(status, 1, err)
        self.assertRegex(err, pattern)
        return report

    def test_nobody_listens(self):
        port = tool.closed_port()
        line = rf"\Atorc bench: cannot connect to 127\.0\.0\.1:{port}: Connection refused\n\Z"
        for arguments in ((), ("--churn",), ("--rate", 100), ("--shards", 2)):
            report = self.fails(port, line, *arguments)
            self.assertGreater(report["connect_errors"], 0)
            self.assertEqual(report["messages"], 0)

    def test_one_line_and_no_table_for_people(self):
        result = tool.torc("bench", "tcp", f"127.0.0.1:{tool.closed_port()}")
        self.assert_fails(result, 1)

    def test_another_byte_comes_back(self):
        def answer(connection):
            count = 0
            while data := bytearray(connection.recv(65536)):
                if 0 <= 5000 - count < len(data):
                    data[5000 - count] ^= 1
                count += len(data)
                connection.sendall(data)

        with server(answer) as port:
            for arguments in ((), ("--depth", 16), ("--rate", 5000), ("--size", "200k")):
                report = self.fails(port, r"byte 5000 came back as 0x.. instead of 0x..\n.*"
                                          r"does not send back what it receives", *arguments)
                self.assertEqual(report["mismatches"], 2)
                self.assertEqual(report["errors"], 0)
            status, report, _ = bench(port, "--no-verify")
            self.assertEqual((status, report["mismatches"]), (0, 0))

    def test_more_comes_back_than_was_sent(self):
        def answer(connection):
            while data := connection.recv(65536):
                connection.sendall(data + b"!")

        with server(answer) as port:
            self.fails(port, "more came back than was sent")

    def test_connections_break(self):
        def answer(connection):
            connection.recv(10)

        with server(answer) as port:
            for arguments in ((), ("--rate", 100), ("--churn",)):
                report = self.fails(port, "broke off", *arguments)
                self.assertGreater(report["errors"], 0)

    def test_nothing_comes_back(self):
        def answer(connection):
            while connection.recv(65536):
                pass

        with server(answer) as port:
            for arguments, unanswered in ((("--rate", 100), 20), ((), 2), (("--depth", 7), 14),
                                          (("--rate", 100, "--depth", 1), 20)):
                report = self.fails(port, "did not answer", *arguments)
                self.assertEqual((report["errors"], report["unanswered"]), (0, unanswered))

    def test_too_many_connections_for_the_descriptors(self):
        command = f"ulimit -n 100; exec {tool.TORC} bench tcp 127.0.0.1:7000 --connections 100"
        result = subprocess.run(["sh", "-c", command], capture_output=True, text=True,
                                timeout=tool.LIMIT, check=False)
        self.assert_fails(result, 1)
        self.assertIn("ulimit -n", result.stderr)


if __name__ == "__main__":
    tool.main()
