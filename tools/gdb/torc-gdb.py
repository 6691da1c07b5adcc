# SPDX-License-Identifier: MIT
"""torc-gdb.py - fibers in gdb, of live processes and of core files.

    gdb -x tools/gdb/torc-gdb.py PROGRAM [CORE | PID]

    torc fibers            one line per fiber: id, name, state, what it waits for, body
    torc bt ID [full]      the stack of a fiber; SHARD.ID where several shards have that ID
    torc bt all            the stacks of all fibers

x86-64 or aarch64. Needs neither debug information nor symbols: libtorc carries a table that says
where its structures have their fields (include/torc/inspect.h), and a note that leads there.

It reads only: no register is written and nothing is called. Instead an unwinder tells gdb, for as
long as a command takes, that the innermost frame was called from the place where a fiber is parked.
That place, with the fiber's saved stack pointer, is all it has to know, since the CFI there
describes the rest.
"""
import re
import struct
import time

import gdb
import gdb.unwinder

REGISTERS = {"i386:x86-64": ("rip", "rsp"), "aarch64": ("pc", "sp")}
VERSION = 1  # of the table
NOTE_HEAD = 20  # before the contents of the note
NONE = -32768  # a place that a kind of wait does not have
STATES = ("FREE", "NEW", "READY", "RUNNING", "WAITING", "INTERRUPTED")
PARKED = ("READY", "WAITING", "INTERRUPTED")
OP, OPS, TIMER, SCOPE, DESCRIPTOR, OBJECT, SHARD, FUNCTION, SELECT = range(1, 10)
OPERATIONS = """nop readv writev fsync read_fixed write_fixed poll poll_remove sync_range sendmsg
    recvmsg timeout timeout_remove accept async_cancel link_timeout connect fallocate openat close
    files_update statx read write fadvise madvise send recv openat2 epoll_ctl splice
    provide_buffers remove_buffers tee shutdown renameat unlinkat mkdirat symlinkat linkat msg_ring
    fsetxattr setxattr fgetxattr getxattr socket uring_cmd send_zc sendmsg_zc read_multishot waitid
    futex_wait futex_wake futex_waitv fixed_fd_install ftruncate bind listen recv_zc epoll_wait
    readv_fixed writev_fixed pipe""".split()


class ParkedUnwinder(gdb.unwinder.Unwinder):
    """Makes a parked fiber the caller of the innermost frame, while `sp` is set."""

    class FrameId:
        def __init__(self, sp, pc):
            self.sp = sp
            self.pc = pc

    def __init__(self):
        super().__init__("torc-parked-fiber")
        self.sp = None
        self.resume = None

    def __call__(self, pending):
        if self.sp is None or pending.level() != 0:
            return None
        pc_name, sp_name = REGISTERS[pending.architecture().name()]
        # Without symbols there may be no type of that size by name but this one.
        word = gdb.selected_inferior().architecture().integer_type(64, False)
        # gdb rejects a caller that is further in than its callee, so the callee's frame is said to
        # be just below that of the fiber.
        frame_id = self.FrameId(gdb.Value(self.sp - 16).cast(word), pending.read_register(pc_name))
        info = pending.create_unwind_info(frame_id)
        info.add_saved_register(pc_name, gdb.Value(self.resume).cast(word))
        info.add_saved_register(sp_name, gdb.Value(self.sp).cast(word))
        return info


unwinder = ParkedUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def read(address, length):
    return bytes(gdb.selected_inferior().read_memory(address, length))


def read_word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def read_text(address, limit=64):
    text = b""
    while address and len(text) < limit:
        try:
            text += read(address + len(text), 1)
        except gdb.MemoryError:
            break
        if text.endswith(b"\0"):
            return text[:-1].decode(errors="replace")
    return text.decode(errors="replace")


def symbol(address):
    """The name of what is at an address, or the address."""
    text = gdb.execute(f"info symbol {address}", to_string=True)
    return text.split()[0] if " in section " in text else hex(address)


class Table:
    """What libtorc tells of itself: field("shard.next") is (offset, size)."""

    def __init__(self, address):
        self.address = address
        magic, version, count, name = struct.unpack("<8sII16s", read(address, 32))
        if magic.rstrip(b"\0") != b"torc" or version != VERSION:
            name = name.rstrip(b"\0").decode(errors="replace")
            raise gdb.GdbError(f"torc: this script cannot read torc {name}")
        (self.shards, self.resume, fields,
         self.chunk) = struct.unpack("<QQQQ", read(address + 32, 32))
        self.fields = {}
        for name, offset, size in struct.iter_unpack("<24sII", read(fields, count * 32)):
            self.fields[name.rstrip(b"\0").decode()] = (offset, size)

    def offset(self, name):
        return self.fields[name][0]

    def get(self, name, data):
        offset, size = self.fields[name]
        return int.from_bytes(data[offset:offset + min(size, 8)], "little")


def tables():
    """The tables of all copies of libtorc in the process, found by their notes or by name."""
    found = []
    for match in re.finditer(r"(0x[0-9a-f]+) - 0x[0-9a-f]+ is \.note\.torc",
                             gdb.execute("info files", to_string=True)):
        contents = int(match[1], 16) + NOTE_HEAD
        distance = struct.unpack("<q", read(contents, 8))[0]
        found.append(contents + distance)
    if not found:
        try:
            found.append(int(gdb.parse_and_eval("(unsigned long)&torc__inspect")))
        except gdb.error:
            raise gdb.GdbError("torc: there is no torc in this program") from None
    return [Table(address) for address in found]


class Shard:
    def __init__(self, table, address):
        self.table = table
        self.address = address
        data = read(address, table.offset("shard.size"))
        self.index = table.get("shard.index", data)
        self.running = table.get("shard.running", data)
        self.mailbox = table.get("shard.mailbox", data)
        self.round_time = table.get("shard.round_time", data)
        self.chunks = table.get("shard.chunks", data)
        self.next = table.get("shard.next", data)
        self.thread = find_thread(table.get("shard.thread", data))

    def blocks(self):
        """Yields (address, bytes) of every block that is a fiber."""
        table = self.table
        size = table.offset("fiber.size")
        chunk = self.chunks
        while chunk:
            start = chunk + table.offset("chunk.fibers")
            data = read(start, size * table.chunk)
            for at in range(0, len(data), size):
                block = data[at:at + size]
                if table.get("fiber.state", block):
                    yield start + at, block
            chunk = read_word(chunk + table.offset("chunk.next"))


def find_thread(number):
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == number:
            return thread
    return gdb.selected_thread()  # In another PID namespace threads have other numbers.


class Wait:
    """What a fiber waits for, in words."""

    def __init__(self, fiber, kind, waits_for):
        (interrupt, name, form, self.object, self.base, self.owner, self.fd,
         self.count) = struct.unpack("<QQHhhhhh", read(kind, 28))
        self.fiber = fiber
        self.at = waits_for
        self.text = read_text(name)
        try:
            self.describe(form)
        except gdb.MemoryError:
            pass
        if not interrupt:
            self.text += " (goes on)"

    def describe(self, form):
        if form == OP:
            self.describe_op(self.at)
        elif form == OPS and self.number("count") == 1:
            self.describe_op(read_word(read_word(self.at + self.object)))
        elif form in (OPS, SELECT):
            self.text += f" of {self.number('count')}"
        elif form == DESCRIPTOR:
            at = self.place() if self.object != NONE else self.at
            self.text += f" on {struct.unpack('<i', read(at + self.fd, 4))[0]}"
        elif form == OBJECT:
            place = self.place()
            self.text += f" {symbol(place)}"
            owner = read_word(place + self.owner) if self.owner != NONE else 0
            if owner:
                self.text += f", held by {self.fiber.name_of(owner)}"
        elif form == FUNCTION:
            self.text += f" {symbol(self.place())}()"

    def describe_op(self, at):
        table = self.fiber.shard.table
        data = read(at, table.offset("op.size"))
        opcode = table.get("op.opcode", data)
        if opcode < len(OPERATIONS):
            fd = struct.unpack("<i", struct.pack("<I", table.get("op.fd", data)))[0]
            self.text = f"{OPERATIONS[opcode]} on {fd}"

    def place(self):
        return read_word(self.at + self.object) - self.base

    def number(self, field):
        return struct.unpack("<I", read(self.at + getattr(self, field), 4))[0]


class Fiber:
    """A fiber's block, and the thread of its shard."""

    def __init__(self, shard, address, block, now):
        table = shard.table
        self.shard = shard
        self.id = table.get("fiber.id", block)
        self.sp = table.get("fiber.sp", block)
        self.name = self.name_by_stack(table.get("fiber.stack", block))
        state = table.get("fiber.state", block)
        self.state = STATES[state] if state < len(STATES) else str(state)
        self.body = symbol(table.get("fiber.body", block))
        self.is_running = shard.running == address
        self.has_stack = table.get("fiber.stack", block) != 0
        self.waits_for = ""
        if self.state in ("WAITING", "INTERRUPTED"):
            wait = Wait(self, table.get("fiber.wait", block), table.get("fiber.waits_for", block))
            since = max(0, now - table.get("fiber.since", block)) / 1e9
            self.waits_for = f"{wait.text}, {since:.3f} s"

    def name_by_stack(self, stack):
        if not stack:
            return ""
        return read_text(read_word(stack + self.shard.table.offset("stack.name")))

    def name_of(self, block):
        """The name of another fiber, or of the thread that it is instead."""
        try:
            data = read(block, self.shard.table.offset("fiber.size"))
            name = self.name_by_stack(self.shard.table.get("fiber.stack", data))
        except gdb.MemoryError:
            return "a thread"
        return f"fiber {self.shard.table.get('fiber.id', data)} \"{name}\""

    def is_called(self, name):
        return name in ("all", str(self.id), f"{self.shard.index}.{self.id}")


def shards():
    found = []
    for table in tables():
        address = read_word(table.shards)
        while address:
            found.append(Shard(table, address))
            address = found[-1].next
    return sorted(found, key=lambda shard: (shard.table.address, shard.index))


def clock(all_shards):
    """The time now; of a core file the last that a shard has noted."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is not None and connection.type == "native":
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return max((shard.round_time for shard in all_shards), default=0)


def fibers():
    all_shards = shards()
    now = clock(all_shards)
    for shard in all_shards:
        for address, block in shard.blocks():
            yield Fiber(shard, address, block, now)


def print_frames(lines, skipped):
    for line in lines:
        if line.startswith("#"):
            number, rest = line[1:].split(" ", 1)
            line = f"#{int(number) - skipped} {rest}"
        print("  " + line)


def print_stack(fiber, options):
    if fiber.is_running:
        fiber.shard.thread.switch()
        print_frames(gdb.execute("bt" + options, to_string=True).splitlines(), 0)
    elif not fiber.has_stack:
        print("  has not run yet, and has no stack")
    elif fiber.state not in PARKED:
        print("  is just leaving its thread, or coming to it")
    else:
        fiber.shard.thread.switch()
        unwinder.sp = fiber.sp
        unwinder.resume = fiber.shard.table.resume
        gdb.invalidate_cached_frames()
        try:
            lines = gdb.execute("bt" + options, to_string=True).splitlines()
        finally:
            unwinder.sp = None
            gdb.invalidate_cached_frames()
        first = [i for i, line in enumerate(lines) if line.startswith("#1 ")]
        print_frames(lines[first[0]:] if first else lines, 1 if first else 0)


def with_selection_kept(function):
    thread = gdb.selected_thread()
    if thread is None:
        raise gdb.GdbError("torc: there is no process and no core file")
    frame = gdb.selected_frame()
    try:
        return function()
    finally:
        thread.switch()
        if frame.is_valid():
            frame.select()


class TorcCommand(gdb.Command):
    """Fibers of torc: torc fibers, torc bt."""

    def __init__(self):
        super().__init__("torc", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class FibersCommand(gdb.Command):
    """torc fibers: list all fibers of all shards."""

    def __init__(self):
        super().__init__("torc fibers", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        with_selection_kept(self.list)

    def list(self):
        form = "{:>5} {:>7}  {:<20} {:<12} {:<32} {}"
        print(form.format("shard", "fiber", "name", "state", "waits for", "body"))
        count = 0
        for fiber in fibers():
            count += 1
            print(form.format(fiber.shard.index, fiber.id, fiber.name, fiber.state,
                              fiber.waits_for, fiber.body))
        print(f"{count} fibers")


class BtCommand(gdb.Command):
    """torc bt ID|SHARD.ID|all [options of bt]: show the stacks of fibers."""

    def __init__(self):
        super().__init__("torc bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split()
        if not words:
            raise gdb.GdbError("torc bt ID|SHARD.ID|all [options of bt]")
        options = "".join(" " + word for word in words[1:])
        with_selection_kept(lambda: self.show(words[0], options))

    def show(self, name, options):
        # All are collected first: showing a stack selects threads.
        found = [fiber for fiber in fibers() if fiber.is_called(name)]
        for fiber in found:
            waits = f", {fiber.waits_for}" if fiber.waits_for else ""
            print(f'fiber {fiber.shard.index}.{fiber.id} "{fiber.name}", {fiber.state}{waits}, '
                  f"{fiber.body}:")
            print_stack(fiber, options)
        if not found:
            raise gdb.GdbError(f"torc: there is no fiber {name}")


TorcCommand()
FibersCommand()
BtCommand()
