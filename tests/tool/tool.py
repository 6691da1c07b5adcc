# SPDX-License-Identifier: MIT
"""tool.py - running the command torc in tests: to its end, or as a server that is stopped again.

Every script beside this file is called with the path of torc:

    tests/tool/echo_test.py build/debug/torc
"""
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import unittest

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "process"))
import served  # noqa: E402  (from the folder beside)
from served import LIMIT, SLOW, wait_until  # noqa: E402,F401  (the tests take them from here)

TORC = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "torc"


def torc(*arguments, env=None, preexec=None, stdout=subprocess.PIPE):
    """Run torc to its end; stderr comes back as text, as does stdout unless it goes elsewhere."""
    environment = dict(os.environ, **(env or {}))
    return subprocess.run([TORC, *map(str, arguments)], stdout=stdout, stderr=subprocess.PIPE,
                          text=True, timeout=LIMIT, env=environment, stdin=subprocess.DEVNULL,
                          check=False, preexec_fn=preexec)


def deny_io_uring():
    """For preexec: a seccomp filter as containers have it, under which io_uring_setup() fails."""
    io_uring_setup = 425  # On every CPU.
    filters = b"".join(struct.pack("=HBBI", *instruction) for instruction in (
        (0x20, 0, 0, 0),  # Load the number of the system call;
        (0x15, 0, 1, io_uring_setup),  # if it is this one,
        (0x06, 0, 0, 0x00050001),  # return -EPERM,
        (0x06, 0, 0, 0x7fff0000)))  # else allow it.
    buffer = ctypes.create_string_buffer(filters, len(filters))
    program = struct.pack("@HP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    for call in ((no_new_privileges, 1, 0), (set_seccomp, mode_filter, program)):
        if libc.prctl(*call, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def ignore_interrupts():
    """For preexec: as a shell starts what is to run in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Echo(served.Server):
    """A running torc echo: `with Echo("--shards", 2) as echo:` and then echo.port."""

    def __init__(self, *arguments, preexec=None):
        super().__init__([TORC, "echo", "--listen", "127.0.0.1:0", *map(str, arguments)],
                         preexec=preexec)
        self.line = self.await_line(":")
        address = json.loads(self.line)["address"] if "--json" in arguments else self.line
        self.address = address.split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def report(self, number=signal.SIGTERM):
        """stop() a server that was started with --json; what it reports."""
        status, out, err = self.stop(number)
        if status != 0 or err:
            raise AssertionError(f"torc echo ended with {status}: {err}")
        return json.loads(out)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)


def receive(connection, length):
    """Exactly so many bytes, fewer only at the end of the stream."""
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            break
        data += more
    return data


def closed_port():
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class TestCase(unittest.TestCase):
    def assert_fails(self, result, status):
        """It ended with this status, said nothing on stdout and one line on stderr."""
        self.assertEqual((result.returncode, result.stdout), (status, ""), result)
        self.assertRegex(result.stderr, r"\Atorc[^\n]*: [^\n]+\n\Z")

    def assert_waits_for_no_stopped_process(self, echo, *arguments):
        """Looking at it fails while it is stopped, and then works as before."""
        echo.process.send_signal(signal.SIGSTOP)
        try:
            result = torc(*arguments)
        finally:
            echo.process.send_signal(signal.SIGCONT)
        self.assert_fails(result, 1)
        self.assertIn("does not answer", result.stderr)
        again = torc("top", echo.process.pid, "--once", "--interval", "50ms")
        self.assertEqual(again.returncode, 0, again)


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
