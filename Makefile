# SPDX-License-Identifier: MIT
# A thin cover over CMake and its presets, for those who just got here.
.PHONY: all demo test bench format lint clean

all:
	cmake --preset release
	cmake --build --preset release

demo:
	scripts/setup.sh build
	$(MAKE) all
	scripts/demo.sh

test:
	scripts/setup.sh test
	cmake --preset debug
	cmake --build --preset debug
	scripts/ctest.sh debug -j2

bench:
	scripts/setup.sh bench
	$(MAKE) all
	bench/run.sh

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

lint:
	scripts/setup.sh ci
	cmake --preset clang
	scripts/lint.sh

clean:
	rm -rf build
