/* SPDX-License-Identifier: MIT */
/*
 * symbol.h - names of addresses in this process's code.
 *
 * Functions that are not exported are looked up in the symbol table of the file that was loaded, if
 * it has one. Not for signal handlers: it takes the loader's lock.
 */
#ifndef BASE_SYMBOL_H
#define BASE_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Write "function+0x1c (/path/of/program+0x4711)", or less of it if that is all there is. Of a
 * return address the call is looked up, which may be the last instruction of a function.
 */
void torc__symbol_describe(const void *address, bool is_return, char *text, size_t size);

/* Whether a loaded file has an executable byte there. */
bool torc__symbol_is_code(const void *address);

#endif
