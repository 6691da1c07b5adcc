# SPDX-License-Identifier: MIT
"""served.py - servers under test: started, asked where they listen, and stopped by their id."""
import os
import select
import signal
import subprocess
import threading
import time

SLOW = bool(os.environ.get("TORC_TEST_SLOW"))  # Under sanitizers and valgrind.
LIMIT = 200 if SLOW else 60  # Seconds after which something hangs.

# Tests in the background of a shell are started with it ignored; servers under test are not.
signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(condition, what):
    """Look again and again, since not everything that happens elsewhere can be waited for."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        select.select([], [], [], 0.01)


class Server:
    """A process that serves, and that says so on a line; it does not outlive the `with`."""

    def __init__(self, argv, executable=None, preexec=None):
        self.process = subprocess.Popen(argv, executable=executable, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=preexec)

    def await_line(self, part):
        """Wait for a line with this part in it, and return it."""
        watchdog = threading.Timer(LIMIT, self.process.kill)
        watchdog.start()
        for line in self.process.stdout:
            if part in line:
                break
        else:
            line = None
        watchdog.cancel()
        if line is None:
            raise AssertionError(f"{self.process.args[0]} did not start: "
                                 f"{self.process.communicate()}")
        return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        if not self.process.stdout.closed:
            self.process.communicate()

    def stop(self, number=signal.SIGTERM):
        """Send a signal and wait for the end. Returns the status, stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out, err
