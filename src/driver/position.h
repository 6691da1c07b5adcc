/* SPDX-License-Identifier: MIT */
/*
 * position.h - the position of a file, where a ring does not move it.
 *
 * That is so with O_DIRECT, where the device completes a transfer later (Linux 6.18: all reads, and
 * some writes). And of a file or a block device the kernel tries to write the rest, too, once a
 * write was short: if that fails, for want of room as a rule, the completion tells the bytes
 * written before, but the position stays where it was (6.18, too). The next write would go over the
 * same place.
 */
#ifndef DRIVER_POSITION_H
#define DRIVER_POSITION_H

#include <stddef.h>
#include <sys/types.h>

/*
 * A write of more than `count` bytes by a ring, at the position of `fd`, has written so many: move
 * the position behind them, if this kernel has not. What has no position is left alone. Never waits
 * but for a moment, the first time, when it is found out what the kernel does.
 */
void torc__position_follow(int fd, size_t count);

/*
 * The position of `fd` if it was opened with O_DIRECT: then the ring is to be given that as an
 * offset, and the position to be moved by torc__position_move(). Else -1. Never waits.
 */
off_t torc__position_of_direct(int fd);
void torc__position_move(int fd, size_t count);

#endif
