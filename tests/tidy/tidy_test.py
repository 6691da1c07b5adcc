#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tidy_test.py - every rule of tools/tidy.py, kept and broken."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools"))
sys.dont_write_bytecode = True
import tidy  # noqa: E402

SPDX = "/* SPDX-License-Identifier: MIT */\n"


def source(path, code):
    """A file that is in order but for what `code` does."""
    return {path: f"{SPDX}/*\n * {os.path.basename(path)} - for a test.\n */\n{code}"}


class Tidy(unittest.TestCase):
    def complaints(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "wb") as stream:
                    stream.write(text.encode())
            return list(tidy.complaints(root))

    def assert_clean(self, files):
        self.assertEqual(self.complaints(files), [])

    def assert_complains(self, files, *expected):
        found = self.complaints(files)
        self.assertEqual(len(found), len(expected), found)
        for line, text in zip(found, expected):
            self.assertIn(text, line)

    def test_a_file_in_order_passes(self):
        self.assert_clean(source("src/io/x.h", '#include "base/list.h"\n\nint torc__x(void);\n'))

    def test_characters(self):
        self.assert_complains(source("bench/x.c", "int \u00e9;\n"), "bench/x.c:5: not ASCII")
        self.assert_complains(source("bench/x.c", "int x; \n"), "blanks at the end")
        self.assert_complains(source("bench/x.c", "\tint x;\n"), "a tab")
        self.assert_complains(source("bench/x.c", "int x;"), "no newline at the end")
        self.assert_complains(source("bench/x.c", "/* " + "x" * 95 + " */\n"), "101 columns")
        self.assert_clean(source("bench/x.c", "/* " + "x" * 94 + " */\n"))
        self.assert_clean({"Makefile": "# SPDX-License-Identifier: MIT\nall:\n\ttrue\n"})
        self.assert_clean({"README.md": "x" * 120 + "\n"})

    def test_length_of_files(self):
        self.assert_complains(source("bench/x.c", "\n" * 797), "801 lines: at most 800")
        self.assert_clean(source("bench/x.c", "\n" * 796))
        self.assert_complains(source("src/base/x.h", "\n" * 297), "301 lines: at most 300")
        self.assert_clean(source("include/torc/x.h", "\n" * 396))
        self.assert_complains(source("include/torc/x.h", "\n" * 397), "401 lines: at most 400")
        self.assert_complains(source("examples/x.c", "\n" * 57), "61 lines: at most 60")

    def test_length_of_functions(self):
        body = "int f(void)\n{\n" + "    g();\n" * 68 + "}\n"
        self.assert_clean(source("bench/x.c", body * 2))
        longer = body.replace("}", "    g();\n}")
        self.assert_complains(source("bench/x.c", longer), "bench/x.c:6: 71 lines of function")

    def test_opening(self):
        purpose = "/* x.c - for a test. */\n"
        self.assert_clean({"bench/x.c": SPDX + purpose})
        self.assert_complains({"bench/x.c": purpose}, "no SPDX")
        self.assert_complains({"bench/x.c": SPDX}, "does not open with a comment `x.c - ")
        self.assert_complains({"bench/run.sh": "#!/bin/sh\n"}, "no SPDX")
        self.assert_clean({"bench/run.sh": "#!/bin/sh\n# SPDX-License-Identifier: MIT\n"})

    def test_layers_know_only_those_before_them(self):
        self.assert_clean(source("src/io/x.h", '#include "shard/shard.h"\n#include "io/op.h"\n'))
        self.assert_complains(source("src/base/x.h", '#include "io/op.h"\n'),
                              "src/base/x.h:5: layer base may not know layer io")
        self.assert_complains(source("src/fiber/x.h", '#include "driver/driver.h"\n'),
                              "layer fiber may not know layer driver")
        self.assert_complains(source("src/driver/x.h", '#include "fiber/fiber.h"\n'),
                              "layer driver may not know layer fiber")

    def test_includes_name_their_layer(self):
        self.assert_complains(source("src/io/x.h", '#include "op.h"\n'), '"layer/file.h"')
        self.assert_clean(source("src/io/x.h", "#include <torc/op.h>\n"))

    def test_users_of_the_library_do_not_look_inside(self):
        for path in "tools/torc/x.c", "examples/x.c", "tests/api/x.c":
            self.assert_complains(source(path, '#include "io/op.h"\n'), "include <torc/...> only")
        self.assert_clean(source("tools/torc/x.c", '#include "cli.h"\n#include <torc/op.h>\n'))
        self.assert_clean(source("tests/unit/io/x.c", '#include "io/op.h"\n'))

    def test_banned_code(self):
        def banned(path, code):
            self.assert_complains(source(path, code), "`")

        banned("src/io/x.h", "x = malloc(1);\n")
        banned("src/io/x.h", "free(x);\n")
        banned("src/io/x.h", "assert(x);\n")
        banned("src/io/x.h", 'printf("x");\n')
        banned("src/io/x.h", 'fprintf(stderr, "x");\n')
        banned("src/io/x.h", "strcpy(x, y);\n")
        banned("tests/harness/x.c", "usleep(1);\n")
        banned("tests/harness/x.c", "sleep(1);\n")
        banned("include/torc/x.h", "typedef struct x x;\n")
        banned("tests/api/x.c", "y = x->_next;\n")
        banned("examples/x.c", "y = x._next;\n")

    def test_what_only_looks_banned(self):
        self.assert_clean(source("src/io/x.h", 'static_assert(1, "");\nTORC_ASSERT(x);\n'))
        self.assert_clean(source("src/io/x.h", "snprintf(x, n);\nx_free(y);\ny = x->_next;\n"))
        self.assert_clean(source("src/io/x.h", '/* malloc() */\nconst char *x = "free(x)";\n'))
        self.assert_clean(source("tests/harness/x.c", "(void)torc_sleep(1);\nx = y->__z;\n"))
        self.assert_clean(source("include/torc/x.h", "typedef int torc_fiber_fn(void *arg);\n"))

    def test_exceptions_are_by_name(self):
        self.assert_clean(source("src/base/log.h", ""))
        name = next(iter(tidy.MAY_PRINT))
        test = unit_test_of(name)
        self.assert_clean({**source(name, "dprintf(2, x);\n"), **source(test, "")})

    def test_exceptions_for_files_that_are_gone_are_reported(self):
        with tempfile.TemporaryDirectory() as root:
            found = list(tidy.stale_exceptions(root))
        tables = (tidy.MAY_ALLOCATE, tidy.MAY_PRINT, tidy.LOOKS_INSIDE, tidy.NO_UNIT_TEST)
        self.assertEqual(len(found), sum(len(table) for table in tables))

    def test_leftovers(self):
        for word in "FIXME", "TODO", "XXX":
            self.assert_complains(source("bench/x.c", f"/* {word}: later */\n"), word)
        self.assert_clean({"x.sh": "# SPDX-License-Identifier: MIT\nmktemp x.XXXXXX\n"})

    def test_contracts(self):
        declaration = "TORC_API void torc_x(void);\n"
        self.assert_clean(source("include/torc/x.h", "/* Does x. */\n" + declaration))
        self.assert_complains(source("include/torc/x.h", "\n" + declaration), "no comment")
        self.assert_complains(source("include/torc/x.h", "/* x */\n" + declaration * 2),
                              "include/torc/x.h:7: no comment")

    def test_every_source_has_a_unit_test(self):
        self.assert_complains(source("src/io/x.c", ""), "has no tests/unit/io/x_test.c")
        self.assert_clean({**source("src/io/x.c", ""), **source("tests/unit/io/x_test.c", "")})

    def test_what_was_built_is_not_looked_at(self):
        self.assert_clean({"build/debug/x.c": "\t", ".git/x.md": "\t"})


def unit_test_of(name):
    return name.replace("src/", "tests/unit/").replace(".c", "_test.c")


if __name__ == "__main__":
    unittest.main()
