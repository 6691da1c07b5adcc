/* SPDX-License-Identifier: MIT */
/*
 * dump.h - every fiber of a running process, as torc dump shows them.
 *
 * dump_process.c and dump_capture.c look at the process, dump_wait.c says what a fiber waits for,
 * dump_ops.c what goes on without any,
 * dump_text.c and dump_json.c show it.
 */
#ifndef TORC_TOOL_DUMP_H
#define TORC_TOOL_DUMP_H

#include "remote.h"
#include "table.h"
#include "unwind.h"
#include <torc/inspect.h>

#define DUMP_NONE UINT32_MAX

enum {
    DUMP_NAME_SIZE = 32,
    DUMP_WHY_SIZE = 200,
    DUMP_PATH_DEPTH = 16,
    DUMP_FD_SIZE = 200,
    DUMP_STACK_RECORD_MAX = 128, /* bytes of structures */
    DUMP_SCOPE_MAX = 256,
};

/* What descriptors are, as far as that was asked; many fibers may share one. */
struct dump_fds {
    struct table text_of; /* by number */
    char (*texts)[DUMP_FD_SIZE];
    uint32_t count;
};

/* What a fiber waits for, as far as it is the same for many. */
struct dump_wait {
    char name[DUMP_NAME_SIZE]; /* "recv", "mutex" */
    enum torc_wait_form form;
    bool goes_on;    /* It cannot be interrupted. */
    int fd;          /* or -1 */
    unsigned count;  /* of ops, cases, or fibers of a scope that is closed */
    uint64_t object; /* a lock's address, a function; or 0 */
    uint64_t owner;  /* the block of the fiber that has it; or 0 */
    uint32_t shard;  /* of the fibers' process, whose answer is waited for; or DUMP_NONE */
    bool runs_now;   /* A thread of the pool executes the function. */
};

struct dump_fiber {
    uint64_t address;
    uint64_t sp;
    uint64_t since_ns;
    uint64_t scope;
    uint64_t home;
    uint64_t kind;
    uint64_t waits_for;
    uint64_t deadline_ns;
    uint64_t stack; /* the record */
    uint64_t body;
    uint64_t low;
    uint64_t top;
    uint64_t name_at;
    const void *copy; /* of the stack from `sp` on, while it is looked at */
    size_t copy_length;
    struct dump_wait wait;
    uint32_t id;
    uint32_t shard;
    uint32_t trace;      /* or DUMP_NONE */
    uint32_t stack_used; /* the most that ever was, bytes; 0: not known */
    uint8_t state;       /* torc_inspect_state */
    bool is_current;     /* The shard's thread was on its stack when it was stopped. */
    char name[DUMP_NAME_SIZE];
};

struct dump_scope {
    uint64_t address;
    uint64_t parent;
    uint64_t owner;       /* a fiber's block; 0 for the root */
    uint64_t deadline_ns; /* 0: none */
    unsigned fibers;
    int reason;
    unsigned flags;
};

/* Return addresses, and how many fibers have just these. */
struct dump_trace {
    uint64_t *pcs;
    unsigned depth;
    bool is_exact; /* pcs[0] is where it stands */
    unsigned count;
};

/* An operation that no fiber waits for. */
struct dump_op {
    unsigned opcode;
    int fd;
    bool is_feed;    /* its completions are told to a function of the program */
    uint64_t opener; /* that function; else the call that opened what it is an op of */
};

struct dump_shard {
    uint64_t address;
    uint64_t mailbox;
    uint64_t loop;
    uint64_t running;
    uint64_t round_time_ns;
    uint32_t index;
    pid_t thread;
    uint32_t first_fiber; /* in the dump's array */
    uint32_t fiber_count;
    uint32_t loop_trace; /* where the thread is, if it is in the loop */
    uint64_t pause_ns;
    struct dump_op *ops; /* if there are no fibers */
    uint32_t op_count;
    bool was_stopped;
    char problem[DUMP_WHY_SIZE]; /* why it was not */
    char driver[16];
    char kernel[64]; /* what it does in the kernel, "" if it runs */
    char torc_version[16];
};

struct dump {
    pid_t pid;
    bool stacks_wanted;
    bool may_stop;
    struct unwinder *unwinder; /* NULL: no stacks */
    int pidfd;
    uint64_t now_ns; /* of the process's clock */
    char program[256];
    struct dump_fds *fds;
    struct dump_shard *shards;
    uint32_t shard_count;
    struct dump_fiber *fibers;
    uint32_t fiber_count;
    struct dump_scope *scopes;
    uint32_t scope_count;
    struct dump_trace *traces;
    uint32_t trace_count;
    struct table fiber_of; /* by address */
    struct table scope_of;
    struct table trace_of; /* by hash */
    struct table kind_of;  /* wait kinds that were read */
    struct torc_wait_kind *kinds;
    char (*kind_names)[DUMP_NAME_SIZE];
    uint32_t kind_count;
    struct table name_of; /* by address */
    char (*names)[DUMP_NAME_SIZE];
    uint32_t name_count;
};

/* Look at the process. 0, or a negative errno with the reason in `ret_why`. */
int dump_capture(struct dump *dump, char *ret_why, size_t why_size);
void dump_finish(struct dump *dump);

/* Look at one of its shards. 0, or a negative errno. */
int dump_capture_shard(struct dump *dump, const struct remote_torc *torc, uint32_t number);

/* ---- dump_wait.c ---- */

/* Find out what a parked fiber waits for; its stack is copied. */
void dump_wait_read(struct dump *dump, const struct remote_torc *torc, struct dump_fiber *fiber);

/* Only what kind of wait it is: its stack was not copied. */
void dump_wait_name(struct dump *dump, struct dump_fiber *fiber);

/* Read memory that may be in the copy of the fiber's stack. False if it cannot be read. */
bool dump_read(const struct dump *dump, const struct dump_fiber *fiber, uint64_t address, void *to,
               size_t length);

/* What it waits for in words, with descriptors and locks explained: "recv on 7 (tcp ...)". */
void dump_wait_text(const struct dump *dump, const struct dump_fiber *fiber, char *text,
                    size_t size);

/* The operation's name, "recv"; "operation 99" if it is not known. */
void dump_opcode_name(unsigned opcode, char *text, size_t size);

/* ---- dump_ops.c ---- */

/* Read the operations of a shard without fibers; `bytes` is the shard. */
void dump_ops_read(struct dump *dump, const struct remote_torc *torc, struct dump_shard *shard,
                   const void *bytes);

/* Who is told, or has opened what it is an op of; NULL if that is not known. */
const char *dump_op_place(const struct dump *dump, const struct dump_op *op);

/* An operation in words: "accept on 5 (tcp 127.0.0.1:80, listens), of what was opened by serve". */
void dump_op_text(const struct dump *dump, const struct dump_op *op, char *text, size_t size);

/* ---- dump_fd.c ---- */

/* What a descriptor of the process is: "tcp 127.0.0.1:80 <-> 127.0.0.1:51344", "/etc/passwd". The
 * text is good until the next call. */
const char *dump_fd_text(const struct dump *dump, int fd);

/* ---- dump_trace.c ---- */

/* Note the calls on a fiber's stack. Returns the trace's number, or DUMP_NONE. */
uint32_t dump_trace(struct dump *dump, const struct unwind_registers *registers,
                    const struct unwind_memory *memory);

/* Make those traces one that are shown alike: fibers may have parked by several ways. */
void dump_trace_merge(struct dump *dump);

/* The frames of a trace that are shown: without torc's own at both ends. */
void dump_trace_shown(const struct dump *dump, const struct dump_trace *trace, unsigned *ret_first,
                      unsigned *ret_end);

/* Whether a function that is inlined is shown: torc's own are not. */
bool dump_trace_is_shown(const struct unwind_source *inlined);

/* Where frame `i` of a trace is. */
const struct unwind_place *dump_trace_place(const struct dump *dump, const struct dump_trace *trace,
                                            unsigned i);

/* ---- dump_text.c, dump_json.c ---- */

/* For how long the fiber has waited; 0 if it does not. */
uint64_t dump_waited_ns(const struct dump *dump, const struct dump_fiber *fiber);

/* The fibers by whose scopes a fiber was started, outermost first. Returns how many. */
unsigned dump_path(const struct dump *dump, const struct dump_fiber *fiber,
                   const struct dump_fiber *path[DUMP_PATH_DEPTH]);

/* What there is to say of the fiber's scopes: the next deadline (0: none), the reason in force. */
void dump_scopes(const struct dump *dump, const struct dump_fiber *fiber, unsigned *ret_open,
                 uint64_t *ret_deadline_ns, int *ret_reason);

/* How much of a sleep is left. */
uint64_t dump_left_ns(const struct dump *dump, const struct dump_fiber *fiber);

const char *dump_state_name(const struct dump_fiber *fiber);

void dump_text(const struct dump *dump, bool grouped);
int dump_json(const struct dump *dump);

#endif
