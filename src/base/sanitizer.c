/* SPDX-License-Identifier: MIT */
/*
 * sanitizer.c - whether Valgrind runs the program, found out once.
 */
#include "base/sanitizer.h"

#ifdef TORC_VALGRIND
bool torc__on_valgrind;

static __attribute__((constructor)) void look(void)
{
    torc__on_valgrind = RUNNING_ON_VALGRIND;
}
#endif
