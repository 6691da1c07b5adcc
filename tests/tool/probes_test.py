#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""probes_test.py - the probes are in the program, with their arguments, and can be stopped at."""
import os
import re
import shutil
import subprocess
import unittest

import tool

# Name: number of arguments.
PROBES = {"spawn": 3, "park": 3, "wake": 2, "op_start": 3, "op_finish": 3, "stall": 3}
NOTE = re.compile(r"Provider: torc\s+Name: (\w+)\s+Location: (0x[0-9a-f]+), Base: 0x[0-9a-f]+,"
                  r" Semaphore: (0x[0-9a-f]+)\s+Arguments: ([^\n]*)")


def notes():
    """(name, location, semaphore, arguments) of each probe in the command."""
    if shutil.which("readelf") is None:
        raise unittest.SkipTest("there is no readelf")
    result = subprocess.run(["readelf", "-n", "-W", tool.TORC], capture_output=True, text=True,
                            check=True)
    return [(name, int(location, 16), int(semaphore, 16), arguments.split())
            for name, location, semaphore, arguments in NOTE.findall(result.stdout)]


def require_probes():
    """Where <sys/sdt.h> was missing when torc was built there are none."""
    found = notes()
    if not found:
        raise unittest.SkipTest("torc was built without probes")
    return found


def documented():
    """The probes of the guide's table: name and number of arguments."""
    folder = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "guide")
    with open(os.path.join(folder, "observing.md"), encoding="utf-8") as file:
        text = file.read()
    table = re.findall(r"^\| `torc:(\w+)` \| ([^|]*) \|$", text, re.MULTILINE)
    used = set(re.findall(r"usdt:[^ :]+:torc:(\w+)", text))
    return {name: len(arguments.split(", ")) for name, arguments in table}, used


class Probes(tool.TestCase):
    def test_the_guide_has_all_of_them_and_no_others(self):
        table, used = documented()
        self.assertEqual(table, PROBES)
        self.assertLessEqual(used, set(PROBES))
        self.assertTrue(used)

    def test_each_is_there_with_its_arguments(self):
        found = require_probes()
        self.assertEqual({name for name, *_ in found}, set(PROBES))
        for name, location, _, arguments in found:
            self.assertEqual(len(arguments), PROBES[name], name)
            self.assertGreater(location, 0)

    def test_only_operations_count_who_is_attached(self):
        for name, _, semaphore, _ in require_probes():
            self.assertEqual(semaphore != 0, name.startswith("op_"), name)

    def test_each_is_a_nop(self):
        found = require_probes()
        if shutil.which("objdump") is None:
            self.skipTest("there is no objdump")
        for name, location, _, _ in found:
            result = subprocess.run(
                ["objdump", "-d", f"--start-address={location}", f"--stop-address={location + 4}",
                 tool.TORC], capture_output=True, text=True, check=True)
            first = [line for line in result.stdout.splitlines()
                     if line.strip().startswith(f"{location:x}:")]
            self.assertRegex(first[0], r"\bnop\b", name)

    def test_a_debugger_stops_at_them_in_a_program_that_runs(self):
        require_probes()
        if shutil.which("gdb") is None:
            self.skipTest("there is no gdb")
        # Stop when a fiber is started; its shard is the first argument, its number the second.
        result = subprocess.run(
            ["gdb", "-nx", "-batch", "-ex", "set breakpoint pending on", "-ex",
             "break -probe-stap torc:spawn", "-ex", "run", "-ex",
             'printf "shard %d fiber %d\\n", $_probe_arg0, $_probe_arg1', "-ex", "kill", "--args",
             tool.TORC, "echo", "--listen", "127.0.0.1:0", "--duration", "50ms"],
            capture_output=True, text=True, timeout=tool.LIMIT, stdin=subprocess.DEVNULL,
            check=False)
        if "ptrace: Operation not permitted" in result.stderr + result.stdout:
            self.skipTest("debugging is not permitted here")
        if "Could not trace the inferior" in result.stderr + result.stdout:
            self.skipTest("debugging is not permitted here")
        if "No probe" in result.stderr or "without SystemTap probes" in result.stderr:
            self.skipTest("this gdb knows no probes")
        self.assertIn("shard 0 fiber 1\n", result.stdout, result.stderr)


if __name__ == "__main__":
    tool.main()
