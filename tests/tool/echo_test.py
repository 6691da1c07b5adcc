#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""echo_test.py - torc echo sends back what it gets, ends in good order, and says what it did."""
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import tempfile

import tool

REPORT = {"event", "command", "shards", "duration_seconds", "connections", "messages", "bytes",
          "resets", "errors", "accept_failures", "cpu_seconds"}


class Echo(tool.TestCase):
    def test_what_is_sent_comes_back_and_is_counted(self):
        with tool.Echo("--json") as echo:
            with echo.connect() as connection:
                for data in (b"x", b"hello" * 100, bytes(range(256)) * 64):
                    connection.sendall(data)
                    self.assertEqual(tool.receive(connection, len(data)), data)
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(connection.recv(1), b"")
            report = echo.report()
        self.assertEqual(set(report), REPORT)
        self.assertEqual(report["connections"], 1)
        self.assertEqual(report["bytes"], 1 + 500 + 256 * 64)
        self.assertGreaterEqual(report["messages"], 3)
        self.assertEqual(report["resets"] + report["errors"] + report["accept_failures"], 0)

    def test_standard_descriptors_that_are_closed_become_no_sockets(self):
        def close_two():
            os.close(0)
            os.close(2)

        with tool.Echo(preexec=close_two) as echo, echo.connect() as connection:
            connection.sendall(b"x")
            self.assertEqual(connection.recv(1), b"x")
            for number in (0, 2):
                self.assertEqual(os.readlink(f"/proc/{echo.process.pid}/fd/{number}"), "/dev/null")

    def test_a_unix_socket_serves_too_and_its_name_goes_away(self):
        for shards in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                self.serve_unix(os.path.join(folder, "echo"), shards)
                self.assertEqual(os.listdir(folder), [])

    def serve_unix(self, path, shards):
        command = [tool.TORC, "echo", "--listen", path, "--shards", str(shards)]
        server = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)
        try:
            self.assertEqual(server.stdout.readline(), f"listening on {path}\n")
            load = tool.torc("bench", "unix", path, "--connections", 3, "--duration", "50ms",
                             "--warmup", 0, "--json")
        finally:
            server.terminate()
            server.communicate(timeout=tool.LIMIT)
        self.assertEqual((server.returncode, load.returncode, load.stderr), (0, 0, ""))
        self.assertGreater(json.loads(load.stdout)["messages"], 0)

    def test_more_than_the_buffers_hold_comes_back_whole(self):
        data = bytes(range(256)) * 16 * 1024
        with tool.Echo("--buffer", "1000") as echo, echo.connect() as connection:
            connection.setblocking(False)
            sent, back = 0, b""
            while len(back) < len(data):
                want = [connection] if sent < len(data) else []
                readable, writable, _ = select.select([connection], want, [], tool.LIMIT)
                self.assertTrue(readable or writable, "it stands still")
                if writable:
                    sent += connection.send(data[sent:sent + 65536])
                if readable:
                    back += connection.recv(65536)
            self.assertEqual(back, data)

    def test_both_signals_end_it_in_good_order_with_connections_open(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with tool.Echo() as echo:
                connections = [echo.connect() for _ in range(20)]
                for connection in connections:
                    connection.sendall(b"hello")
                    self.assertEqual(tool.receive(connection, 5), b"hello")
                status, out, err = echo.stop(number)
                for connection in connections:
                    self.assertEqual(connection.recv(1), b"")
                    connection.close()
            self.assertEqual((status, err), (0, ""))
            self.assertRegex(out, r"connections +20\n")
            self.assertRegex(out, r"messages +20\n")
            self.assertRegex(out, r"bytes +100 ")
            self.assertRegex(out, r"errors +0\n")

    def test_a_signal_that_was_ignored_when_it_was_started_does_not_end_it(self):
        with tool.Echo(preexec=tool.ignore_interrupts) as echo, echo.connect() as connection:
            echo.process.send_signal(signal.SIGINT)
            connection.sendall(b"hello")
            self.assertEqual(tool.receive(connection, 5), b"hello")
            self.assertEqual(echo.stop()[0], 0)

    def test_duration_ends_it_by_itself(self):
        result = tool.torc("echo", "--listen", "127.0.0.1:0", "--duration", "50ms")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"\Alistening on 127\.0\.0\.1:\d+\n")

    def test_every_shard_accepts_on_the_same_port(self):
        with tool.Echo("--shards", 3, "--json", "--stats") as echo:
            for _ in range(60):
                with echo.connect() as connection:
                    connection.sendall(b"abc")
                    self.assertEqual(tool.receive(connection, 3), b"abc")
            report = echo.report()
        self.assertEqual((report["shards"], report["connections"]), (3, 60))
        self.assertEqual(sum(shard["messages"] for shard in report["stats"]), 60)
        # Hashing spreads 60 connections over 3 sockets; that one gets none is out of the question.
        self.assertTrue(all(shard["messages"] > 0 for shard in report["stats"]))

    def test_stats_tell_the_system_calls_per_message(self):
        with tool.Echo("--stats") as echo:
            with echo.connect() as connection:
                connection.sendall(b"abc")
                tool.receive(connection, 3)
            status, out, _ = echo.stop()
        self.assertEqual(status, 0)
        self.assertRegex(out, r"system calls per message +\d+\.\d+\n")
        self.assertRegex(out, r"enters +\d")

    def test_a_reset_by_the_peer_is_counted_and_harms_nobody(self):
        with tool.Echo("--json") as echo:
            with echo.connect() as bystander:
                victim = echo.connect()
                victim.sendall(b"hello")
                tool.receive(victim, 5)
                victim.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                victim.close()
                bystander.sendall(b"still there")
                self.assertEqual(tool.receive(bystander, 11), b"still there")
            report = echo.report()
        self.assertEqual((report["resets"], report["errors"]), (1, 0))

    def test_without_descriptors_it_says_so_and_goes_on_when_there_are_some(self):
        def few_descriptors():
            resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

        with tool.Echo(preexec=few_descriptors) as echo:
            connections = [echo.connect() for _ in range(40)]
            complaint = echo.process.stderr.readline()
            self.assertRegex(complaint, r"\Atorc echo: cannot accept: Too many open files")
            for connection in connections[:39]:
                connection.close()
            connections[39].sendall(b"at last")
            self.assertEqual(tool.receive(connections[39], 7), b"at last")
            connections[39].close()
            status, out, _ = echo.stop()
        self.assertEqual(status, 0)
        self.assertRegex(out, r"connections +40\n")

    def test_an_address_in_use_is_one_clear_line_with_any_number_of_shards(self):
        with tool.Echo() as echo, tool.Echo("--shards", 2) as shared:
            for taken in (echo.address, shared.address):
                for shards in (1, 2):
                    result = tool.torc("echo", "--listen", taken, "--shards", shards)
                    self.assert_fails(result, 1)
                    self.assertIn("Address already in use", result.stderr)

    def test_where_io_uring_is_denied_it_carries_traffic_all_the_same_and_says_how(self):
        def deny():
            os.environ.pop("TORC_DRIVER", None)
            tool.deny_io_uring()

        data = bytes(range(256)) * 64
        with tool.Echo("--json", "--shards", 2, preexec=deny) as echo:
            for _ in range(5):
                with echo.connect() as connection:
                    connection.sendall(data)
                    self.assertEqual(tool.receive(connection, len(data)), data)
            status, out, err = echo.stop()
        self.assertEqual(status, 0)
        self.assertRegex(err, r"\Atorc: using epoll[^\n]*denied[^\n]*torc doctor[^\n]*\n\Z")
        self.assertEqual(json.loads(out)["bytes"], 5 * len(data))

    def test_ipv6_and_every_way_to_run(self):
        ways = (["--forbid", "all"], ["--busy-poll", "off"], ["--busy-poll", "50"],
                ["--driver", "uring"], ["--driver", "epoll"], ["--driver", "auto"],
                ["--driver", "epoll", "--shards", 3], ["--listen", "[::1]:0"],
                ["--mode", "stream"], ["--mode", "stream", "--driver", "epoll"])
        for way in ways:
            with self.subTest(way), tool.Echo(*way) as echo:
                host = "::1" if "[::1]:0" in way else "127.0.0.1"
                address = (host, echo.port)
                with socket.create_connection(address, timeout=tool.LIMIT) as connection:
                    connection.sendall(b"hello")
                    self.assertEqual(tool.receive(connection, 5), b"hello")
                self.assertEqual(echo.stop()[0], 0)


if __name__ == "__main__":
    tool.main()
