#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""snippets.py - compile and run the programs that the documentation shows.

    tests/docs/snippets.py LIBTORC [COMPILER [FLAG ...]]

Every ```c block of README.md and docs/ with a main() is a complete program. It is compiled with
warnings as errors and run: it has to end by itself with status 0 within ten seconds. A program that
serves for ever says so in the line before its block, `<!-- server 127.0.0.1:7777 -->`; it is given
another port, and has to send back what it is sent. Other ```c blocks are compiled as well: as the
body of a function where the line before is `<!-- body -->`, as functions of a file where it is
`<!-- functions -->`.

Links between the pages are followed: the files they name have to be there.
"""
import glob
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WARNINGS = ["-std=gnu17", "-Wall", "-Wextra", "-Werror"]
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```c\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")

# What snippets may use without saying where it comes from.
BEFORE_FUNCTIONS = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <torc/torc.h>
"""
BEFORE_BODY = BEFORE_FUNCTIONS + """
int snippet(int fd, int other, char *buffer, size_t length, void *arg, torc_fiber_fn *fetch);
int snippet(int fd, int other, char *buffer, size_t length, void *arg, torc_fiber_fn *fetch)
{
    int result = 0;
"""
AFTER_BODY = """
    (void)fd, (void)other, (void)buffer, (void)length, (void)arg, (void)fetch;
    return result;
}
"""


def pages():
    return [os.path.join(ROOT, "README.md")] + sorted(
        glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True))


def snippets(page):
    """Yields (place, mark, code)."""
    with open(page, encoding="ascii") as stream:
        text = stream.read()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(2))
        yield f"{os.path.relpath(page, ROOT)}:{line + 1}", match.group(1) or "", match.group(2)


def missing_links(page):
    with open(page, encoding="ascii") as stream:
        for target in LINK.findall(stream.read()):
            if not os.path.exists(os.path.join(os.path.dirname(page), target)):
                yield f"{os.path.relpath(page, ROOT)}: there is no {target}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def echoes(port):
    """Why a server does not send back what it is sent, or None."""
    said = b"what was sent comes back"
    heard = b""
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(said)
                while len(heard) < len(said):
                    data = connection.recv(100)
                    if not data:
                        return "the server has closed the connection"
                    heard += data
                return None if heard == said else f"the server sent {heard!r}"
        except ConnectionRefusedError:
            time.sleep(0.05)
        except OSError as error:
            return f"no echo: {error}"
    return "nobody listens"


def serve(program, port):
    with subprocess.Popen([program]) as server:
        problem = echoes(port)
        if server.poll() is not None:
            problem = f"the server has ended with {server.returncode}"
        server.kill()
    return problem


def run(program):
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return "did not end within ten seconds"
    if done.returncode == 0:
        return None
    return f"ended with {done.returncode}: {done.stdout.decode(errors='replace')}"


def complete(mark, code):
    if mark == "body":
        return BEFORE_BODY + code + AFTER_BODY
    if mark == "functions":
        return BEFORE_FUNCTIONS + code
    return code


def check(compile_command, mark, code, scratch):
    """Why a snippet is wrong, or None."""
    source = os.path.join(scratch, "snippet.c")
    program = os.path.join(scratch, "snippet")
    is_program = re.search(r"\bint main\b", code)
    port = None
    if mark.startswith("server "):
        port = free_port()
        code = code.replace(mark.split()[1], f"127.0.0.1:{port}")
    with open(source, "w", encoding="ascii") as stream:
        stream.write(complete(mark, code))
    output = ["-o", program] if is_program else ["-fsyntax-only"]
    # Of what is not linked clang says that these are not used.
    linking = [flag for flag in compile_command[2:] if flag.startswith(("-l", "-L", "-Wl,"))]
    compiling = [flag for flag in compile_command[2:] if flag not in linking]
    library = [compile_command[1], *linking] if is_program else []
    quiet = [] if is_program else ["-Wno-unused-function"]
    done = subprocess.run([compile_command[0], *WARNINGS, *quiet, *compiling, "-I",
                           os.path.join(ROOT, "include"), source, *library, *output],
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        return "does not compile:\n" + done.stderr.decode(errors="replace")
    if not is_program:
        return None
    return serve(program, port) if port is not None else run(program)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    library = os.path.abspath(sys.argv[1])
    compiler, flags = (sys.argv[2:3] or ["cc"])[0], sys.argv[3:]
    os.environ["LD_LIBRARY_PATH"] = os.path.dirname(library)
    problems = [problem for page in pages() for problem in missing_links(page)]
    count = 0
    with tempfile.TemporaryDirectory() as scratch:
        for page in pages():
            for place, mark, code in snippets(page):
                if mark not in ("body", "functions") and not re.search(r"\bint main\b", code):
                    continue
                count += 1
                problem = check([compiler, library, *flags], mark, code, scratch)
                if problem:
                    problems.append(f"{place}: {problem}")
    print("\n".join(problems + [f"{count} snippets, {len(problems)} problems"]))
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
