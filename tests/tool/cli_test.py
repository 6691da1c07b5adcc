#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cli_test.py - the command line: what is wrong gets one line and status 2, --help is complete."""
import functools
import itertools
import json
import os
import re
import resource
import tempfile
import unittest

import tool

COMMANDS = (("echo",), ("bench",), ("bench", "tcp"), ("doctor",), ("top",), ("trace",), ("dump",),
            ("demo",))

WRONG = """
    nonsense
    --nonsense
    --help nonsense
    --version nonsense
    echo --nonsense
    echo -x
    echo something
    echo --listen
    echo --listen nonsense
    echo --listen 127.0.0.1
    echo --listen 127.0.0.1:65536
    echo --shards 0
    echo --shards 1025
    echo --shards 1.5
    echo --shards many
    echo --driver steam
    echo --forbid nonsense
    echo --forbid all,
    echo --forbid ,
    echo --busy-poll never
    echo --busy-poll -1
    echo --busy-poll 2000000
    echo --buffer 0
    echo --buffer 17m
    echo --buffer 1x
    echo --duration 0
    echo --duration soon
    echo --json=yes
    bench
    bench udp 127.0.0.1:7000
    bench tcp
    bench tcp nonsense
    bench tcp 127.0.0.1:0
    bench tcp 127.0.0.1:7000 more
    bench tcp /a/path
    bench unix
    bench unix 127.0.0.1:7000
    bench unix /a/path more
    bench tcp 127.0.0.1:7000 --connections 0
    bench tcp 127.0.0.1:7000 --connections 1e3
    bench tcp 127.0.0.1:7000 --connections 0x10
    bench tcp 127.0.0.1:7000 --connections 99999999999999999999
    bench tcp 127.0.0.1:7000 --connections 1 --shards 2
    bench tcp 127.0.0.1:7000 --size 0
    bench tcp 127.0.0.1:7000 --size 65m
    bench tcp 127.0.0.1:7000 --depth 65537
    bench tcp 127.0.0.1:7000 --duration 0
    bench tcp 127.0.0.1:7000 --rate 0
    bench tcp 127.0.0.1:7000 --rate -5
    bench tcp 127.0.0.1:7000 --rate
    bench tcp 127.0.0.1:7000 --churn --rate 100
    bench tcp 127.0.0.1:7000 --churn --depth 2
    doctor something
    doctor --jason
    demo something
    demo --seconds 0
    demo --peers
    trace 1 -o
    trace 1 -x
    trace
    top
    top nonsense
    dump
    dump 0
    dump --all --group 1
"""


def live_alone(locked):
    """For preexec: a user without other processes, who may lock so much memory."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (locked, locked))
    os.setuid(1963140287 + os.getpid())


class CommandLine(tool.TestCase):
    def test_wrong_arguments_get_one_line_and_status_2(self):
        for line in WRONG.strip().splitlines():
            with self.subTest(line.strip()):
                self.assert_fails(tool.torc(*line.split()), 2)
        self.assert_fails(tool.torc(), 2)
        self.assert_fails(tool.torc("echo", "--listen", ""), 2)

    def test_the_line_names_what_is_wrong_and_what_is_wanted(self):
        line = tool.torc("bench", "tcp", "127.0.0.1:1", "--connections", "x").stderr
        self.assertEqual(line, "torc bench: --connections wants a number from 1 to 1,000,000, "
                               "not 'x'\n")
        self.assertIn("--listen needs ADDR:PORT", tool.torc("echo", "--listen").stderr)
        self.assertIn("no option --nonsense", tool.torc("doctor", "--nonsense").stderr)
        self.assertIn("-o needs FILE after it", tool.torc("trace", "1", "-o").stderr)
        self.assertIn("torc bench: where", tool.torc("bench", "unix").stderr)
        self.assertIn("which command?", tool.torc("").stderr)
        self.assertIn("no option -x", tool.torc("doctor", "-x").stderr)
        self.assertIn("--json takes nothing", tool.torc("doctor", "--json=1").stderr)
        self.assertIn("no command ehco", tool.torc("ehco").stderr)

    def test_help_is_there_for_all_commands(self):
        for command in COMMANDS + ((),):
            for option in ("--help", "-h"):
                result = tool.torc(*command, option)
                self.assertEqual((result.returncode, result.stderr), (0, ""), result)
                self.assertIn("Usage: torc", result.stdout)
                self.assertLessEqual(max(map(len, result.stdout.splitlines())), 100)
        everything = tool.torc("--help").stdout
        for command in COMMANDS:
            self.assertRegex(everything, rf"\n  {command[0]} +\w")

    def test_help_names_all_options(self):
        options = {
            "echo": "listen shards driver forbid busy-poll buffer duration stats live json help",
            "bench": "connections size depth duration warmup rate churn shards driver forbid "
                     "busy-poll no-verify json help",
            "doctor": "driver forbid json help",
            "demo": "seconds connections size peers help",
            "top": "interval once json runtime help",
            "trace": "seconds output events runtime help",
            "dump": "all group no-stacks no-stop json help",
        }
        for command, names in options.items():
            text = tool.torc(command, "--help").stdout
            for name in names.split():
                self.assertRegex(text, rf"\n  --{name}[ \n]", f"{command} --help")

    def test_no_option_takes_an_empty_value(self):
        operands = {"bench": ("tcp", "127.0.0.1:1"), "top": ("1",), "trace": ("1",), "dump": ("1",)}
        for command in sorted({command[0] for command in COMMANDS}):
            text = tool.torc(command, "--help").stdout
            for option in re.findall(r"^  (--?[\w-]+) [A-Z]", text, re.MULTILINE):
                with self.subTest(f"{command} {option}"):
                    result = tool.torc(command, *operands.get(command, ()), option, "")
                    self.assert_fails(result, 2)
                    self.assertIn(f"{option} wants ", result.stderr)

    def test_output_that_finds_no_room_is_an_error(self):
        for arguments in (["--help"], ["--version"], ["doctor", "--help"], ["doctor"],
                          ["doctor", "--json"]):
            with open("/dev/full", "w", encoding="ascii") as full:
                result = tool.torc(*arguments, stdout=full)
            self.assertEqual((result.returncode, result.stderr),
                             (1, "torc: cannot write to standard output\n"), arguments)

    def test_output_that_is_closed_is_an_error(self):
        for arguments in (["--version"], ["doctor"],
                          ["echo", "--listen", "127.0.0.1:0", "--duration", "1ms"]):
            result = tool.torc(*arguments, preexec=lambda: os.close(1))
            self.assertEqual((result.returncode, result.stderr),
                             (1, "torc: cannot write to standard output\n"), arguments)

    def test_version(self):
        result = tool.torc("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"\Atorc \d+\.\d+\.\d+\n\Z")


class Doctor(tool.TestCase):
    def test_json_is_one_object_with_all_that_was_found(self):
        result = tool.torc("doctor", "--json")
        found = json.loads(result.stdout)
        self.assertEqual(result.stdout.count("\n"), 1)
        self.assertEqual((result.returncode, result.stderr), (0 if found["works"] else 1, ""))
        self.assertEqual(set(found), {"command", "version", "works", "driver", "features",
                                      "kernel", "limits", "machine", "advice"})
        self.assertEqual(set(found["driver"]), {
            "name", "error", "reason", "entries", "completion_entries", "self_test",
            "sqpoll_idle_ms", "napi_poll_us", "min_wait_us"})
        self.assertEqual(set(found["limits"]), {
            "nofile", "nofile_max", "memlock", "memlock_max", "max_map_count",
            "overcommit_memory", "somaxconn"})
        self.assertEqual(set(found["machine"]), {
            "cpus", "cpus_online", "cpu_quota", "transparent_hugepage", "tcp_congestion_control"})
        for feature in found["features"]:
            self.assertEqual(set(feature), {"name", "since", "gives", "available", "unknown",
                                            "used", "reason"})
            self.assertTrue(feature["used"] or feature["reason"], feature)

    def test_features_can_be_forbidden_by_the_names_it_shows(self):
        found = json.loads(tool.torc("doctor", "--json").stdout)
        for feature in found["features"]:
            without = tool.torc("doctor", "--json", "--forbid", feature["name"])
            again = {f["name"]: f for f in json.loads(without.stdout)["features"]}
            self.assertFalse(again[feature["name"]]["used"], feature)
        none = json.loads(tool.torc("doctor", "--json", "--forbid", "all").stdout)
        self.assertFalse(any(feature["used"] for feature in none["features"]))

    def test_a_bug_of_the_kernel_that_was_found_is_shown_and_its_feature_is_not_used(self):
        with tempfile.TemporaryDirectory() as directory:
            environment = {"XDG_RUNTIME_DIR": directory, "TORC_SELFTEST": "", "TORC_FORBID": ""}
            found = json.loads(tool.torc("doctor", "--json", env=environment).stdout)
            self.assertEqual(found["driver"]["self_test"], "passed, just now")
            path = os.path.join(directory, "torc-selftest")
            with open(path, encoding="ascii") as file:
                *key, tested, _ = file.read().split(" ")
            with open(path, "w", encoding="ascii") as file:
                file.write(" ".join([*key, tested, "4"]) + "\n")  # The check of MSG_RING.
            if not int(tested, 16) & 4:
                self.skipTest("this kernel has no MSG_RING")
            result = tool.torc("doctor", env=environment)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn("this kernel has a bug", result.stderr)
            self.assertRegex(result.stdout, r"not +msg_ring[^\n]*\n +a message to another ring")
            self.assertIn("bugs found, earlier since this boot", result.stdout)

    def test_what_was_switched_on_is_shown(self):
        asked = {"TORC_NAPI": "50", "TORC_MIN_WAIT": "20", "TORC_SQPOLL": "3"}
        driver = json.loads(tool.torc("doctor", "--json", env=asked).stdout)["driver"]
        page = tool.torc("doctor", env=asked).stdout
        for name, key in (("TORC_NAPI", "napi_poll_us"), ("TORC_MIN_WAIT", "min_wait_us"),
                          ("TORC_SQPOLL", "sqpoll_idle_ms")):
            self.assertIn(driver[key], (0, int(asked[name])))  # 0 where the kernel cannot.
            self.assertEqual(name in page, driver[key] > 0, page)

    def test_people_get_a_page_without_colours_when_it_is_no_terminal(self):
        page = tool.torc("doctor", env={"TERM": "xterm"}).stdout
        self.assertNotIn("\033", page)
        for heading in ("Kernel", "Limits", "Machine"):
            self.assertIn(f"\n{heading}\n", page)

    def test_too_few_descriptors_are_pointed_out(self):
        command = f"ulimit -n 256 && exec {tool.TORC} doctor --json"
        result = tool.subprocess.run(["sh", "-c", command], capture_output=True, text=True,
                                     timeout=tool.LIMIT, check=False)
        advice = json.loads(result.stdout)["advice"]
        self.assertTrue(any("256 descriptors" in a["what"] and a["how"] for a in advice), advice)

    def test_where_no_memory_is_left_to_try_a_feature_the_kernel_is_not_said_to_lack_it(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become a user without other processes")
        has = {f["name"]: f["available"]
               for f in json.loads(tool.torc("doctor", "--json").stdout)["features"]}
        for kibibytes, forbid in itertools.product((52, 64, 100, 200, 400), ("", "send_zc")):
            limits = functools.partial(live_alone, kibibytes << 10)
            environment = {"TORC_FORBID": forbid, "XDG_RUNTIME_DIR": "/nonexistent"}
            result = tool.torc("doctor", "--json", env=environment, preexec=limits)
            found = json.loads(result.stdout)
            unknown = [f["name"] for f in found["features"] if f["unknown"]]
            for feature in found["features"]:
                self.assertTrue(feature["unknown"] or feature["available"] == has[feature["name"]],
                                (kibibytes, forbid, feature))
            if unknown and found["driver"]["name"] == "uring":
                advice = [a for a in found["advice"] if "not known" in a["what"]]
                self.assertIn(f" {len(unknown)} of the features", advice[0]["what"])
                self.assertIn("ulimit -l", advice[0]["how"])

    def test_where_io_uring_is_denied_it_says_by_what_and_that_epoll_is_used(self):
        environment = {"TORC_DRIVER": ""}
        result = tool.torc("doctor", "--json", env=environment, preexec=tool.deny_io_uring)
        found = json.loads(result.stdout)
        self.assertEqual((result.returncode, found["works"]), (0, True), result)
        self.assertEqual(found["driver"]["name"], "epoll")
        self.assertIn("denied", found["driver"]["reason"])
        self.assertFalse(any(advice["problem"] for advice in found["advice"]))
        self.assertTrue(any("seccomp filter" in advice["what"] for advice in found["advice"]),
                        found["advice"])

    def test_epoll_that_was_asked_for_needs_no_advice(self):
        for way in (["--driver", "epoll"], []):
            environment = {"TORC_DRIVER": "" if way else "epoll"}
            result = tool.torc("doctor", "--json", *way, env=environment)
            found = json.loads(result.stdout)
            self.assertEqual(found["driver"]["name"], "epoll")
            self.assertEqual((found["driver"]["entries"], found["works"]), (0, True))
            self.assertFalse(any("io_uring" in advice["what"] for advice in found["advice"]))

    def test_where_io_uring_is_denied_and_insisted_on_it_says_by_what_and_ends_with_status_1(self):
        insist = ["--driver", "uring"]
        result = tool.torc("doctor", "--json", *insist, preexec=tool.deny_io_uring)
        found = json.loads(result.stdout)
        self.assertEqual((result.returncode, found["works"]), (1, False), result)
        self.assertEqual(found["driver"]["name"], "none")
        self.assertEqual(found["kernel"]["seccomp"], 2)
        problems = [advice for advice in found["advice"] if advice["problem"]]
        self.assertEqual(len(problems), 1)
        self.assertIn("seccomp filter", problems[0]["what"])
        page = tool.torc("doctor", *insist, preexec=tool.deny_io_uring)
        self.assertEqual(page.returncode, 1)
        self.assertIn("cannot run here", page.stdout)
        echo = tool.torc("echo", "--listen", "127.0.0.1:0", *insist, preexec=tool.deny_io_uring)
        self.assertEqual((echo.returncode, echo.stdout), (1, ""), echo)
        self.assertIn("torc doctor", echo.stderr)


if __name__ == "__main__":
    tool.main()
