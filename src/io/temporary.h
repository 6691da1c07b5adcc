/* SPDX-License-Identifier: MIT */
/*
 * temporary.h - names for what is not to stay.
 */
#ifndef IO_TEMPORARY_H
#define IO_TEMPORARY_H

/* The length of such a name, without the zero at its end. */
#define TEMPORARY_LENGTH 22u

/* ".torc-" and 16 digits: one that hardly anybody has. Whoever makes it sees if somebody does. */
void torc__temporary_name(char name[TEMPORARY_LENGTH + 1]);

#endif
