#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bare.py - build torc without anything that lets it be seen into, to measure what that costs.

    bench/bare.py build/bare

copies the sources to DIRECTORY/source, takes away what counts, notes and records on the path of an
operation, and builds `torc` without probes there, otherwise as the release preset does. The result
is for bench/observe.py: it echoes, but nothing can be asked of it.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BRANCH = r" *if \(unlikely\(%s\)\)\n *"  # Somebody looks.

# File: what is taken away there, by a pattern; "=>" has what takes its place. Each is found.
CUTS = {
    "src/driver/uring.c": [
        r" *torc__observe_end\(.*\);\n",
        BRANCH % r"torc__observes_starts\(.*\)" + r"observe_starts\(uring\);\n",
        r" *uring->base\.stats\.enters\+\+;\n",
        r" *uring->base\.stats\.waits\+\+;\n",
        r" *uring->base\.stats\.completions \+= .*;\n",
    ],
    "src/io/await.h": [
        r" *torc__op_note\(op, sqe\);\n",
    ],
    "src/shard/shard.c": [
        r" *shard->rounds\+\+;\n",
        r" *note_drained\(shard, begun_ns\);\n",
        r"note_backlog\(shard, now_ns\)=>(void)0",
        r" *shard->idle_since_ns = begun_ns;\n",
        r" *note_idle\(shard, end, .*\);\n",
        r" *torc__observer_awake\(shard->observer\);\n",
        BRANCH % r"shard->trace != NULL" + r"torc__trace_add\(.*\);\n",
    ],
    "src/shard/shard.h": [
        r" *self->since_ns = shard->round_time_ns;\n",
    ],
    "src/shard/wait.c": [
        r" *shard->switches\+\+;\n",
        BRANCH % r"shard->trace != NULL" + r"torc__trace_fiber\(.*\);\n",
        BRANCH % r"shard->trace != NULL" + r"switch_recorded\(.*\);\n *else\n *=>    ",
    ],
}


def cut(path, text):
    """The text without what observes; complains if something of it is not there."""
    for line in CUTS.get(path, []):
        pattern, _, instead = line.partition("=>")
        text, count = re.subn(pattern, instead, text)
        if count == 0:
            sys.exit(f"bare.py: there is no {pattern!r} in {path}: has it been changed?")
    return text


def copy_sources(folder):
    """Those that are part of torc; files that are the same already are left alone."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, capture_output=True, check=True)
    for path in names.stdout.decode().rstrip("\0").split("\0"):
        source, target = os.path.join(ROOT, path), os.path.join(folder, path)
        if not os.path.exists(source):
            continue  # It is about to be removed.
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if path not in CUTS:
            shutil.copy2(source, target)
            continue
        with open(source, encoding="utf-8") as file:
            text = cut(path, file.read())
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("directory", nargs="?", default=os.path.join(ROOT, "build", "bare"))
    parser.add_argument("--check", action="store_true",
                        help="only see that all that is to be taken away is there")
    config = parser.parse_args()
    if config.check:
        for path in CUTS:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                cut(path, file.read())
        return
    build, source = os.path.abspath(config.directory), os.path.abspath(config.directory + "/source")
    copy_sources(source)
    options = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
               "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g", "-DTORC_WITH_PROBES=OFF",
               "-DTORC_BUILD_TESTS=OFF", "-DTORC_BUILD_BENCH=OFF",
               "-DTORC_BUILD_EXAMPLES=OFF"]
    subprocess.run(["cmake", "-S", source, "-B", build, *options], check=True)
    subprocess.run(["cmake", "--build", build, "--target", "torc_tool"], check=True)


main()
