# SPDX-License-Identifier: MIT
"""torc-gdb.py - fibers in gdb, of live processes and of core files.

    gdb -x tools/gdb/torc-gdb.py PROGRAM [CORE | PID]

    torc fibers            one line per fiber: id, name, state, what it waits in, body
    torc bt ID [full]      the stack of a fiber; SHARD.ID where several shards have that ID
    torc bt all            the stacks of all fibers

Needs the debug information of libtorc, x86-64 or aarch64. It reads only: no register is written and
nothing is called. Instead an unwinder tells gdb, for as long as a command takes, that the innermost
frame was called from the place where a fiber is parked. That place, torc__context_resume with the
fiber's saved stack pointer, is all it has to know, since the CFI there describes the rest.
"""
import gdb
import gdb.unwinder

REGISTERS = {"i386:x86-64": ("rip", "rsp"), "aarch64": ("pc", "sp")}


class ParkedUnwinder(gdb.unwinder.Unwinder):
    """Makes a parked fiber the caller of the innermost frame, while `sp` is set."""

    class FrameId:
        def __init__(self, sp, pc):
            self.sp = sp
            self.pc = pc

    def __init__(self):
        super().__init__("torc-parked-fiber")
        self.sp = None

    def __call__(self, pending):
        if self.sp is None or pending.level() != 0:
            return None
        pc_name, sp_name = REGISTERS[pending.architecture().name()]
        word = gdb.lookup_type("unsigned long")
        # gdb rejects a caller that is further in than its callee, so the callee's frame is said to
        # be just below that of the fiber.
        frame_id = self.FrameId(gdb.Value(self.sp - 16).cast(word), pending.read_register(pc_name))
        info = pending.create_unwind_info(frame_id)
        resume = int(gdb.parse_and_eval("(unsigned long)&torc__context_resume"))
        info.add_saved_register(pc_name, gdb.Value(resume).cast(word))
        info.add_saved_register(sp_name, gdb.Value(self.sp).cast(word))
        return info


unwinder = ParkedUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


class Fiber:
    """A fiber's block, and the thread of its shard."""

    def __init__(self, thread, shard, block):
        self.thread = thread
        self.shard = int(shard["index"])
        self.id = int(block["id"])
        self.sp = int(block["sp"])
        stack = block["stack"]
        name = stack["name"] if int(stack) else stack
        self.name = name.string(errors="replace") if int(name) else ""
        self.state = state_name(int(block["state"]))
        self.body = symbol(block["body"])
        self.is_running = int(shard["running"]) == int(block.address)
        self.waits_in = ""
        if self.state in ("WAITING", "INTERRUPTED"):
            interrupt = symbol(block["interrupt"]) if int(block["interrupt"]) else ""
            interrupt = interrupt.replace("torc__", "").replace("interrupt_", "")
            self.waits_in = interrupt or "uninterruptible"

    def is_called(self, name):
        return name in ("all", str(self.id), f"{self.shard}.{self.id}")


def state_name(number):
    for field in gdb.lookup_type("enum fiber_state").fields():
        if field.enumval == number:
            return field.name.replace("FIBER_", "")
    return str(number)


def symbol(pointer):
    """The name of the function a pointer points to."""
    text = pointer.format_string(symbols=True, address=True)
    return text[text.index("<") + 1 : text.rindex(">")] if "<" in text else text


def shards():
    """Yields (thread, shard); each is the selected thread while it is looked at."""
    try:
        gdb.lookup_type("struct torc__shard")
    except gdb.error:
        raise gdb.GdbError("torc: the program has no debug information of libtorc") from None
    problem = None
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
        if not thread.is_valid():
            continue
        thread.switch()
        try:
            shard = gdb.parse_and_eval("torc__shard")
        except gdb.error as error:
            problem = error
            continue
        if int(shard):
            problem = None
            yield thread, shard.dereference()
    if problem is not None:
        print(f"torc: not every thread could be looked at: {problem}")


def fibers():
    for thread, shard in shards():
        chunk = shard["fibers"]["chunks"]
        while int(chunk):
            blocks = chunk["fibers"]
            first, last = blocks.type.range()
            for i in range(first, last + 1):
                if int(blocks[i]["state"]):
                    yield Fiber(thread, shard, blocks[i])
            chunk = chunk["next"]


def print_frames(lines, skipped):
    for line in lines:
        if line.startswith("#"):
            number, rest = line[1:].split(" ", 1)
            line = f"#{int(number) - skipped} {rest}"
        print("  " + line)


def print_stack(fiber, options):
    if fiber.is_running:
        fiber.thread.switch()
        print_frames(gdb.execute("bt" + options, to_string=True).splitlines(), 0)
    elif fiber.sp == 0:
        print("  has not run yet, and has no stack")
    else:
        fiber.thread.switch()
        unwinder.sp = fiber.sp
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
        form = "{:>5} {:>7}  {:<20} {:<12} {:<16} {}"
        print(form.format("shard", "fiber", "name", "state", "waits in", "body"))
        count = 0
        for fiber in fibers():
            count += 1
            print(form.format(fiber.shard, fiber.id, fiber.name, fiber.state, fiber.waits_in,
                              fiber.body))
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
        # All are collected first: showing a stack selects threads, as collecting does.
        found = [fiber for fiber in fibers() if fiber.is_called(name)]
        for fiber in found:
            print(f'fiber {fiber.shard}.{fiber.id} "{fiber.name}", {fiber.state}, {fiber.body}:')
            print_stack(fiber, options)
        if not found:
            raise gdb.GdbError(f"torc: there is no fiber {name}")


TorcCommand()
FibersCommand()
BtCommand()
