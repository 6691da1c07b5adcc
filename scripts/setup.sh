#!/bin/bash
# SPDX-License-Identifier: MIT
#
# setup.sh - install what is missing to build, test or measure torc. Asks nothing.
#
#     scripts/setup.sh [build | test | bench | ci]      (build is the default)
#
# What is there already is left alone, however it came to be there; when all of it is, this needs
# neither network nor apt nor root. Packages are those of Debian 12, Ubuntu 24.04 and later.
set -euo pipefail

needed=(build-essential cmake ninja-build pkg-config python3 liburing-dev libjansson-dev libuv1-dev
    check)
# Without these torc has no probes, and some tests or peers are skipped, but nothing fails.
wanted=(systemtap-sdt-dev libdw-dev)

case "${1:-build}" in
build) ;;
bench) wanted+=(fio strace redis-tools) ;;
test)
    wanted+=(libc-ares-dev clang gdb valgrind redis-tools
        qemu-user gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu)
    ;;
ci)
    needed+=(clang gdb valgrind clang-format clang-tidy libc-ares-dev)
    wanted+=(qemu-user gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu)
    ;;
*)
    echo "usage: scripts/setup.sh [build | test | bench | ci]" >&2
    exit 2
    ;;
esac

complain()
{
    printf 'setup.sh: %s\n' "$@" >&2
}

has_commands()
{
    for name in "$@"; do
        command -v "$name" || return 1
    done
}

# Is what the package would bring here, from wherever?
have()
{
    local triple=${1#gcc-} # Of a cross compiler; that for this machine's own CPU is not one.

    case "$1" in
    build-essential) has_commands gcc g++ make && [ -e /usr/include/stdio.h ] ;;
    ninja-build) has_commands ninja ;;
    liburing-dev) pkg-config --exists 'liburing >= 2.3' ;;
    libjansson-dev) pkg-config --exists jansson ;;
    libuv1-dev) pkg-config --exists libuv ;;
    libc-ares-dev) pkg-config --exists 'libcares >= 1.18' ;;
    check) pkg-config --exists check ;;
    systemtap-sdt-dev) compgen -G '/usr/include/sys/sdt.h' ||
        compgen -G '/usr/include/*/sys/sdt.h' ;;
    libdw-dev) pkg-config --exists libdw ;;
    redis-tools) has_commands redis-cli redis-benchmark redis-check-rdb ;; # The last is the server.
    qemu-user) has_commands qemu-aarch64 qemu-riscv64 ;;
    "gcc-$(uname -m)-linux-gnu") true ;;
    gcc-*-linux-gnu) has_commands "$triple-gcc" && [ -e "/usr/$triple/include/stdio.h" ] ;;
    *) has_commands "$1" ;;
    esac >/dev/null 2>&1
}

print_missing()
{
    for package in "$@"; do
        have "$package" && continue
        echo "$package"
        case "$package" in # A cross compiler only recommends its C library.
        gcc-aarch64-linux-gnu) echo libc6-dev-arm64-cross ;;
        gcc-riscv64-linux-gnu) echo libc6-dev-riscv64-cross ;;
        esac
    done
}

apt()
{
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

install_packages()
{
    echo "setup.sh: missing here, to be installed: $*"
    if ! has_commands apt-get >/dev/null; then
        complain "there is no apt-get here; please install by other means what brings: $*"
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        complain "this needs root, or a sudo that asks nothing; please run:" \
            "    sudo apt-get install $*"
        return 1
    fi
    apt update || complain "apt-get update failed; going on with the lists that are here"
    if ! apt install --no-install-recommends "$@"; then
        complain "apt-get could not install: $*"
        return 1
    fi
}

mapfile -t missing < <(print_missing "${needed[@]}")
if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}" || exit 1
    mapfile -t missing < <(print_missing "${needed[@]}")
fi
if [ ${#missing[@]} -gt 0 ]; then
    complain "installed, yet missing or too old: ${missing[*]}" \
        "torc needs Debian 12, Ubuntu 24.04 or later (liburing 2.3, CMake 3.22)"
    exit 1
fi

mapfile -t missing < <(print_missing "${wanted[@]}")
if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}" ||
        complain "going on without: probes, stacks in torc dump, some tests or peers are missing"
fi
