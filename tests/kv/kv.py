# SPDX-License-Identifier: MIT
"""kv.py - running the key-value server of the examples in tests, and a real Redis beside it.

Every script beside this file is called with the path of the server:

    tests/kv/replies_test.py build/debug/examples/kv/kv
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "process"))
import served  # noqa: E402  (from the folder beside)
from served import LIMIT, SLOW, wait_until  # noqa: E402,F401  (the tests take them from here)

KV = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "kv"
SKIPPED = 77


def need(*programs):
    """End as a skipped test where a program of Redis is not installed."""
    for program in programs:
        if not shutil.which(program):
            print(f"skipped: there is no {program} (scripts/setup.sh test installs redis-tools)")
            sys.exit(SKIPPED)


def need_redis():
    """What to call to run a Redis server. Debian's redis-tools has it under another name only."""
    for program in ("redis-server", "redis-check-rdb"):
        path = shutil.which(program)
        if path:
            asked = subprocess.run(["redis-server", "--version"], executable=path, check=False,
                                   capture_output=True, text=True, timeout=LIMIT)
            if "v=7.0." in asked.stdout:
                return path
    print("skipped: there is no redis-server of version 7.0, whose answers are the model")
    return sys.exit(SKIPPED)


class Server(served.Server):
    """A server with clients; `address` is where it listens."""

    def __init__(self, argv, executable=None):
        super().__init__(argv, executable)
        self.address = None
        self.clients = []

    def __exit__(self, *_):
        for client in self.clients:
            client.socket.close()
        super().__exit__()

    def connect(self):
        family = socket.AF_INET if isinstance(self.address, tuple) else socket.AF_UNIX
        connection = socket.socket(family)
        connection.settimeout(LIMIT)
        connection.connect(self.address)
        self.clients.append(Client(connection))
        return self.clients[-1]


class Kv(Server):
    def __init__(self, *arguments):
        super().__init__([KV, "--listen", "127.0.0.1:0", *map(str, arguments)])
        host, _, port = self.await_line("listening on ").split()[-1].rpartition(":")
        self.address = (host, int(port))

    def __exit__(self, kind, *rest):
        """Every test ends in good order: what leaked, or raced, makes a sanitizer complain."""
        ended = (0, "", "")
        try:
            if kind is None and self.process.poll() is None:
                ended = self.stop()
        finally:
            super().__exit__()
        if ended != (0, "", ""):
            raise AssertionError(f"kv ended with {ended}")


class Redis(Server):
    """On a Unix socket in a directory of its own; it writes nothing."""

    def __init__(self, executable):
        self.folder = tempfile.TemporaryDirectory(prefix="torc-kv-")
        path = os.path.join(self.folder.name, "redis")
        super().__init__(["redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                          "--appendonly", "no", "--proto-max-bulk-len", "16mb",
                          "--dir", self.folder.name, "--daemonize", "no"], executable)
        self.await_line("ready to accept connections")
        self.address = path

    def __exit__(self, *_):
        super().__exit__()
        self.folder.cleanup()


def encode(*words):
    """A request."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Client:
    """A connection; what comes back is looked at as it was sent."""

    def __init__(self, connection):
        self.socket = connection
        self.input = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError(self.input)
        self.input += data

    def _line(self, at):
        """Where the line that begins there ends, behind its CR LF."""
        while (end := self.input.find(b"\r\n", at)) < 0:
            self._more()
        return end + 2

    def _end(self, at):
        """Where the answer that begins there ends."""
        end = self._line(at)
        mark, number = self.input[at:at + 1], self.input[at + 1:end - 2]
        if mark in b"$=" and int(number) >= 0:
            end += int(number) + 2
            while len(self.input) < end:
                self._more()
        elif mark in b"*>%~":
            for _ in range(int(number) * (2 if mark == b"%" else 1)):
                end = self._end(end)
        return end

    def answer(self):
        """The next answer, all of its bytes."""
        end = self._end(0)
        answer, self.input = self.input[:end], self.input[end:]
        return answer

    def ask(self, *words):
        self.send(encode(*words))
        return self.answer()

    def rest(self):
        """All bytes until the server closes."""
        try:
            while True:
                self._more()
        except EOFError:
            return self.input


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
