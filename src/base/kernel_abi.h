/* SPDX-License-Identifier: MIT */
/*
 * kernel_abi.h - constants of the kernel that are newer than the headers one may have to build
 * with (Linux 6.0 as in liburing 2.3). Each is guarded, and checked against the header where that
 * has it.
 */
#ifndef BASE_KERNEL_ABI_H
#define BASE_KERNEL_ABI_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Control data that is a descriptor, of the sender's process: for whom has set SO_PASSPIDFD. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4 /* 6.5 */
#endif
_Static_assert(SCM_PIDFD == 4, "kernel ABI");

/* io_uring_setup() flags, io_uring_setup(2). */
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13) /* 6.1 */
#endif
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16) /* 6.6 */
#endif
_Static_assert(IORING_SETUP_DEFER_TASKRUN == 1U << 13, "kernel ABI");
_Static_assert(IORING_SETUP_NO_SQARRAY == 1U << 16, "kernel ABI");
_Static_assert(IORING_SETUP_SINGLE_ISSUER == 1U << 12, "kernel ABI");
_Static_assert(IORING_SETUP_TASKRUN_FLAG == 1U << 9, "kernel ABI");

/* Registration codes, io_uring_register(2). */
#define KERNEL_REGISTER_NAPI 27 /* IORING_REGISTER_NAPI, 6.9: an enum, so it cannot be asked for */
_Static_assert(IORING_REGISTER_RING_FDS == 20, "kernel ABI");
_Static_assert(IORING_OP_MSG_RING == 40, "kernel ABI");

/* Operations that liburing 2.3 does not know; those that it does are enumerators, which no
 * preprocessor sees, so these have names of their own. */
#define KERNEL_OP_WAITID    50 /* 6.7 */
#define KERNEL_OP_FTRUNCATE 55 /* 6.9 */
#define KERNEL_OP_BIND      56 /* 6.11 */
#define KERNEL_OP_LISTEN    57 /* 6.11 */
#define KERNEL_OP_PIPE      62 /* 6.16 */
_Static_assert(IORING_OP_SENDMSG_ZC == 48, "kernel ABI");

/* Flags of operations that liburing 2.3 does not know, for the same reason under names of ours. */
#define KERNEL_TIMEOUT_MULTISHOT (1U << 6) /* 6.4 */
#define KERNEL_ACCEPT_DONTWAIT   (1U << 1) /* 6.10 */
#define KERNEL_ACCEPT_POLL_FIRST (1U << 2) /* 6.10 */
#define KERNEL_CANCEL_USERDATA   (1U << 4) /* 6.6 */
#define KERNEL_CANCEL_OP         (1U << 5) /* 6.6 */
_Static_assert(IORING_TIMEOUT_ETIME_SUCCESS == 1U << 5, "kernel ABI");
_Static_assert(IORING_ACCEPT_MULTISHOT == 1U << 0, "kernel ABI");
_Static_assert(IORING_ASYNC_CANCEL_FD_FIXED == 1U << 3, "kernel ABI");

/* Flags of completions and of the wait. */
_Static_assert(IORING_CQE_F_NOTIF == 1U << 3, "kernel ABI");
_Static_assert(IORING_ENTER_REGISTERED_RING == 1U << 4, "kernel ABI");

#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4) /* 6.12: the buffer is not used up yet */
#endif
_Static_assert(IORING_CQE_F_BUF_MORE == 1U << 4, "kernel ABI");

/* The argument of IORING_REGISTER_PBUF_RING; older headers call its flags `pad`. */
struct kernel_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t resv[3];
};
_Static_assert(sizeof(struct kernel_buf_reg) == sizeof(struct io_uring_buf_reg), "kernel ABI");
#define KERNEL_PBUF_RING_INC 2 /* IOU_PBUF_RING_INC, 6.12 */

/* The argument of IORING_REGISTER_NAPI. The kernel writes the values before into it. */
struct kernel_napi {
    uint32_t busy_poll_to; /* microseconds */
    uint8_t prefer_busy_poll;
    uint8_t pad[3];
    uint64_t resv;
};
_Static_assert(sizeof(struct kernel_napi) == 16, "kernel ABI");

/* The argument of a wait; older headers call `min_wait_usec` pad. */
struct kernel_getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t min_wait_usec; /* 6.12 */
    uint64_t ts;
};
_Static_assert(sizeof(struct kernel_getevents_arg) == sizeof(struct io_uring_getevents_arg),
               "kernel ABI");
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15) /* 6.12 */
#endif
_Static_assert(IORING_FEAT_MIN_TIMEOUT == 1U << 15, "kernel ABI");

/* Flags of reads and writes, preadv2(2). */
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20 /* 6.9 */
#endif
_Static_assert(RWF_NOAPPEND == 0x20, "kernel ABI");

/* What direct I/O demands, statx(2). */
#define KERNEL_STATX_DIOALIGN 0x2000U /* 6.1 */

/* The fields of struct statx that concern that; older headers lack the last ones. */
struct kernel_statx_direct {
    uint32_t mask;
    uint32_t skipped[37];
    uint32_t memory_alignment;
    uint32_t offset_alignment;
    uint32_t spare[24];
};
_Static_assert(sizeof(struct kernel_statx_direct) == 256, "kernel ABI");
_Static_assert(offsetof(struct kernel_statx_direct, memory_alignment) == 0x98, "kernel ABI");

/* madvise() advice, madvise(2): a page that faults, without a mapping of its own. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* 6.13 */
#endif
_Static_assert(MADV_GUARD_INSTALL == 102, "kernel ABI");

/* memfd_create() flags: never to be executed, which some systems insist on. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* 6.3 */
#endif
_Static_assert(MFD_NOEXEC_SEAL == 0x0008U, "kernel ABI");

/* For process_madvise(): the calling process, in place of a pidfd. */
#ifndef PIDFD_SELF
#define PIDFD_SELF (-10000) /* 6.14 */
#endif

/* An entry of a directory, as getdents64(2) gives it. */
struct kernel_dirent {
    uint64_t inode;
    int64_t resume; /* the position behind this entry */
    uint16_t size;
    uint8_t type;
    char name[];
};

#endif
