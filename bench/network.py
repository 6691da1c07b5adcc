# SPDX-License-Identifier: MIT
"""network.py - a network of the benchmark's own, in which closed connections leave nothing behind.

On the machine's own loopback each connection that the client closes stays for a minute in
TIME_WAIT. After 14,000 of them towards one server the kernel searches long for a free port, until
it may use the first again, a second later; after 131,072 it makes no more of them. So what a
connection costs would depend, tenfold, on how many there were before, whoever served them.
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys

MARK = "TORC_BENCH_NETWORK"
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
LIMIT = "/proc/sys/net/ipv4/tcp_max_tw_buckets"


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def enter_own():
    """Go on in a network namespace without TIME_WAIT; False where that is not to be had. For this
    the program starts again from its beginning."""
    if os.environ.get(MARK):
        raise_loopback()
        with open(LIMIT, "w", encoding="ascii") as file:
            file.write("0")
        return True
    argv = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        possible = subprocess.run([*argv, "true"], stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return False
    if possible.returncode != 0:
        return False
    sys.stdout.flush()
    os.environ[MARK] = "own"
    os.execvp(argv[0], [*argv, sys.executable, *sys.argv])
