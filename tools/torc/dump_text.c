/* SPDX-License-Identifier: MIT */
/*
 * dump_text.c - all fibers, for people to read: each by itself, or those together whose stacks are
 * the same and who wait for the same kind of thing.
 */
#include "dump.h"

#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/error.h>
#include <torc/scope.h>

enum {
    NAMES_SHOWN = 4, /* of a group */
};

/* ---- What both forms of output say ---- */

const char *dump_state_name(const struct dump_fiber *fiber)
{
    static const char *const names[] = {
        [TORC_INSPECT_FREE] = "free",       [TORC_INSPECT_NEW] = "new",
        [TORC_INSPECT_READY] = "ready",     [TORC_INSPECT_RUNNING] = "running",
        [TORC_INSPECT_WAITING] = "waiting", [TORC_INSPECT_INTERRUPTED] = "interrupted",
    };

    return fiber->state < sizeof(names) / sizeof(names[0]) ? names[fiber->state] : "?";
}

static bool waits(const struct dump_fiber *fiber)
{
    return fiber->state == TORC_INSPECT_WAITING || fiber->state == TORC_INSPECT_INTERRUPTED;
}

uint64_t dump_waited_ns(const struct dump *dump, const struct dump_fiber *fiber)
{
    uint64_t since = 0;

    if (waits(fiber))
        since = fiber->since_ns;
    else if (fiber->is_current)
        since = dump->shards[fiber->shard].round_time_ns; /* It cannot have begun before. */
    return since != 0 && since < dump->now_ns ? dump->now_ns - since : 0;
}

uint64_t dump_left_ns(const struct dump *dump, const struct dump_fiber *fiber)
{
    return fiber->deadline_ns > dump->now_ns ? fiber->deadline_ns - dump->now_ns : 0;
}

static const struct dump_scope *find_scope(const struct dump *dump, uint64_t address)
{
    const uint32_t found = address != 0 ? table_find(&dump->scope_of, address) : TABLE_NONE;

    return found != TABLE_NONE ? &dump->scopes[found] : NULL;
}

unsigned dump_path(const struct dump *dump, const struct dump_fiber *fiber,
                   const struct dump_fiber *path[DUMP_PATH_DEPTH])
{
    const struct dump_scope *scope = find_scope(dump, fiber->home);
    unsigned count = 0;

    while (scope != NULL && scope->owner != 0 && count < DUMP_PATH_DEPTH) {
        const uint32_t owner = table_find(&dump->fiber_of, scope->owner);

        if (owner == TABLE_NONE)
            break;
        path[count++] = &dump->fibers[owner];
        scope = find_scope(dump, dump->fibers[owner].home);
    }
    for (unsigned i = 0; i < count / 2; i++) {
        const struct dump_fiber *swapped = path[i];

        path[i] = path[count - 1 - i];
        path[count - 1 - i] = swapped;
    }
    return count;
}

void dump_scopes(const struct dump *dump, const struct dump_fiber *fiber, unsigned *ret_open,
                 uint64_t *ret_deadline_ns, int *ret_reason)
{
    const struct dump_scope *scope = find_scope(dump, fiber->scope);

    *ret_open = 0;
    *ret_deadline_ns = 0;
    *ret_reason = scope != NULL ? scope->reason : 0;
    for (unsigned i = 0; i < 64 && scope != NULL; i++) {
        *ret_open += scope->owner == fiber->address;
        if (scope->deadline_ns != 0 &&
            (*ret_deadline_ns == 0 || scope->deadline_ns < *ret_deadline_ns))
            *ret_deadline_ns = scope->deadline_ns;
        if (scope->flags & TORC_SHIELD)
            break;
        scope = find_scope(dump, scope->parent);
    }
}

/* ---- Pieces ---- */

/* Names in a program are whatever its file says. */
struct printable {
    char text[640];
};

static struct printable printable(const char *text)
{
    struct printable result;

    (void)snprintf(result.text, sizeof(result.text), "%s", text);
    output_make_printable(result.text);
    return result;
}

static void print_source(const struct unwind_source *source, const struct unwind_place *place)
{
    const char *function = source->function != NULL ? source->function : "?";

    if (source->file != NULL)
        printf("    %-32s %s:%d\n", printable(function).text, printable(source->file).text,
               source->line);
    else
        printf("    %-32s %s+0x%" PRIx64 "\n", printable(function).text,
               printable(place->module != NULL ? place->module : "").text, place->offset);
}

static void print_frames(const struct dump *dump, uint32_t number)
{
    const struct dump_trace *trace;
    unsigned first;
    unsigned end;

    if (number == DUMP_NONE)
        return;
    trace = &dump->traces[number];
    dump_trace_shown(dump, trace, &first, &end);
    for (unsigned i = first; i < end; i++) {
        const struct unwind_place *place = dump_trace_place(dump, trace, i);

        for (unsigned j = 0; j < place->inlined_count; j++) {
            if (dump_trace_is_shown(&place->inlined[j]))
                print_source(&place->inlined[j], place);
        }
        print_source(&place->at, place);
    }
}

static void print_path(const struct dump *dump, const struct dump_fiber *fiber)
{
    const struct dump_fiber *path[DUMP_PATH_DEPTH];
    const unsigned count = dump_path(dump, fiber, path);
    uint64_t deadline_ns;
    unsigned open;
    int reason;

    dump_scopes(dump, fiber, &open, &deadline_ns, &reason);
    printf("    scope   root");
    for (unsigned i = 0; i < count; i++) {
        if (path[i]->name[0] != '\0')
            printf(" > %s", path[i]->name);
        else
            printf(" > fiber %u", path[i]->id);
    }
    if (open > 0)
        printf(", and %u of its own", open);
    if (deadline_ns > dump->now_ns)
        printf("; deadline in %s", output_time((double)(deadline_ns - dump->now_ns)).text);
    if (reason != 0)
        printf("; ended: %s", torc_strerror(reason));
    putchar('\n');
}

static void print_state(const struct dump *dump, const struct dump_fiber *fiber)
{
    const uint64_t waited_ns = dump_waited_ns(dump, fiber);
    char what[600];

    if (!waits(fiber)) {
        printf("%s", dump_state_name(fiber));
        if (fiber->is_current)
            printf(" for %s at least", output_time((double)waited_ns).text);
        return;
    }
    dump_wait_text(dump, fiber, what, sizeof(what));
    output_make_printable(what);
    printf("%s for %s: %s%s", dump_state_name(fiber), output_time((double)waited_ns).text, what,
           fiber->wait.goes_on ? " (not interruptible)" : "");
}

static void print_fiber(const struct dump *dump, const struct dump_fiber *fiber)
{
    const char *bold = output_style(stdout, OUTPUT_BOLD);
    const char *plain = output_style(stdout, OUTPUT_PLAIN);
    const char *body = dump->unwinder != NULL ? unwind_symbol(dump->unwinder, fiber->body) : NULL;

    printf("\n%sfiber %u.%u \"%s\"%s, %s%s", bold, dump->shards[fiber->shard].index, fiber->id,
           fiber->name, plain, printable(body != NULL ? body : "").text,
           body != NULL ? "(): " : "");
    print_state(dump, fiber);
    putchar('\n');
    print_path(dump, fiber);
    if (fiber->stack_used > 0)
        printf("    stack   %s of %s used at most\n", output_bytes(fiber->stack_used).text,
               output_bytes((double)(fiber->top - fiber->low)).text);
    print_frames(dump, fiber->trace);
}

/* ---- Groups ---- */

/* Those with the same calls and the same kind of wait are one group. */
static int compare(const struct dump_fiber *a, const struct dump_fiber *b)
{
    const int names = strcmp(a->wait.name, b->wait.name);

    if (a->trace != b->trace)
        return a->trace < b->trace ? -1 : 1;
    if (a->state != b->state)
        return a->state < b->state ? -1 : 1;
    if (a->wait.object != b->wait.object && a->wait.form == TORC_WAIT_OBJECT)
        return a->wait.object < b->wait.object ? -1 : 1;
    return names;
}

static int by_group(const void *a, const void *b)
{
    const struct dump_fiber *left = *(const struct dump_fiber *const *)a;
    const struct dump_fiber *right = *(const struct dump_fiber *const *)b;
    const int difference = compare(left, right);

    return difference != 0 ? difference : (left > right) - (left < right);
}

struct group {
    const struct dump_fiber **fibers;
    uint32_t count;
};

static int by_size(const void *a, const void *b)
{
    const struct group *left = a;
    const struct group *right = b;

    if (left->count != right->count)
        return left->count < right->count ? 1 : -1;
    return (left->fibers > right->fibers) - (left->fibers < right->fibers);
}

static void print_members(const struct dump *dump, const struct group *group)
{
    const char *shown[NAMES_SHOWN];
    unsigned names = 0;

    printf("    such as");
    for (uint32_t i = 0; i < group->count && names < NAMES_SHOWN; i++) {
        const struct dump_fiber *fiber = group->fibers[i];
        bool is_new = true;

        for (unsigned j = 0; j < names; j++)
            is_new = is_new && strcmp(shown[j], fiber->name) != 0;
        if (!is_new)
            continue;
        printf("%s %u.%u \"%s\"", names > 0 ? "," : "", dump->shards[fiber->shard].index, fiber->id,
               fiber->name);
        shown[names++] = fiber->name;
    }
    putchar('\n');
}

static void print_group(const struct dump *dump, const struct group *group)
{
    uint64_t longest_ns = 0;
    uint64_t shortest_ns = UINT64_MAX;
    uint32_t most = 0;

    for (uint32_t i = 0; i < group->count; i++) {
        const uint64_t waited_ns = dump_waited_ns(dump, group->fibers[i]);

        longest_ns = waited_ns > longest_ns ? waited_ns : longest_ns;
        shortest_ns = waited_ns < shortest_ns ? waited_ns : shortest_ns;
        most = group->fibers[i]->stack_used > most ? group->fibers[i]->stack_used : most;
    }
    printf("\n%s%s fibers%s ", output_style(stdout, OUTPUT_BOLD), output_count(group->count).text,
           output_style(stdout, OUTPUT_PLAIN));
    print_state(dump, group->fibers[0]);
    putchar('\n');
    print_members(dump, group);
    if (waits(group->fibers[0])) {
        printf("    waited  %s", output_time((double)shortest_ns).text);
        printf(" to %s\n", output_time((double)longest_ns).text);
    }
    if (most > 0)
        printf("    stack   %s used at most\n", output_bytes(most).text);
    print_frames(dump, group->fibers[0]->trace);
}

static void print_groups(const struct dump *dump)
{
    const struct dump_fiber **sorted = table_grow(NULL, dump->fiber_count, sizeof(*sorted));
    struct group *groups = table_grow(NULL, dump->fiber_count, sizeof(*groups));
    uint32_t count = 0;

    for (uint32_t i = 0; i < dump->fiber_count; i++)
        sorted[i] = &dump->fibers[i];
    qsort(sorted, dump->fiber_count, sizeof(*sorted), by_group);
    for (uint32_t i = 0; i < dump->fiber_count; i++) {
        if (i == 0 || compare(sorted[i - 1], sorted[i]) != 0)
            groups[count++] = (struct group){&sorted[i], 0};
        groups[count - 1].count++;
    }
    qsort(groups, count, sizeof(*groups), by_size);
    for (uint32_t i = 0; i < count; i++) {
        if (groups[i].count == 1)
            print_fiber(dump, groups[i].fibers[0]);
        else
            print_group(dump, &groups[i]);
    }
    free(groups);
    free(sorted);
}

/* ---- All ---- */

static void print_shard(const struct dump *dump, const struct dump_shard *shard)
{
    printf("shard %u: thread %d, %s, %s fibers", shard->index, (int)shard->thread, shard->driver,
           output_count(shard->fiber_count).text);
    if (shard->kernel[0] != '\0')
        printf("; in the kernel: %s", shard->kernel);
    if (shard->was_stopped)
        printf("; stood still for %s\n", output_time((double)shard->pause_ns).text);
    else
        printf("; looked at while it ran: %s\n", shard->problem);
    for (uint32_t i = 0; i < shard->op_count; i++) {
        char text[600];

        dump_op_text(dump, &shard->ops[i], text, sizeof(text));
        printf("    in flight: %s\n", printable(text).text);
    }
    if (shard->loop_trace != DUMP_NONE)
        print_frames(dump, shard->loop_trace);
}

void dump_text(const struct dump *dump, bool grouped)
{
    printf("%sprocess %d%s %s, torc %s, %s fibers\n", output_style(stdout, OUTPUT_BOLD),
           (int)dump->pid, output_style(stdout, OUTPUT_PLAIN), dump->program,
           dump->shard_count > 0 ? dump->shards[0].torc_version : "",
           output_count(dump->fiber_count).text);
    if (dump->shard_count == 0)
        printf("no shard runs just now\n");
    for (uint32_t i = 0; i < dump->shard_count; i++)
        print_shard(dump, &dump->shards[i]);
    if (dump->stacks_wanted && dump->unwinder == NULL)
        printf("no stacks: this torc was built without elfutils (libdw)\n");
    if (grouped) {
        print_groups(dump);
        return;
    }
    for (uint32_t i = 0; i < dump->fiber_count; i++)
        print_fiber(dump, &dump->fibers[i]);
}
