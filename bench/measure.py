# SPDX-License-Identifier: MIT
"""measure.py - what the benchmarks share: servers, the load generator, one measured sample.

A sample is one run of the load generator against one server that stays alive between samples.
The server's CPU time is read with nanosecond resolution from its process clock, twice, inside the
load: so neither opening nor closing the connections is counted as the cost of a message.
"""
import ctypes
import functools
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import programs
from programs import BenchError

HERE = os.path.dirname(os.path.abspath(__file__))
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
FOREIGN_LIMIT = 0.15  # cores; a sample disturbed by more than this is repeated, then dropped
TRIES = 3
SETTLE, MEASURED = 0.05, 0.85  # parts of a sample: left out after connecting, measured
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
HAVE_STRACE = shutil.which("strace") is not None
READY_LINE = re.compile(r"^(?:port|path|listening on) (\S+)$", re.MULTILINE)
SYSCALLS_LINE = re.compile(r"^syscalls (\d+)", re.MULTILINE)


class NoAnswer(Exception):
    """Nothing came back within a sample: there was much in flight, and little time."""


def cpu_ns(pid):
    """User and system time of a process, all threads, dead ones too, to the nanosecond."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)


def user_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[11])


def used(pid):
    """What user_share() wants to know of the beginning."""
    return user_ticks(pid), cpu_ns(pid)


def user_share(pid, begin):
    """The part of a process's CPU time since the beginning that was spent in user space."""
    end = used(pid)
    return (end[0] - begin[0]) * TICK_S * 1e9 / max(1, end[1] - begin[1])


def status_fields(path, names):
    """Sum of the named number fields of a file in the style of /proc/PID/status."""
    total = 0
    with open(path, encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in names:
                total += int(value.split()[0])
    return total


def voluntary_switches(pid):
    return sum(
        status_fields(f"/proc/{pid}/task/{tid}/status", {"voluntary_ctxt_switches"})
        for tid in os.listdir(f"/proc/{pid}/task")
    )


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def machine_ticks():
    """(busy, stolen) seconds of all CPUs together since boot."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) * TICK_S, steal * TICK_S


def raise_file_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def wait_until(condition, timeout_s, step_s=0.001):
    """True as soon as condition() is; false when it is not within the time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True


def child_on(cpu):
    """For preexec_fn: the child is pinned to a CPU unless that is None, and ends when we do,
    however that is."""
    def prepare():
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return prepare


class Server:
    """A running server, pinned to one CPU as a rule."""

    def __init__(self, name, config, traced=False):
        self.name = name
        self.trace = tempfile.NamedTemporaryFile() if traced else None
        self.output = tempfile.NamedTemporaryFile()
        self.folder = tempfile.TemporaryDirectory()
        program = config.table[name]
        argv = program.command(config.build, path=os.path.join(self.folder.name, "socket"))
        if traced:  # with -D the server is our child, and strace its grandchild
            argv = ["strace", "-D", "-f", "-c", "-o", self.trace.name, *argv]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env=program.environment(),
            preexec_fn=child_on(config.server_cpu),
        )
        self.pid = self.process.pid
        ready = lambda: READY_LINE.search(self.text()) or self.process.poll() is not None
        if not wait_until(ready, 10, 0.01) or self.process.poll() is not None:
            self.process.kill()
            raise BenchError(f"{name} did not start:\n{self.text()}")
        self.address = READY_LINE.search(self.text()).group(1)
        if self.address.isdigit():
            self.address = "127.0.0.1:" + self.address
        self.beside = None
        if program.beside:
            self.beside = subprocess.Popen(
                program.beside.command(config.build, pid=self.pid), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, preexec_fn=child_on(config.client_cpu))
        time.sleep(0.05)  # from the announcement to the first sleep
        self.idle_files = open_files(self.pid)

    def text(self):
        with open(self.output.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        """Ends the server; returns the system calls it made, None where nobody counted."""
        if self.beside:
            self.beside.terminate()
            self.beside.wait()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            print(f"{self.name} did not end on SIGTERM", file=sys.stderr)
        self.folder.cleanup()
        reported = SYSCALLS_LINE.search(self.text())
        if reported:
            return int(reported.group(1))
        return self._traced_syscalls() if self.trace else None

    def _traced_syscalls(self):
        def total():
            with open(self.trace.name, encoding="ascii") as file:
                lines = [line.split() for line in file]
            return [int(words[3]) for words in lines if words and words[-1] == "total"]

        return total()[0] if wait_until(total, 5, 0.02) else None


@functools.cache
def load_command(build, load):
    """The load generator for servers on "tcp", "unix" or "udp": what stands before and behind the
    address. It sleeps when it has nothing to do: where it polled instead, it would be this that is
    measured."""
    if load == "udp":
        return [os.path.join(build, "bench/udp_load")], []
    torc = os.path.join(build, "torc")
    can_poll = "--busy-poll" in programs.output_of([torc, "bench", "--help"])
    return [torc, "bench", load], ["--json", *(["--busy-poll", "off"] if can_poll else [])]


def start_client(server, arguments, config):
    before, behind = load_command(config.build, config.load)
    return subprocess.Popen(
        [*before, server.address, *arguments, *behind],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=child_on(config.client_cpu),
    )


def finish_client(client, timeout_s):
    """The load generator's JSON result."""
    try:
        out, err = client.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise BenchError("the load generator did not end") from None
    if "did not answer" in err:
        raise NoAnswer
    if client.returncode != 0 or not out.strip():
        raise BenchError(f"the load generator failed ({client.returncode}): {err or out}")
    result = json.loads(out)
    if result["errors"] or result["mismatches"]:
        raise BenchError(f"{result['errors']} errors, {result['mismatches']} mismatches")
    return result


class Window:
    """What the machine, the server and the load generator spend between two moments."""

    def __init__(self, server, client):
        self.pids = (server.pid, client.pid)
        self.begin = self._read()

    def _read(self):
        server, client = self.pids
        return {
            "seconds": time.monotonic(),
            "server": cpu_ns(server) / 1e9,
            "client": cpu_ns(client) / 1e9,
            "self": time.process_time(),
            "user": user_ticks(server) * TICK_S,
            "switches": voluntary_switches(server),
            "busy": machine_ticks()[0],
            "steal": machine_ticks()[1],
        }

    def close(self):
        end = self._read()
        spent = {key: end[key] - self.begin[key] for key in end}
        ours = spent["server"] + spent["client"] + spent["self"]
        # Process clocks may or may not contain stolen time; the worse of the two readings counts.
        others = max(spent["steal"], spent["busy"] + spent["steal"] - ours)
        spent["foreign"] = max(0.0, others / spent["seconds"])
        return spent


def wait_for_connections(server, client, count):
    wanted = server.idle_files + count
    if not wait_until(lambda: open_files(server.pid) >= wanted or client.poll() is not None, 20):
        raise BenchError("the load generator does not connect")


def sample(server, arguments, seconds, config, connections=0):
    """One run of the load generator. connections: how many to wait for before measuring."""
    client = start_client(server, [*arguments, "--duration", f"{seconds:g}"], config)
    try:
        if config.load != "udp":  # which has no connections
            wait_for_connections(server, client, max(1, connections))
        spent = None
        if client.poll() is None:  # else it failed, and finish_client() says why
            time.sleep(SETTLE * seconds)
            window = Window(server, client)
            time.sleep(MEASURED * seconds)
            spent = window.close()
        result = finish_client(client, seconds + 30)
    finally:
        if client.poll() is None:
            client.kill()
            client.communicate()
    wait_until(lambda: open_files(server.pid) <= server.idle_files, 10)

    if spent is None:
        raise BenchError("the load generator ended at once")

    # With much in flight and little time nothing may have come back; such a sample is no sample.
    messages = result["messages_per_second"] * spent["seconds"] or math.inf
    return {
        "rate": result["messages_per_second"],
        "messages": result["messages"],
        "lost": result.get("lost", 0),  # datagrams
        "seconds": result["duration_seconds"],
        "latency_us": result["latency_us"],
        "cpu_us": spent["server"] / messages * 1e6,
        "user_us": spent["user"] / messages * 1e6,
        "switches": spent["switches"] / messages,
        "server_load": spent["server"] / spent["seconds"],
        "client_load": spent["client"] / spent["seconds"],
        "foreign": spent["foreign"],
    }


def undisturbed_sample(server, arguments, seconds, config, connections=0):
    """A sample, repeated while others disturb it; "dropped" is set when all were disturbed."""
    record = None
    for attempt in range(1, TRIES + 1):
        try:
            record = sample(server, arguments, seconds, config, connections)
        except NoAnswer:
            seconds *= 2
            continue
        record["tries"] = attempt
        record["dropped"] = record["foreign"] > config.foreign or record["messages"] == 0
        if not record["dropped"]:
            break
    else:
        if record is None:
            raise BenchError("no answer, however long we waited")
    return record


def add_options(parser, rounds, seconds, servers, table=programs.TCP, load="tcp"):
    """The options of every benchmark of servers. `servers` of `table` are measured by default."""
    parser.set_defaults(load=load)
    programs.add_options(parser, table, servers)
    add_sample_options(parser, rounds, seconds)


def add_sample_options(parser, rounds, seconds):
    """The options of every benchmark."""
    parser.add_argument("--rounds", type=int, default=rounds, help="of samples")
    parser.add_argument("--seconds", type=float, default=seconds,
                        help="per sample; in slices, for each server in each case")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--foreign", type=float, default=FOREIGN_LIMIT,
                        help="cores that others may use before a sample is repeated")
    parser.add_argument("--results", default=os.path.join(HERE, "results"), help="directory")
    parser.add_argument("--name", default="", help="of the result files, after the date")


def check_config(config):
    programs.choose(config)
    cpus = os.sched_getaffinity(0)
    if not {config.server_cpu, config.client_cpu} - {None} <= cpus:
        raise BenchError(f"this process may use only the CPUs {sorted(cpus)}")
    raise_file_limit()


def rotated(names, by):
    by %= len(names)
    return names[by:] + names[:by]


def run(main):
    """Calls main and turns what can go wrong into one line and a status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without stopping the servers
    try:
        main()
    except BenchError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
