/* SPDX-License-Identifier: MIT */
/*
 * probe.h - USDT probes: places that bpftrace, perf, SystemTap and gdb can stop at or count.
 *
 * Each is one nop, and a note in the file that says where it is and where its arguments are. They
 * are there if <sys/sdt.h> was when torc was built (TORC_PROBES). docs/guide/observing.md lists
 * them with their arguments.
 */
#ifndef BASE_PROBE_H
#define BASE_PROBE_H

#ifndef TORC_PROBES
#define TORC_PROBES 0
#endif

#if TORC_PROBES
#include <sys/sdt.h>
#define TORC_PROBE2(name, a, b)    DTRACE_PROBE2(torc, name, a, b)
#define TORC_PROBE3(name, a, b, c) DTRACE_PROBE3(torc, name, a, b, c)
#else
#define TORC_PROBE2(name, a, b)    ((void)(a), (void)(b))
#define TORC_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
