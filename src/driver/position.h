/* SPDX-License-Identifier: MIT */
/*
 * position.h - the position of a file after a write by a ring that came to a short end.
 *
 * Of a file or a block device the kernel tries to write the rest, too, once a write was short. If
 * that fails, for want of room as a rule, the completion tells the bytes written before; but the
 * file's own position, if the write was there, stays where it was (seen on Linux 6.18). The next
 * write would go over the same place.
 */
#ifndef DRIVER_POSITION_H
#define DRIVER_POSITION_H

#include <stddef.h>

/*
 * A write of more than `count` bytes by a ring, at the position of `fd`, has written so many: move
 * the position behind them, if this kernel has not. What has no position is left alone. Never waits
 * but for a moment, the first time, when it is found out what the kernel does.
 */
void torc__position_follow(int fd, size_t count);

#endif
