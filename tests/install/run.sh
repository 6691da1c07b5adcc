#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh - build and run a program that uses torc as other projects do.
#
#     tests/install/run.sh find_package | add_subdirectory | pkg_config  BUILD_DIRECTORY
#
# BUILD_DIRECTORY holds a finished build of torc, to be installed into a temporary place.
set -euo pipefail
consumer=$1
build=$2
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

install_torc()
{
    cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/installed"
    library=$(find "$scratch/prefix" -name 'libtorc.*' -print -quit)
    library=$(dirname "$library")
}

build_with_cmake()
{
    cmake -S "$here/$consumer" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix"
    cmake --build "$scratch/build" -j2
}

case "$consumer" in
find_package)
    install_torc
    build_with_cmake
    ;;
add_subdirectory)
    build_with_cmake
    [ ! -e "$scratch/build/torc/tests" ] || { echo "a consumer builds torc's tests"; exit 1; }
    ;;
pkg_config)
    install_torc
    mkdir "$scratch/build"
    export PKG_CONFIG_PATH="$library/pkgconfig"
    [[ " $(pkg-config --cflags torc) " == *" -fstack-clash-protection "* ]] ||
        { echo "torc.pc lacks -fstack-clash-protection"; exit 1; }
    make -C "$scratch/build" -f "$here/pkg_config/Makefile" VPATH="$here"
    ;;
*)
    echo "run.sh: no such consumer: $consumer" >&2
    exit 2
    ;;
esac

LD_LIBRARY_PATH=${library:-} "$scratch/build/consumer"
echo "$consumer: built and run"
