/* SPDX-License-Identifier: MIT */
/*
 * datagram.h - what others need of how datagrams are read.
 */
#ifndef IO_DATAGRAM_H
#define IO_DATAGRAM_H

#include <torc/datagram.h>

/* Room for all control data that torc__datagram_take() understands. */
#define DATAGRAM_CONTROL_SIZE 192u

/*
 * A datagram of `length` bytes has been received as `message` says; fill in what it tells. The
 * peer's address is in place already.
 */
void torc__datagram_take(struct torc_datagram *datagram, struct msghdr *message, size_t length);

#endif
