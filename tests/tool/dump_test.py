#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""dump_test.py - torc dump shows every fiber of a running process, and leaves it as it was."""
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import tool

DUMPED = os.path.join(os.path.dirname(tool.TORC), "tests", "tool", "tool_dumped")
MANY = 300 if tool.SLOW else 10000


class Dumped:
    """A program to be looked at: `with Dumped("waits") as dumped:` and then dumped.pid."""

    def __init__(self, *arguments, program=DUMPED, ready=True):
        self.stderr = tempfile.TemporaryFile()  # Never full, unlike a pipe.
        # Written at its end, wherever we are reading.
        fcntl.fcntl(self.stderr, fcntl.F_SETFL, os.O_APPEND)
        self.process = subprocess.Popen(
            [program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.stderr, text=True)
        self.pid = self.process.pid
        if ready and self.process.stdout.readline() != "ready\n":
            self.process.kill()
            raise AssertionError(f"tool_dumped did not start: {self.errors()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.stderr.close()

    def wait_for(self, condition):
        """Wait until what the program has said is so."""
        try:
            tool.wait_until(lambda: condition(self.errors()), "what the program says")
        except AssertionError as error:
            raise AssertionError(f"{error}, which is only: {self.errors()}") from None

    def errors(self):
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")


def dump(pid, *options):
    """What torc dump --json says of a process."""
    result = tool.torc("dump", "--json", *options, pid)
    if result.returncode != 0 or result.stderr:
        raise AssertionError(f"torc dump ended with {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


def by_name(all_fibers):
    return {fiber["name"]: fiber for fiber in all_fibers["fibers"]}


def functions(dumped, fiber):
    """The functions on a fiber's stack, innermost first, without what compilers append."""
    if fiber["stack"] is None:
        return []
    frames = dumped["stacks"][fiber["stack"]]["frames"]
    return [(frame["function"] or "?").partition(".")[0] for frame in frames]


def dump_until(pid, condition, what):
    """Look until all has come to where it should be."""
    found = {}

    def look():
        found["dump"] = dump(pid)
        return condition(found["dump"])

    tool.wait_until(look, what)
    return found["dump"]


def all_wait(dumped):
    fibers = by_name(dumped)
    states = [fiber["state"] for fiber in dumped["fibers"]]
    blocker = fibers.get("blocker", {}).get("wait", {})
    asked = "asked" in fibers and fibers["asked"].get("wait", {}).get("for") == "sleep"
    locks = sum(fiber.get("wait", {}).get("for") == "shared mutex" for fiber in dumped["fibers"])
    return (set(states) == {"waiting"} and "on a thread of the pool" in blocker.get("text", "")
            and asked and locks == 1)


def spins(dumped):
    """Whether the fiber is where it hangs; without stacks there is no telling."""
    spinner = by_name(dumped).get("spinner", {"state": ""})
    return spinner["state"] == "running" and (
        not dumped["stacks_known"] or "spin" in functions(dumped, spinner))


def dozes(dumped):
    """Whether the shard sleeps in the kernel; a sleep that was stopped before is restarted."""
    return dumped["shards"][0].get("kernel") in ("nanosleep", "clock_nanosleep", "restart_syscall")


class Waits(tool.TestCase):
    @classmethod
    def setUpClass(cls):
        with Dumped("waits") as dumped:
            cls.dump = dump_until(dumped.pid, all_wait, "all fibers to wait")
            cls.text = tool.torc("dump", "--all", dumped.pid).stdout
            cls.without = dump(dumped.pid, "--no-stacks")
        cls.fibers = by_name(cls.dump)

    def wait_of(self, name):
        return self.fibers[name]["wait"]

    def symbol(self, name):
        """What is said of a global variable or function; nothing without elfutils."""
        return name if self.dump["stacks_known"] else None

    def test_both_shards_were_looked_at_and_stopped(self):
        self.assertEqual([shard["shard"] for shard in self.dump["shards"]], [0, 1])
        for shard in self.dump["shards"]:
            self.assertTrue(shard["stopped"], shard)
            self.assertGreater(shard["pause_ns"], 0)
            self.assertIn(shard["driver"], ("uring", "epoll"))

    def test_an_operation_is_named_with_its_descriptor(self):
        wait = self.wait_of("reader")
        self.assertEqual(wait["for"], "recv")
        self.assertGreater(wait["fd"], 2)
        self.assertTrue(wait["fd_is"].startswith("unix"), wait)
        self.assertTrue(wait["interruptible"])

    def test_a_sleep_tells_how_much_is_left(self):
        wait = self.wait_of("sleeper")
        self.assertEqual(wait["for"], "sleep")
        self.assertGreater(wait["left_ns"], 0)
        self.assertLessEqual(wait["left_ns"], 3600 * 10**9)

    def test_a_lock_is_named_with_who_holds_it(self):
        wait = self.wait_of("locker")
        self.assertEqual((wait["for"], wait["symbol"], wait["owner"]["name"]),
                         ("mutex", self.symbol("taken"), "holder"))
        self.assertRegex(wait["text"], r'held by fiber 0\.\d+ "holder"')

    def test_what_fibers_wait_with_is_named(self):
        for name, kind, symbol in (
                ("event", "event", "never"), ("acquirer", "semaphore", "units"),
                ("receiver", "channel receive", "empty"), ("grouper", "wait group", "group")):
            wait = self.wait_of(name)
            self.assertEqual((wait["for"], wait["symbol"]), (kind, self.symbol(symbol)))

    def test_a_lock_between_shards_is_named_with_who_holds_it(self):
        waits = [fiber["wait"] for fiber in self.dump["fibers"]
                 if fiber.get("wait", {}).get("for") == "shared mutex"]
        self.assertEqual(len(waits), 1)
        self.assertEqual((waits[0]["symbol"], waits[0]["owner"]["name"]),
                         (self.symbol("shared"), "shared"))

    def test_a_select_tells_how_many_cases_it_has(self):
        self.assertEqual((self.wait_of("selector")["for"], self.wait_of("selector")["count"]),
                         ("select", 2))

    def test_streams_and_listeners_are_named_with_their_descriptors(self):
        self.assertIn(self.wait_of("streamer")["for"], ("stream read", "recv", "poll", "read"))
        self.assertTrue(self.wait_of("streamer")["fd_is"].startswith("unix"))
        self.assertEqual(self.wait_of("acceptor")["for"], "accept")
        self.assertRegex(self.wait_of("acceptor")["fd_is"], r"^tcp 127\.0\.0\.1:\d+, listens$")

    def test_a_blocking_call_is_named_by_its_function(self):
        self.assertEqual(self.wait_of("blocker")["symbol"], self.symbol("block"))

    def test_a_call_names_the_shard_that_is_asked(self):
        self.assertEqual((self.wait_of("asker")["for"], self.wait_of("asker")["shard"]),
                         ("another shard", 1))
        self.assertEqual(self.fibers["asked"]["shard"], 1)

    def test_scopes_are_a_path_with_its_deadline(self):
        nested = self.fibers["nested"]
        self.assertEqual([owner["name"] for owner in nested["path"]], ["closer"])
        self.assertEqual(nested["scopes_open"], 1)
        self.assertGreater(nested["deadline_in_ns"], 0)
        self.assertEqual((self.wait_of("closer")["for"], self.wait_of("closer")["count"]),
                         ("scope close", 1))
        self.assertFalse(self.wait_of("closer")["interruptible"])
        self.assertNotIn("deadline_in_ns", self.fibers["closer"])
        self.assertIn("scope   root > closer, and 1 of its own; deadline in", self.text)

    def test_every_wait_tells_for_how_long(self):
        for fiber in self.dump["fibers"]:
            self.assertGreater(fiber["wait"]["since_ns"], 0, fiber)

    def test_stacks_have_functions_files_and_lines(self):
        self.require_stacks()
        stack = self.dump["stacks"][self.fibers["reader"]["stack"]]["frames"]
        self.assertEqual(functions(self.dump, self.fibers["reader"]),
                         ["torc_recv", "await_bytes", "reader"])
        self.assertTrue(stack[1]["file"].endswith("dumped.c"))
        self.assertGreater(stack[1]["line"], 0)
        self.assertEqual(self.fibers["reader"]["body"], "reader")

    def test_stacks_tell_how_much_was_ever_used(self):
        reader = self.fibers["reader"]
        self.assertGreater(reader["stack_used"], 0)
        self.assertLessEqual(reader["stack_used"], reader["stack_size"])

    def test_stacks_may_be_left_out(self):
        self.assertEqual(self.without["stacks"], [])
        self.assertEqual(len(self.without["fibers"]), len(self.dump["fibers"]))
        self.assertEqual(by_name(self.without)["reader"]["wait"]["for"], "recv")

    def test_the_text_says_the_same(self):
        self.assertRegex(self.text, r'fiber 0\.\d+ "reader", .*waiting for .*: recv on \d+ \(unix')
        self.assertRegex(self.text, r'"sleeper".*sleep, .* left\n')
        self.assertRegex(self.text, r'"closer".*scope close, 1 fibers left \(not interruptible\)\n')

    def require_stacks(self):
        if not self.dump["stacks_known"]:
            self.skipTest("torc was built without elfutils")


class Running(tool.TestCase):
    def test_a_fiber_that_hangs_is_shown_where_it_does(self):
        with Dumped("hangs") as dumped:
            found = dump_until(dumped.pid, spins, "the fiber to spin")
        spinner = by_name(found)["spinner"]
        self.assertGreater(spinner["running_ns"], 0)
        self.assertEqual(by_name(found)["reader"]["wait"]["for"], "recv")
        self.assertNotIn("kernel", found["shards"][0])
        if found["stacks_known"]:
            calls = functions(found, spinner)
            self.assertEqual(calls[calls.index("spin") + 1], "spinner")

    def test_a_blocking_system_call_on_a_shard_is_named(self):
        with Dumped("blocks") as dumped:
            found = dump_until(dumped.pid, dozes, "the call")
        self.assertEqual(by_name(found)["dozer"]["state"], "running")
        if found["stacks_known"]:
            self.assertIn("dozer", functions(found, by_name(found)["dozer"]))

    def test_fibers_that_keep_running_are_shown_where_they_are(self):
        with Dumped("busy", MANY) as dumped:
            for _ in range(5):
                found = dump(dumped.pid)
                fibers = [f for f in found["fibers"] if f["name"] == "restless"]
                self.assertEqual(len(fibers), MANY)
                for fiber in fibers:
                    if fiber["state"] == "waiting":
                        self.assertEqual(fiber["wait"]["for"], "sleep", fiber)
                    if fiber["state"] == "waiting" and fiber["stack"] is not None:
                        self.assertEqual(functions(found, fiber)[-1], "restless", fiber)

    def test_many_fibers_are_shown_together(self):
        with Dumped("many", MANY) as dumped:
            found = dump(dumped.pid)
            text = tool.torc("dump", dumped.pid).stdout
        many = [fiber for fiber in found["fibers"] if fiber["name"] == "many"]
        self.assertEqual(len(many), MANY)
        self.assertEqual(len({fiber["stack"] for fiber in many}), 1)
        self.assertRegex(text, rf"\n{MANY:,} fibers waiting for .*: recv on ")
        self.assertLess(text.count("\n"), 40)

    def test_names_are_made_fit_for_a_terminal_and_for_json(self):
        fit = {"?[2Jred", "caf\u00e9", "caf?", "two?lines", "??H"}
        long = ("-" + 32 * "\u00e9", "--" + 32 * "\u00e9")
        with Dumped("names") as dumped:
            found = by_name(dump(dumped.pid, "--no-stacks"))
            text = tool.torc("dump", "--no-stacks", dumped.pid).stdout
            top = tool.torc("top", "--once", "--interval", "50ms", dumped.pid).stdout
            top_json = tool.torc("top", "--once", "--json", "--interval", "50ms", dumped.pid).stdout
        self.assertLessEqual(fit, set(found))
        self.assertLessEqual(fit, {name["name"] for name in json.loads(top_json)["names"]})
        for name in fit:
            self.assertIn(f'"{name}"', text)
            self.assertIn(f"\n{name} ", top)
        self.assertNotIn("\x1b", text + top)
        for name in long:  # They are cut off, behind a whole character and in line with others.
            self.assertRegex(text, f'"{name[:15]}\u00e9*"')
            self.assertRegex(top, f"\n{name[:20]:<26} +0.0 ")
            self.assertTrue(any(name.startswith(seen) and len(seen) > 15 for seen in found), found)
            self.assertTrue(any(name.startswith(seen["name"]) and len(seen["name"]) > 18
                                for seen in json.loads(top_json)["names"]), top_json)

    def test_operations_that_keep_a_shard_without_fibers_are_shown(self):
        def has_ended(found):
            return not found["fibers"]
        with Dumped("leaves") as dumped:
            found = dump_until(dumped.pid, has_ended, "the end of all fibers")
            text = tool.torc("dump", dumped.pid).stdout
            dumped.wait_for(lambda said: "of the listener at 0x" in said and "accept" in said)
        operation, = found["shards"][0]["operations"]
        self.assertEqual((operation["operation"], operation["feed"]), ("accept", False))
        self.assertRegex(operation["fd_is"], r"^tcp 127\.0\.0\.1:\d+, listens$")
        self.assertRegex(text, r"\n    in flight: accept on \d+ \(tcp 127\.0\.0\.1:\d+, listens\), "
                               r"of what was opened by ")
        if found["stacks_known"]:
            # The compiler may have made a clone of it, as open_listener.constprop.0.
            self.assertEqual(operation["opened_by"].partition(".")[0], "open_listener")

    def test_the_process_goes_on_as_before(self):
        with tool.Echo("--shards", 2) as echo, echo.connect() as connection:
            for _ in range(20):
                dump(echo.process.pid)
                connection.sendall(b"still here")
                self.assertEqual(tool.receive(connection, 10), b"still here")
            with open(f"/proc/{echo.process.pid}/status", encoding="ascii") as status:
                self.assertIn("TracerPid:\t0\n", status.read())
            self.assertEqual(echo.stop()[0], 0)

    def test_what_others_debug_is_shown_too(self):
        seize, detach = 0x4206, 17
        libc = ctypes.CDLL(None, use_errno=True)
        with Dumped("many", 3) as dumped:
            if libc.ptrace(seize, dumped.pid, None, None) != 0:
                self.skipTest("ptrace() is refused")
            found = dump(dumped.pid)
            libc.ptrace(detach, dumped.pid, None, None)
        self.assertFalse(found["shards"][0]["stopped"])
        self.assertIn(f"process {os.getpid()} debugs it", found["shards"][0]["problem"])
        self.assertEqual(sum(fiber["name"] == "many" for fiber in found["fibers"]), 3)

    def test_a_process_need_not_be_stopped(self):
        with Dumped("many", 3) as dumped:
            found = dump(dumped.pid, "--no-stop")
        self.assertFalse(found["shards"][0]["stopped"])
        self.assertEqual(sum(fiber["name"] == "many" for fiber in found["fibers"]), 3)

    def test_a_stripped_program_needs_no_symbols(self):
        strip = shutil.which("strip")
        if strip is None:
            self.skipTest("there is no strip")
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "stripped")
            subprocess.run([strip, "-o", program, DUMPED], check=True)
            with Dumped("many", 3, program=program) as dumped:
                found = dump(dumped.pid)
        many = [fiber for fiber in found["fibers"] if fiber["name"] == "many"]
        self.assertEqual([fiber["wait"]["for"] for fiber in many], ["recv"] * 3)
        if found["stacks_known"]:
            frames = found["stacks"][many[0]["stack"]]["frames"]
            self.assertGreater(len(frames), 3)
            self.assertTrue(any(frame["module"].endswith("stripped") for frame in frames))


class Errors(tool.TestCase):
    def test_wrong_arguments_are_named(self):
        self.assert_fails(tool.torc("dump"), 2)
        self.assert_fails(tool.torc("dump", "me"), 2)
        self.assert_fails(tool.torc("dump", "-5"), 2)
        result = tool.torc("dump", 1, 2)
        self.assert_fails(result, 2)
        self.assertIn("one process at a time", result.stderr)
        self.assert_fails(tool.torc("dump", "--all", "--group", "1"), 2)

    def test_a_process_that_is_not_there_is_named(self):
        with subprocess.Popen(["true"]) as gone:
            gone.wait()
        result = tool.torc("dump", gone.pid)
        self.assert_fails(result, 1)
        self.assertEqual(result.stderr, f"torc dump: there is no process {gone.pid}\n")

    def test_a_process_that_has_ended_and_is_there_still_is_named(self):
        with subprocess.Popen(["true"]) as zombie:
            os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
            result = tool.torc("dump", zombie.pid)
        self.assert_fails(result, 1)
        self.assertIn("which has ended", result.stderr)

    def test_a_process_without_torc_is_named(self):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
            tool.wait_until(lambda: runs_cat(other.pid), "cat")
            result = tool.torc("dump", other.pid)
            other.stdin.close()
        self.assert_fails(result, 1)
        self.assertIn(f"there is no torc in process {other.pid} (cat)", result.stderr)

    def test_who_may_not_look_is_told_so(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        with Dumped("many", 3) as dumped:
            try:
                result = tool.torc("dump", dumped.pid, preexec=lambda: os.setuid(65534))
            except (PermissionError, subprocess.SubprocessError) as error:
                self.skipTest(f"somebody else cannot run the command: {error}")
        self.assert_fails(result, 1)
        self.assertIn(f"may not look into process {dumped.pid}", result.stderr)

    def test_a_program_that_does_not_run_torc_now_has_no_shards(self):
        with Dumped("idle") as dumped:
            result = tool.torc("dump", dumped.pid)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("no shard runs just now", result.stdout)

    def test_help_shows_the_options(self):
        result = tool.torc("dump", "--help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for option in ("--all", "--group", "--json", "--no-stacks", "--no-stop"):
            self.assertIn(option, result.stdout)


def runs_cat(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return file.read() == "cat\n"


class Inside(tool.TestCase):
    """What the program prints itself."""

    def test_sigquit_prints_all_fibers_of_all_shards_and_the_program_goes_on(self):
        with Dumped("waits") as dumped:
            dump_until(dumped.pid, all_wait, "all fibers to wait")
            dumped.process.send_signal(signal.SIGQUIT)
            dumped.wait_for(lambda text: printed(text, 2))
            text = dumped.errors()
            self.assertIsNone(dumped.process.poll())
            found = dump(dumped.pid)
        self.assertEqual(len(found["fibers"]), count_fibers(text))
        self.assertRegex(text, r'fiber 0\.\d+ "reader" waits for \d+\.\d+ s: operation on desc')
        self.assertRegex(text, r'fiber 0\.\d+ "locker" waits for \d+\.\d+ s: mutex\n')
        self.assertRegex(text, r"tool_dumped\(\+0x[0-9a-f]+\)")

    def test_sigquit_reaches_a_shard_that_hangs(self):
        if under_tsan():
            self.skipTest("ThreadSanitizer delivers signals at the next call only")
        with Dumped("hangs") as dumped:
            dump_until(dumped.pid, spins, "the fiber to spin")
            dumped.process.send_signal(signal.SIGQUIT)
            dumped.wait_for(lambda text: printed(text, 1))
            text = dumped.errors()
            self.assertIsNone(dumped.process.poll())
        self.assertRegex(text, r'fiber 0\.\d+ "spinner" runs, for up to \d+ ms')
        self.assertRegex(text, r'fiber 0\.\d+ "reader" waits for')

    def test_fibers_that_refuse_to_end_are_named_with_their_stacks(self):
        with Dumped("holds") as dumped:
            dumped.wait_for(lambda text: "stands where" in text)
            text = dumped.errors()
        self.assertIn("shard 0: 3 fibers have not ended since the shard was stopped", text)
        self.assertEqual(len(re.findall(r'"stubborn" waits for .*: event; shielded', text)), 3)
        self.assertRegex(text, r"tool_dumped\(\+0x[0-9a-f]+\)")


def under_tsan():
    with open(DUMPED, "rb") as program:
        return b"__tsan_init" in program.read()


def printed(text, shards):
    """Whether so many shards have printed all their fibers."""
    counts = re.findall(r"torc: shard \d+: (\d+) fibers\n", text)
    return len(counts) == shards and count_fibers(text) == sum(map(int, counts))


def count_fibers(text):
    """How many fibers a dump shows; what is told of stalls is in other words."""
    return len(re.findall(r"torc: fiber \d+\.\d+ ", text))


if __name__ == "__main__":
    with Dumped("many", 1) as probe:
        if "may not look into" in tool.torc("dump", probe.pid).stderr:
            print("skipped: this container refuses to let processes look into each other")
            sys.exit(77)
    tool.main()
