# SPDX-License-Identifier: MIT
"""programs.py - what is compared: torc and its peers, how each is started, and whether it can be.

To compare another program, add a line to a table, or give --server NAME=COMMAND.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys


class BenchError(Exception):
    """A benchmark cannot go on; the message is for the user."""


class Program:
    """How to start a program. Its first word is looked for in the build directory, or in PATH.

    The word {path} stands for a name in a new directory. lacks(build) says what the program that
    was built is missing, "" if nothing. A program `beside` it is started when it is ready, and is
    ended before it; {pid} there is the number of its process.
    """

    def __init__(self, *argv, env=None, lacks=lambda build: "", beside=None):
        self.argv = list(argv)
        self.env = env or {}
        self.lacks = lacks
        self.beside = Program(*beside) if beside else None

    def command(self, build, **words):
        """The whole command line; {word} is replaced by the value given for it."""
        argv = self.argv
        for name, value in words.items():
            argv = [text.replace("{" + name + "}", str(value)) for text in argv]
        first = os.path.join(build, argv[0])
        return [first if os.access(first, os.X_OK) else argv[0], *argv[1:]]

    def environment(self):
        return {**os.environ, **self.env}


def output_of(argv, env=None):
    """What a program prints; "" if there is no such program."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False,
                              env={**os.environ, **(env or {})}).stdout
    except OSError:
        return ""


def lacks_mode(mode):
    """For Program: `torc echo` of this build has no option --mode, or no such mode."""
    def lacks(build):
        text = output_of([os.path.join(build, "torc"), "echo", "--help"])
        option = re.search(r"^ *--mode\b.*(?:\n {6,}[^-\s].*)*", text, re.MULTILINE)
        return "" if option and mode in option.group() else f"torc echo has no --mode {mode}"
    return lacks


def lacks_driver(driver):
    """For Program: torc would take another driver, in spite of TORC_DRIVER."""
    def lacks(build):
        argv = [os.path.join(build, "torc"), "doctor", "--json"]
        text = output_of(argv, env={"TORC_DRIVER": driver})
        chosen = json.loads(text)["driver"]["name"] if text else None
        return "" if chosen == driver else f"this torc has no driver {driver}"
    return lacks


def torc_echo(*options, listen="127.0.0.1:0", shards=1, **more):
    """torc's own server. It sleeps at once, as the others do, where the options do not say else."""
    if "--busy-poll" not in options:
        options = ("--busy-poll", "off", *options)
    return Program("torc", "echo", "--listen", listen, "--shards", str(shards), *options, **more)


# TCP servers. Each listens on a port of its choice, and says which.
TCP = {
    "torc": torc_echo(),
    "torc-2": torc_echo(shards=2),
    "torc-poll": torc_echo("--busy-poll", "adaptive"),
    "torc-epoll": torc_echo(env={"TORC_DRIVER": "epoll"}, lacks=lacks_driver("epoll")),
    "torc-stream": torc_echo("--mode", "stream", lacks=lacks_mode("stream")),
    "torc-sqpoll": torc_echo(env={"TORC_SQPOLL": "1000"}),
    "torc-napi": torc_echo(env={"TORC_NAPI": "50"}),
    "torc-min-wait": torc_echo(env={"TORC_MIN_WAIT": "50"}),
    "ring": Program("bench/echo_raw_ring", "0"),
    "multishot": Program("bench/echo_raw_multishot", "0"),
    "epoll": Program("bench/echo_raw_epoll", "0"),
    "libuv": Program("bench/echo_libuv", "0"),
}

# Servers on a Unix stream socket.
UNIX = {
    "torc": torc_echo(listen="{path}"),
    "torc-poll": torc_echo("--busy-poll", "adaptive", listen="{path}"),
    "torc-stream": torc_echo("--mode", "stream", listen="{path}", lacks=lacks_mode("stream")),
    "torc-epoll": torc_echo(listen="{path}", env={"TORC_DRIVER": "epoll"},
                            lacks=lacks_driver("epoll")),
    "ring": Program("bench/echo_raw_ring", "{path}"),
    "multishot": Program("bench/echo_raw_multishot", "{path}"),
    "epoll": Program("bench/echo_raw_epoll", "{path}"),
    "libuv": Program("bench/echo_libuv", "{path}"),
}

# Servers that send every datagram back.
UDP = {
    "torc": Program("bench/udp_torc", "0"),
    "torc-feed": Program("bench/udp_torc", "0", "--feed"),
    "torc-poll": Program("bench/udp_torc", "0", "--poll"),
    "torc-epoll": Program("bench/udp_torc", "0", env={"TORC_DRIVER": "epoll"},
                          lacks=lacks_driver("epoll")),
    "mmsg": Program("bench/udp_raw_mmsg", "0"),
    "ring": Program("bench/udp_raw_ring", "0"),
    "libuv": Program("bench/udp_libuv", "0"),
}


def available(build, table, wanted):
    """The wanted programs of a table that can run here; complains about the others."""
    found = []
    for name in wanted:
        if name not in table:
            raise BenchError(f"there is no {name}, but {', '.join(table)}")
        if not shutil.which(table[name].command(build, path="")[0]):
            lacks = f"there is no {table[name].argv[0]}"
        else:
            lacks = table[name].lacks(build)
        if lacks:
            print(f"{name}: {lacks}; left out", file=sys.stderr)
        else:
            found.append(name)
    if not found:
        raise BenchError(f"nothing to measure in {build}")
    return found


class AddProgram(argparse.Action):
    """NAME=COMMAND: one more program in the table, which is measured as well."""

    def __call__(self, parser, namespace, values, option_string=None):
        name, _, command = values.partition("=")
        if not name or not command:
            parser.error(f"{option_string} wants NAME=COMMAND")
        namespace.added = {**(namespace.added or {}), name: Program(*shlex.split(command))}


def add_options(parser, table, default):
    """The options by which a benchmark lets its user choose."""
    parser.set_defaults(table=table)
    parser.add_argument("--build", default=os.path.join(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "release"))
    parser.add_argument("--servers", default=",".join(default), help="of " + ", ".join(table))
    parser.add_argument("--server", dest="added", action=AddProgram, metavar="NAME=COMMAND",
                        help="measure this too, a command in the build directory or in PATH")


def choose(config):
    """Replace config.servers by the list of those that can run, and complete config.table."""
    added = config.added or {}
    config.build = os.path.abspath(config.build)
    config.table = {**config.table, **added}
    wanted = list(dict.fromkeys([*config.servers.split(","), *added]))
    config.servers = available(config.build, config.table, wanted)
