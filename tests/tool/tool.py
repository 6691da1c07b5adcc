# SPDX-License-Identifier: MIT
"""tool.py - running the command torc in tests: to its end, or as a server that is stopped again.

Every script beside this file is called with the path of torc:

    tests/tool/echo_test.py build/debug/torc
"""
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

TORC = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "torc"
SLOW = bool(os.environ.get("TORC_TEST_SLOW"))  # Under sanitizers and valgrind.
LIMIT = 100 if SLOW else 30  # Seconds after which something hangs.


def torc(*arguments, env=None, preexec=None):
    """Run torc to its end; stdout and stderr come back as text."""
    environment = dict(os.environ, **(env or {}))
    return subprocess.run([TORC, *map(str, arguments)], capture_output=True, text=True,
                          timeout=LIMIT, env=environment, stdin=subprocess.DEVNULL, check=False,
                          preexec_fn=preexec)


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


def wait_until(condition, what):
    """Look again and again, since not everything that happens elsewhere can be waited for."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        select.select([], [], [], 0.01)


class Echo:
    """A running torc echo: `with Echo("--shards", 2) as echo:` and then echo.port."""

    def __init__(self, *arguments, preexec=None):
        self.process = subprocess.Popen(
            [TORC, "echo", "--listen", "127.0.0.1:0", *map(str, arguments)], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=preexec)
        self.json = "--json" in arguments
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        self.line = self.process.stdout.readline() if ready else ""
        address = json.loads(self.line)["address"] if self.json and self.line else self.line
        if ":" not in address:
            self.process.kill()
            raise AssertionError(f"torc echo did not start: {self.process.communicate()}")
        self.address = address.split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self, number=signal.SIGTERM):
        """Send a signal and wait for the end. Returns the status, stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out, err

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


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
