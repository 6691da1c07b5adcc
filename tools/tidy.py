#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tidy.py - check the rules of STYLE.md that neither a compiler nor clang-tidy can check.

    tools/tidy.py [ROOT]

Prints `path:line: what is wrong, and what to do instead`, and ends with 1 if there was anything.
A rule is a generator: it gets a File and yields (line number, message). A rule that has to be
broken once gets its exception here, by name and with the reason, not a mark in the source.
"""
import os
import re
import sys

# A file in src/ includes only its own layer and those before it; driver and fiber are siblings.
LAYERS = ["base", "arch", "driver", "fiber", "shard", "sync", "io"]
SIBLINGS = {("fiber", "driver"), ("driver", "fiber")}
# Use <torc/...> and their own headers; in src/ these are libraries of their own.
PUBLIC_ONLY = ("tools/", "examples/", "tests/api/", "src/search/")

# The only files of the library that use the heap, and when: never on the path of an operation.
MAY_ALLOCATE = {
    "src/base/buffer.c": "memory that grows is what it is for",
    "src/driver/driver.c": "once per driver",
    "src/driver/epoll_watch.c": "once per 256 descriptors that are waited for",
    "src/driver/pool.c": "once per run",
    "src/driver/sim/buffers.c": "once per simulated ring of buffers",
    "src/driver/sim/console.c": "three per simulated process",
    "src/driver/sim/context.c": "once per simulated world; stacks are mapped and kept",
    "src/driver/sim/event.c": "the heap of simulated events, which grows",
    "src/driver/sim/host.c": "once per simulated host, and its table of descriptors, which grows",
    "src/driver/sim/op.c": "records of simulated ops, kept in free lists",
    "src/driver/sim/plan.c": "once per planned failure of a simulation",
    "src/driver/sim/watch_set.c": "once per simulated watch",
    "src/driver/sim/world.c": "once per simulation",
    "src/io/sim_host.c": "once per simulated host",
    "src/driver/sim/disk_memory.c": "what simulated disks have, bounded by their size",
    "src/driver/sim/net_eventfd.c": "once per simulated eventfd",
    "src/driver/sim/net_line.c": "simulated packets, and lines between hosts",
    "src/driver/sim/net_multicast.c": "memberships of simulated sockets",
    "src/driver/sim/net_pipe.c": "once per simulated pipe",
    "src/driver/sim/net_queue.c": "what simulated sockets hold, bounded by their buffers",
    "src/driver/sim/net_splice.c": "bytes on their way between simulated files",
    "src/driver/sim/net_tcp.c": "once per simulated socket",
    "src/driver/sim/net_tcp_flow.c": "frees simulated sockets and packets",
    "src/driver/sim/net_udp.c": "once per simulated socket",
    "src/driver/sim/net_udp_receive.c": "frees simulated packets",
    "src/driver/sim/net_udp_send.c": "a datagram on its way into simulated packets",
    "src/driver/sim/net_unix.c": "once per simulated socket",
    "src/driver/sim/net_unix_rights.c": "once per simulated message",
    "src/shard/metrics.c": "the counters of all shards, once per text",
    "src/shard/observer.c": "once per run",
    "src/shard/trace_json.c": "what is known of fibers and operations, once per trace written",
    "src/shard/view.c": "once per process that is looked at",
    "src/driver/epoll_buffers.c": "once per shard, when streams are first used",
    "src/driver/uring.c": "a backlog of completions, only when the kernel refuses submissions",
    "src/fiber/stack.c": "once per slab of stacks",
    "src/io/datagram_feed.c": "once per feed",
    "src/io/listener.c": "the queue of connections, which grows up to a limit",
    "src/io/serve.c": "once per connection, and per server",
    "src/io/stream_in.c": "input that has to be in one piece",
    "src/io/stream_memory.c": "blocks and chunks, kept in free lists",
    "src/io/stream_pair.c": "once per pair of streams in memory",
    "src/io/fs_whole.c": "a file of unknown size, which becomes the caller's",
    "src/io/fs_watch.c": "once per watch, and per directory that it follows",
    "src/io/dns.c": "once per resolver",
    "src/io/dns_cache.c": "names and their addresses, bounded by the cache and the lookups",
    "src/io/dns_cares.c": "a list of places, once per lookup",
    "src/io/dns_system.c": "a question, once per lookup of a service or of an address",
    "src/io/process.c": "the list of an environment with changes, once per child",
    "src/shard/mailbox.c": "once per shard; a mailbox outlives its shard",
    "src/shard/runtime.c": "once per run",
    "src/shard/shard.c": "once per shard",
    "src/sync/shared_channel.c": "when a channel between shards is made; it outlives its makers",
    "src/shard/token.c": "when a scope's token is first asked for; a token outlives its scope",
}

# The only files of the library that may print.
MAY_PRINT = {
    "src/base/log.c": "it is what the others print with",
    "src/search/main.c": "is a whole program but for its scenario",
}

# The only tests that know private fields.
LOOKS_INSIDE = {
    "tests/unit/io/dir_test.c": "has to forge what a file system said",
    "tests/interleave/call_test.c": "has to be the shard that is stopped",
    "tests/interleave/select_test.c": "has to be the scope that has a reason",
}

# Sources of the library without a unit test of their own, and why.
NO_UNIT_TEST = {
    "src/base/sanitizer.c": "one flag: what is received under valgrind, by the tests of that label",
    "src/driver/sim/ambient.c": "every test in tests/api/ on the rung sim",
    "src/driver/sim/buffers.c": "tests/api/stream_feed_test.c on the rung sim",
    "src/driver/sim/chaos.c": "numbers; sim_world_test.c and tests/api/sim_test.c use them",
    "src/driver/sim/console.c": "the standard streams: tests/api/ on the rung sim",
    "src/driver/sim/control.c": "tests/api/ on the rung sim",
    "src/driver/sim/driver.c": "needs a shard: tests/api/ on the rung sim",
    "src/driver/sim/host.c": "sim_file_test.c",
    "src/driver/sim/machine.c": "tests/api/sim_test.c",
    "src/driver/sim/names.c": "tests/api/sim_test.c and dns_test.c",
    "src/driver/sim/op.c": "needs a shard: tests/api/op_test.c on the rung sim",
    "src/driver/sim/open.c": "tests/api/ on the rung sim",
    "src/driver/sim/ops.c": "tests/api/op_test.c on the rung sim",
    "src/driver/sim/ops_cancel.c": "tests/api/op_test.c on the rung sim",
    "src/driver/sim/ops_rw.c": "tests/api/file_test.c and pipe_test.c on the rung sim",
    "src/driver/sim/ops_socket.c": "tests/api/socket_test.c and others on the rung sim",
    "src/driver/sim/ops_time.c": "tests/api/op_test.c on the rung sim",
    "src/driver/sim/plan.c": "tests/api/sim_test.c",
    "src/driver/sim/syscall.c": "what tests in tests/api/ call on the rung sim",
    "src/driver/sim/watch_set.c": "tests/api/watch_test.c on the rung sim",
    "src/driver/thread.c": "pool_test.c, and sim_context_test.c",
    "src/io/at_once.c": "tests/api/large_test.c, and stream_out_test.c",
    "src/io/sim.c": "tests/api/sim_test.c",
    "src/io/sim_host.c": "tests/api/sim_test.c",
    "src/driver/sim/disk_attribute.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_data.c": "sim_disk_call_test.c and sim_disk_test.c",
    "src/driver/sim/disk_durable.c": "sim_disk_test.c: it is what a crash is about",
    "src/driver/sim/disk_entry.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_inode.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_journal.c": "sim_disk_test.c: it is what a crash is about",
    "src/driver/sim/disk_memory.c": "calls of libc that do not fail",
    "src/driver/sim/disk_names.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_open.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_path.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_range.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_rename.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/disk_status.c": "sim_disk_call_test.c, against the kernel",
    "src/driver/sim/net_endpoint.c": "sim_net_tcp_test.c and sim_net_udp_test.c",
    "src/driver/sim/net_eventfd.c": "sim_net_pipe_test.c",
    "src/driver/sim/net_line.c": "sim_net_tcp_flow_test.c and sim_net_udp_test.c",
    "src/driver/sim/net_message.c": "sim_net_udp_test.c and sim_net_unix_test.c",
    "src/driver/sim/net_multicast.c": "sim_net_udp_test.c",
    "src/driver/sim/net_option.c": "sim_net_tcp_test.c and sim_net_udp_test.c",
    "src/driver/sim/net_port.c": "sim_net_tcp_test.c",
    "src/driver/sim/net_socket.c": "sim_net_tcp_test.c and sim_net_call_test.c",
    "src/driver/sim/net_splice.c": "sim_net_pipe_test.c",
    "src/driver/sim/net_tcp_listen.c": "sim_net_tcp_test.c",
    "src/driver/sim/net_udp_receive.c": "sim_net_udp_test.c",
    "src/driver/sim/net_udp_send.c": "sim_net_udp_test.c",
    "src/driver/sim/net_unix_connect.c": "sim_net_unix_test.c",
    "src/driver/sim/net_unix_data.c": "sim_net_unix_test.c and sim_net_call_test.c",
    "src/driver/sim/net_unix_name.c": "sim_net_unix_test.c",
    "src/driver/sim/net_unix_rights.c": "sim_net_unix_test.c",
    "src/base/buffer.c": "public functions without a shard: tests/api/buffer_test.c",
    "src/io/address.c": "public functions without a shard: tests/api/address_test.c",
    "src/io/await.c": "means nothing without a shard: every test in tests/api/ awaits",
    "src/io/connect_name.c": "needs a shard: tests/api/connect_name_test.c",
    "src/io/dns_cares.c": "needs a shard: tests/api/dns_server_test.c",
    "src/io/file.c": "thin over the driver: tests/api/file_test.c",
    "src/io/file_lock.c": "needs a shard: tests/api/file_lock_test.c",
    "src/io/file_stream.c": "needs a shard: tests/api/file_stream_test.c",
    "src/io/fs.c": "thin over the driver: tests/api/fs_test.c",
    "src/io/fs_whole.c": "needs a shard: tests/api/fs_whole_test.c",
    "src/io/io.c": "thin over the driver: tests/api/ on every rung",
    "src/io/frame.c": "needs a stream: tests/api/frame_test.c",
    "src/io/listener.c": "needs a shard: tests/api/listener_test.c",
    "src/io/serve.c": "needs shards: tests/api/serve_test.c",
    "src/io/stream.c": "needs a shard: tests/api/stream_*_test.c",
    "src/io/stream_in.c": "needs a shard: tests/api/stream_*_test.c",
    "src/io/stream_memory.c": "needs a shard: tests/api/stream_feed_test.c",
    "src/io/stream_out.c": "needs a shard: tests/api/stream_*_test.c",
    "src/io/stream_pair.c": "needs a shard: tests/api/stream_pair_test.c",
    "src/io/zero_copy.c": "needs a shard: tests/api/zero_copy_test.c",
    "src/io/copy.c": "needs a shard: tests/api/copy_test.c",
    "src/io/datagram_feed.c": "needs a shard: tests/api/datagram_feed_test.c",
    "src/io/datagram.c": "needs a shard: tests/api/datagram_test.c, batch_test.c",
    "src/io/message.c": "needs a shard: tests/api/datagram_test.c, batch_test.c, unix_fds_test.c",
    "src/io/op.c": "needs a shard: tests/api/op_test.c",
    "src/io/option.c": "thin over torc_setsockopt(): tests/api/socket_test.c, udp_test.c",
    "src/io/pipe.c": "needs a shard: tests/api/pipe_test.c",
    "src/io/process.c": "needs children: tests/api/process_test.c",
    "src/io/process_child.c": "is what a child does: tests/api/process_options_test.c",
    "src/io/process_run.c": "needs children: tests/api/process_run_test.c",
    "src/io/signal.c": "needs a shard: tests/api/signal_test.c",
    "src/io/tcp.c": "needs a shard: tests/api/tcp_test.c",
    "src/io/time.c": "needs a shard: tests/api/time_test.c",
    "src/io/fs_watch.c": "needs a shard: tests/api/fs_watch_test.c",
    "src/io/trace_own.c": "needs a shard: tests/api/trace_test.c",
    "src/io/udp.c": "needs a shard: tests/api/udp_test.c",
    "src/io/unix.c": "needs a shard: tests/api/unix_test.c, unix_fds_test.c",
    "src/io/watch.c": "needs a shard: tests/api/watch_test.c",
    "src/shard/check.c": "needs fibers that wait: tests/api/misuse_test.c",
    "src/shard/dump.c": "prints to stderr, by a signal: tests/tool/dump_test.py",
    "src/shard/fault.c": "a fault ends the process: tests/api/overflow_test.c looks at how",
    "src/shard/fork.c": "needs a shard: tests/api/fork_test.c",
    "src/driver/observe.c": "tests/tool/probes_test.py, tests/api/trace_test.c",
    "src/shard/metrics.c": "needs a shard: tests/api/metrics_test.c",
    "src/shard/observer.c": "needs shards: tests/api/view_test.c, stall_test.c",
    "src/shard/sample.c": "needs shards: tests/api/view_test.c",
    "src/shard/stall.c": "needs a shard: tests/api/stall_test.c",
    "src/shard/stall_stack.c": "needs a shard: tests/api/stall_test.c",
    "src/shard/trace.c": "needs shards: tests/api/trace_test.c",
    "src/shard/view.c": "needs a process that runs: tests/api/view_test.c",
    "src/search/main.c": "tests/unit/search/search_test.c: the whole of a search",
    "src/search/run.c": "tests/unit/search/search_test.c: the whole of a search",
    "src/search/shrink.c": "tests/unit/search/search_test.c: the whole of a search",
    "src/shard/loan.c": "it ends the process: tests/api/unclosed_test.c looks at how",
    "src/shard/inspect.c": "is for other processes: tests/tool/dump_test.py looks by it",
    "src/shard/remaining.c": "needs shards: tests/api/end_test.c, tests/tool/dump_test.py",
    "src/shard/report.c": "counters and features of a shard: tests/api/run_test.c",
    "src/shard/runtime.c": "is torc_run() itself: tests/api/run_test.c",
    "src/shard/scope.c": "its rules are public: tests/api/rules_*_test.c, one test for each",
    "src/shard/shard.c": "the loop is what all tests in tests/api/ run on",
    "src/shard/spawn.c": "its rules are public: tests/api/rules_entry_test.c",
    "src/shard/thread_stack.c": "needs the loop: tests/api/fiber_test.c",
    "src/shard/token.c": "its rules are public: tests/api/rules_rest_test.c",
    "src/shard/wait.c": "its rules are public: tests/api/rules_wait_test.c",
    "src/io/select.c": "needs a shard: tests/api/select_test.c",
    "src/sync/broadcast.c": "needs a shard: tests/api/broadcast_test.c",
    "src/sync/call.c": "needs several shards: tests/api/call_test.c",
    "src/sync/channel.c": "needs a shard: tests/api/channel_test.c",
    "src/sync/event.c": "needs a shard: tests/api/event_test.c",
    "src/sync/lock.c": "needs a shard: tests/api/lock_test.c",
    "src/sync/parked.c": "all calls and shared locks wait with it: tests/api/call_test.c",
    "src/sync/shared_channel.c": "tests/api/shared_channel_test.c, and tests/interleave/",
    "src/sync/shared_lock.c": "tests/api/shared_lock_test.c, and tests/interleave/",
    "src/sync/shared_waiters.c": "all of shared.h waits with it; and tests/interleave/",
    "src/sync/queue.c": "needs a shard: tests/api/channel_test.c",
    "src/sync/waiters.c": "all of sync/ waits with it: tests/api/lock_test.c and others",
}

# Examples of several files, of any length.
LONG_EXAMPLES = ("examples/kv/", "examples/sim/")

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
EXAMPLE_LINES_MAX = 60

CODE_SUFFIXES = (".c", ".h", ".S", ".py", ".sh", ".cmake", ".in")
CODE_NAMES = ("CMakeLists.txt", "Makefile", ".ci/run", ".gitignore", ".clang-format", ".clang-tidy")
TEXT_SUFFIXES = CODE_SUFFIXES + (".md", ".json", ".txt")
ABOUT_TIDY = ("tools/tidy.py", "tests/tidy/")  # They name what they forbid.

NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


class File:
    """One source file; `path` is relative to the root, `code` has comments and strings blanked."""

    def __init__(self, root, path):
        self.root = root
        self.path = path
        with open(os.path.join(root, path), "rb") as stream:
            self.data = stream.read()
        self.text = self.data.decode("latin-1")
        self.lines = self.text.splitlines()
        self.is_c = path.endswith((".c", ".h"))
        self.is_code = path.endswith(CODE_SUFFIXES) or path.endswith(CODE_NAMES)
        self.code = NOT_CODE.sub(blank, self.text).splitlines() if self.is_c else []

    def inside(self, *folders):
        return self.path.startswith(folders)

    def find(self, pattern, lines):
        return ((i, m) for i, line in enumerate(lines, 1) for m in [re.search(pattern, line)] if m)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def characters(file):
    for number, line in enumerate(file.text.split("\n"), 1):
        if not line.isascii():
            yield number, "not ASCII"
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
        if "\t" in line and not file.path.endswith("Makefile"):
            yield number, "a tab: use spaces"
        if file.is_code and len(line) > COLUMNS_MAX:
            yield number, f"{len(line)} columns: at most {COLUMNS_MAX}"
    if file.text and not file.text.endswith("\n"):
        yield len(file.lines), "no newline at the end of the file"


def file_length(file):
    if file.path.endswith(".h"):
        limit = 400 if file.inside("include/") else 300
    elif file.path.endswith(".c") and file.inside("examples/") and not file.inside(*LONG_EXAMPLES):
        limit = EXAMPLE_LINES_MAX
    else:
        limit = 800
    if file.is_code and len(file.lines) > limit:
        yield limit + 1, f"{len(file.lines)} lines: at most {limit}, so make it two files"


def function_length(file):
    start = None
    for number, line in enumerate(file.lines, 1):
        if file.path.endswith(".c") and line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            if number - start + 1 > FUNCTION_LINES_MAX:
                yield start, f"{number - start + 1} lines of function: at most {FUNCTION_LINES_MAX}"
            start = None


def opening(file):
    if file.is_code and not any("SPDX-License-Identifier: MIT" in s for s in file.lines[:2]):
        if not os.path.basename(file.path).startswith("."):
            yield 1, "no SPDX-License-Identifier: MIT on the first lines"
    if file.is_c and f"{os.path.basename(file.path)} - " not in "\n".join(file.lines[:4]):
        yield 1, f"does not open with a comment `{os.path.basename(file.path)} - its purpose`"


def includes(file):
    here = file.path.split("/")[1] if file.inside("src/") else None
    for number, match in file.find(r'^\s*#\s*include\s+"([^"]+)"', file.lines):
        there = match.group(1).split("/")[0] if "/" in match.group(1) else None
        if here in LAYERS:
            if there not in LAYERS:
                yield number, 'in src/ project headers are included as "layer/file.h"'
            elif LAYERS.index(there) > LAYERS.index(here) or (here, there) in SIBLINGS:
                yield number, f"layer {here} may not know layer {there}"
        elif file.inside(*PUBLIC_ONLY) and there in LAYERS:
            yield number, "not of the library: include <torc/...> only"


# What is banned: where, which code, what to do instead.
BANNED = [
    (("src/",), r"\b(malloc|calloc|realloc|strdup|free)\(", "the library does not use the heap: "
     "memory is the caller's, or comes with the shard", MAY_ALLOCATE),
    (("src/",), r"(?<!\w)assert\(", "use TORC_ASSERT(), which stays on in release builds", {}),
    (("src/",), r"\bv?[fd]?printf\(", "the library does not print: use base/log.h", MAY_PRINT),
    (("src/",), r"\b(strcpy|strcat|v?sprintf|gets)\(", "use the form that knows the size", {}),
    (("tests/",), r"\b(usleep|sleep)\(", "do not sleep to synchronise: wait for what you need", {}),
    (("src/", "include/"), r"\btypedef (struct|union|enum)\b", "say struct x, without typedef", {}),
    (("tools/", "examples/", "tests/", "bench/"), r"(->|\.)_[a-z]", "a private field of torc",
     LOOKS_INSIDE),
]


def banned_code(file):
    for folders, pattern, advice, allowed in BANNED:
        if file.inside(*folders) and file.path not in allowed:
            for number, match in file.find(pattern, file.code):
                yield number, f"`{match.group()}`: {advice}"


def leftovers(file):
    if not file.inside(*ABOUT_TIDY):
        for number, match in file.find(r"\b(FIXME|TODO|XXX)\b", file.lines):
            yield number, f"`{match.group()}`: do it, or open an issue"


def contracts(file):
    if file.inside("include/torc/"):
        for number, _ in file.find(r"^TORC_(API|CHECK)\b", file.code):
            if number < 2 or not file.lines[number - 2].rstrip().endswith("*/"):
                yield number, "no comment right above a public function"


def unit_tests(file):
    if not (file.inside("src/") and file.path.endswith(".c")):
        return
    test = re.sub(r"^src/(.*)\.c$", r"tests/unit/\1_test.c", file.path.replace("/sim/", "/sim_"))
    exists = os.path.exists(os.path.join(file.root, test))
    if not exists and file.path not in NO_UNIT_TEST:
        yield 1, f"has no {test}: write one, or a reason into NO_UNIT_TEST of tools/tidy.py"
    if exists and file.path in NO_UNIT_TEST:
        yield 1, "has a unit test: take it out of NO_UNIT_TEST of tools/tidy.py"


RULES = [characters, file_length, function_length, opening, includes, banned_code, leftovers,
         contracts, unit_tests]


def paths(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in (".git", ".cache", "__pycache__")
                            and not (folder == root and f.startswith("build")))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if path.endswith(TEXT_SUFFIXES + CODE_NAMES):
                yield path


def stale_exceptions(root):
    for table in (MAY_ALLOCATE, MAY_PRINT, LOOKS_INSIDE, NO_UNIT_TEST):
        for path in table:
            if not os.path.exists(os.path.join(root, path)):
                yield f"{path}: no such file, yet tools/tidy.py makes an exception for it"


def complaints(root):
    for path in paths(root):
        file = File(root, path)
        found = {(number, message) for rule in RULES for number, message in rule(file)}
        yield from (f"{path}:{number}: {message}" for number, message in sorted(found))


def main(arguments):
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = arguments[0] if arguments else here
    found = list(complaints(root)) + list(stale_exceptions(root))
    for line in found:
        print(line)
    print(f"tidy: {len(found)} complaints" if found else "tidy: nothing to complain about")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
