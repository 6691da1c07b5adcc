#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""seccomp_test.py - the filter in docs/seccomp is one, and torc runs under it on every driver."""
import collections
import ctypes
import json
import os
import re
import shutil
import struct
import subprocess
import unittest

import tool

PROFILE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "docs", "seccomp", "torc.json")
ACTIONS = {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}
COMPARISONS = {"SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_MASKED_EQ"}
RING = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
ERRNO, ALLOW = 0x00050000, 0x7fff0000  # SECCOMP_RET_


def profile():
    with open(PROFILE, encoding="ascii") as stream:
        return json.load(stream)


def numbers():
    """The system calls of this CPU, as the C library's headers name them."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise unittest.SkipTest("there is no C compiler to ask for the numbers of system calls")
    result = subprocess.run([compiler, "-E", "-dM", "-include", "sys/syscall.h", "-x", "c",
                             "/dev/null"], capture_output=True, text=True, check=True)
    return {name: int(number) for name, number in
            re.findall(r"^#define __NR_(\w+) (\d+)$", result.stdout, re.MULTILINE)}


def compiled():
    """The filter as a program of BPF. Arguments are not looked at: what may be allowed is."""
    known = numbers()
    rules = profile()
    code = [(0x20, 0, 0, 0)]  # Load the number of the system call.
    for rule in rules["syscalls"]:
        verdict = ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else ERRNO | rule["errnoRet"]
        for number in sorted({known[name] for name in rule["names"] if name in known}):
            code += [(0x15, 0, 1, number), (0x06, 0, 0, verdict)]
    code.append((0x06, 0, 0, ERRNO | rules["defaultErrnoRet"]))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def under_the_filter():
    """A function for preexec that puts this process under the filter."""
    code = compiled()
    libc = ctypes.CDLL(None, use_errno=True)

    def confine():
        os.environ["ASAN_OPTIONS"] = "detect_leaks=0"  # That needs ptrace(), which is denied.
        buffer = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
        no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
        for call in ((no_new_privileges, 1, 0), (set_seccomp, mode_filter, program)):
            if libc.prctl(*call, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")
    return confine


class Filter(tool.TestCase):
    def test_it_has_the_form_that_container_engines_read(self):
        found = profile()
        self.assertEqual(set(found), {"defaultAction", "defaultErrnoRet", "archMap", "syscalls"})
        self.assertEqual(found["defaultAction"], "SCMP_ACT_ERRNO")
        for rule in found["syscalls"]:
            self.assertLessEqual(set(rule), {"comment", "names", "action", "errnoRet", "args"})
            self.assertIn(rule["action"], ACTIONS)
            self.assertEqual("errnoRet" in rule, rule["action"] == "SCMP_ACT_ERRNO", rule)
            self.assertTrue(rule["names"])
            for argument in rule.get("args", []):
                self.assertLessEqual(set(argument), {"index", "value", "valueTwo", "op"})
                self.assertIn(argument["op"], COMPARISONS)

    def test_it_allows_the_three_calls_of_a_ring(self):
        allowed = {name for rule in profile()["syscalls"]
                   if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
                   for name in rule["names"]}
        self.assertLessEqual(RING, allowed)
        self.assertFalse(allowed & {"mount", "unshare", "setns", "ptrace", "bpf", "clone3"})

    def test_no_call_is_named_twice(self):
        names = collections.Counter(name for rule in profile()["syscalls"]
                                    for name in rule["names"] if "args" not in rule)
        self.assertEqual([name for name, count in names.items() if count > 1], [])

    def test_torc_carries_traffic_under_it_on_every_driver(self):
        confine = under_the_filter()
        data = bytes(range(256)) * 64
        for way in (["--driver", "auto"], ["--driver", "epoll"], ["--shards", 2]):
            with self.subTest(way), tool.Echo("--json", *way, preexec=confine) as echo:
                with echo.connect() as connection:
                    connection.sendall(data)
                    self.assertEqual(tool.receive(connection, len(data)), data)
                self.assertEqual(echo.report()["bytes"], len(data))

    def test_under_it_the_choice_of_a_driver_is_the_same_as_without(self):
        free = json.loads(tool.torc("doctor", "--json").stdout)
        confined = json.loads(tool.torc("doctor", "--json", preexec=under_the_filter()).stdout)
        self.assertEqual(confined["driver"], free["driver"])
        self.assertEqual(confined["features"], free["features"])


if __name__ == "__main__":
    tool.main()
