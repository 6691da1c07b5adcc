/* SPDX-License-Identifier: MIT */
/*
 * file.h - an open file of a simulated host: a socket, an end of a pipe, a file on its disk, ...
 *
 * Models never block, never know of operations, and never complete any. A call that would have to
 * wait gives -EAGAIN; when things may have changed the model says torc__sim_notify(), and whoever
 * waits tries again. Everything of torc's driver that is not a model is a user of this interface.
 *
 * Calls are as the system calls of the same names on a descriptor with O_NONBLOCK, and return what
 * they do, or a negative errno. A function that is NULL in the table gives the error that stands
 * with it.
 */
#ifndef DRIVER_SIM_FILE_H
#define DRIVER_SIM_FILE_H

#include "driver/sim/host.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sim_file;
struct sim_waiter;

/* Traits of a kind of file. */
enum sim_trait {
    SIM_BYTES = 1,     /* a stream of bytes: a transfer may be made shorter by the driver */
    SIM_SEEKABLE = 2,  /* a file on a disk: offsets count, it is always ready */
    SIM_SOCKET = 4,    /* it has socket calls */
    SIM_PIPE = 8,      /* an end of a pipe, or a FIFO: one of two ends of a splice must be one */
    SIM_DIRECTORY = 16 /* a directory of a disk */
};

struct sim_file_ops {
    const char *kind; /* for the trace: "tcp", "pipe" */
    unsigned traits;

    /*
     * `offset` is -1 for the file's own position, and not looked at where there is none. `flags`
     * are RWF_. Both of them -EINVAL.
     */
    ssize_t (*read)(struct sim_file *file, const struct iovec *vector, size_t count, off_t offset,
                    int flags);
    ssize_t (*write)(struct sim_file *file, const struct iovec *vector, size_t count, off_t offset,
                     int flags);

    /* ---- Sockets; all -ENOTSOCK ---- */

    /* They change of *message what the system calls change, msg_flags included. */
    ssize_t (*recvmsg)(struct sim_file *file, struct msghdr *message, int flags);
    ssize_t (*sendmsg)(struct sim_file *file, const struct msghdr *message, int flags);
    int (*bind)(struct sim_file *file, const struct sockaddr *address, socklen_t length);
    int (*listen)(struct sim_file *file, int backlog);
    /*
     * 0; -EINPROGRESS: it is on its way, and its end makes the file ready for POLLOUT; then another
     * call tells how it went, as connect(2) does. -EAGAIN (Unix): the server's queue is full,
     * notify when it no longer is.
     */
    int (*connect)(struct sim_file *file, const struct sockaddr *address, socklen_t length);
    /* A new file, with one reference, which is the caller's. `length` in and out; may be NULL. */
    int (*accept)(struct sim_file *file, struct sockaddr *address, socklen_t *length, int flags,
                  struct sim_file **ret_file);
    int (*shutdown)(struct sim_file *file, int how);
    int (*local)(struct sim_file *file, struct sockaddr *address, socklen_t *length);
    int (*peer)(struct sim_file *file, struct sockaddr *address, socklen_t *length);
    int (*get_option)(struct sim_file *file, int level, int name, void *value, socklen_t *length);
    int (*set_option)(struct sim_file *file, int level, int name, const void *value,
                      socklen_t length);

    /* ---- Of every kind ---- */

    /* What the file is ready for now, of POLLIN, POLLOUT, POLLERR, ...; NULL: always IN and OUT. */
    uint32_t (*poll)(struct sim_file *file);
    /* What fstat(2) tells, as far as it is the kind's to tell: stx_mode, stx_size. May be NULL. */
    int (*stat)(struct sim_file *file, struct statx *ret_about);
    /* FIONREAD, SIOCOUTQ, ... and of fcntl(2) F_GETPIPE_SZ and F_SETPIPE_SZ. -ENOTTY. */
    int (*ioctl)(struct sim_file *file, unsigned long request, void *arg);
    /*
     * A descriptor was closed while references are left; as flock() and FIFO models may want to
     * know. May be NULL.
     */
    void (*closed)(struct sim_file *file);
    /*
     * The last reference is gone: undo what open() did, and free it. If `crashed` the machine has
     * lost its power: nothing is written or sent any more, and peers learn of it by silence only.
     */
    void (*release)(struct sim_file *file, bool crashed);
};

/* A file that is open: the head of each kind's own struct. */
struct sim_file {
    const struct sim_file_ops *ops;
    struct sim_host *host;
    unsigned references;
    unsigned descriptors; /* of these */
    int flags;            /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, ... as F_GETFL tells them */
    uint64_t serial;      /* of its host, for the trace: the how-manieth it was */
    struct sim_waiter *waiters_first; /* in the order in which they came */
    struct sim_waiter **waiters_last;
    uint64_t served_ns;        /* when the last of those who waited is tried */
    struct sim_waiter *cursor; /* whom a notification that is under way tells next */
};

/* Prepare the head of a new file, with one reference. */
void torc__sim_file_init(struct sim_file *file, const struct sim_file_ops *ops,
                         struct sim_host *host, int flags);

static inline struct sim_file *torc__sim_file_acquire(struct sim_file *file)
{
    file->references++;
    return file;
}

/* Give a reference back. NULL is ignored. */
void torc__sim_file_release(struct sim_file *file);

uint32_t torc__sim_file_poll(struct sim_file *file);

/* ---- Waiting for what a file is ready for ---- */

/* Called from within a model, so it only notes that there is something to be done. */
typedef void torc__sim_notice_fn(struct sim_waiter *waiter, uint32_t events);

struct sim_waiter {
    struct sim_file *file; /* NULL: it does not wait */
    struct sim_waiter *next;
    struct sim_waiter **link;
    uint32_t events; /* that it waits for; POLLERR and POLLHUP always */
    torc__sim_notice_fn *notice;
    bool is_weak; /* It has no reference of its own; whoever closes the file sees to it. */
};

/* Wait: `notice` is called for each notification, until torc__sim_wait_end(). */
void torc__sim_wait_begin(struct sim_waiter *waiter, struct sim_file *file, uint32_t events,
                          torc__sim_notice_fn *notice);

/* Nothing if it does not wait. */
void torc__sim_wait_end(struct sim_waiter *waiter);

/*
 * Of a model: data has come, there is room again, a connect has ended. `events` are those that
 * may be new, as poll(2) has them; one too many does no harm. Each change is told, also if the file
 * was ready before, since some watch for changes.
 */
void torc__sim_notify(struct sim_file *file, uint32_t events);

/* ---- Vectors ---- */

/*
 * Copy between a vector and flat memory, beginning `skip` bytes into the vector. Returns how many
 * bytes that were: `size`, or what is left of the vector.
 */
size_t torc__sim_vector_fill(const struct iovec *vector, size_t count, size_t skip,
                             const void *bytes, size_t size);
size_t torc__sim_vector_take(const struct iovec *vector, size_t count, size_t skip, void *bytes,
                             size_t size);

#endif
