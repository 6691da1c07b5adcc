/* SPDX-License-Identifier: MIT */
/*
 * dump_json.c - all fibers as one object of JSON.
 *
 * It is written piece by piece, since a hundred thousand fibers as one json_t would be large. The
 * fibers refer to stacks by their places in "stacks".
 */
#include "dump.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <torc/error.h>

static json_t *text_or_null(const char *text)
{
    json_t *value = text != NULL ? json_string(text) : NULL;

    return value != NULL ? value : json_null(); /* What is no UTF-8 is no JSON. */
}

static json_t *address_of(uint64_t address)
{
    return json_sprintf("0x%" PRIx64, address);
}

/* Write one value, by way of a buffer: json_dumpf() writes every brace by itself. */
static int write_element(json_t *element, bool first)
{
    static char buffer[16 * 1024];
    const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY;
    const size_t length = json_dumpb(element, buffer, sizeof(buffer), flags);
    int result = 0;

    if (!first && fputs(",\n", stdout) == EOF)
        result = -EIO;
    else if (length == 0)
        result = -EIO;
    else if (length > sizeof(buffer))
        result = json_dumpf(element, stdout, flags) == 0 ? 0 : -EIO;
    else if (fwrite(buffer, 1, length, stdout) != length)
        result = -EIO;
    json_decref(element);
    return result;
}

static json_t *source_json(const struct unwind_source *source, const struct unwind_place *place,
                           uint64_t pc, bool is_inlined)
{
    return json_pack("{s:o, s:o, s:o, s:i, s:o, s:o, s:b}", "pc", address_of(pc), "function",
                     text_or_null(source->function), "file", text_or_null(source->file), "line",
                     source->line, "module", text_or_null(place->module), "offset",
                     address_of(place->offset), "inlined", is_inlined);
}

static json_t *trace_json(const struct dump *dump, const struct dump_trace *trace)
{
    json_t *frames = json_array();
    unsigned first;
    unsigned end;

    dump_trace_shown(dump, trace, &first, &end);
    for (unsigned i = first; i < end; i++) {
        const struct unwind_place *place = dump_trace_place(dump, trace, i);

        for (unsigned j = 0; j < place->inlined_count; j++) {
            if (dump_trace_is_shown(&place->inlined[j]))
                json_array_append_new(frames,
                                      source_json(&place->inlined[j], place, trace->pcs[i], true));
        }
        json_array_append_new(frames, source_json(&place->at, place, trace->pcs[i], false));
    }
    return json_pack("{s:o}", "frames", frames);
}

static json_t *ops_json(const struct dump *dump, const struct dump_shard *shard)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < shard->op_count; i++) {
        const struct dump_op *op = &shard->ops[i];
        char name[DUMP_NAME_SIZE];

        dump_opcode_name(op->opcode, name, sizeof(name));
        json_array_append_new(
            array, json_pack("{s:o, s:i, s:o, s:b, s:o}", "operation", text_or_null(name), "fd",
                             op->fd, "fd_is", text_or_null(dump_fd_text(dump, op->fd)), "feed",
                             op->is_feed, "opened_by", text_or_null(dump_op_place(dump, op))));
    }
    return array;
}

static json_t *shard_json(const struct dump *dump, const struct dump_shard *shard)
{
    json_t *object = json_pack("{s:i, s:i, s:s, s:s, s:I, s:b, s:I}", "shard", (int)shard->index,
                               "thread", (int)shard->thread, "torc", shard->torc_version, "driver",
                               shard->driver, "fibers", (json_int_t)shard->fiber_count, "stopped",
                               shard->was_stopped, "pause_ns", (json_int_t)shard->pause_ns);

    if (shard->kernel[0] != '\0')
        json_object_set_new(object, "kernel", text_or_null(shard->kernel));
    if (!shard->was_stopped)
        json_object_set_new(object, "problem", text_or_null(shard->problem));
    if (shard->loop_trace != DUMP_NONE)
        json_object_set_new(object, "stack", json_integer(shard->loop_trace));
    if (shard->fiber_count == 0)
        json_object_set_new(object, "operations", ops_json(dump, shard));
    return object;
}

static json_t *fiber_reference(const struct dump *dump, uint64_t address)
{
    const uint32_t found = table_find(&dump->fiber_of, address);
    const struct dump_fiber *fiber;

    if (found == TABLE_NONE)
        return json_null();
    fiber = &dump->fibers[found];
    return json_pack("{s:i, s:I, s:o}", "shard", (int)dump->shards[fiber->shard].index, "id",
                     (json_int_t)fiber->id, "name", text_or_null(fiber->name));
}

static json_t *wait_json(const struct dump *dump, const struct dump_fiber *fiber)
{
    const struct dump_wait *wait = &fiber->wait;
    char text[600];
    json_t *object;

    dump_wait_text(dump, fiber, text, sizeof(text));
    object = json_pack("{s:o, s:o, s:I, s:b}", "for", text_or_null(wait->name), "text",
                       text_or_null(text), "since_ns", (json_int_t)dump_waited_ns(dump, fiber),
                       "interruptible", !wait->goes_on);
    if (wait->fd >= 0) {
        json_object_set_new(object, "fd", json_integer(wait->fd));
        json_object_set_new(object, "fd_is", text_or_null(dump_fd_text(dump, wait->fd)));
    }
    if (wait->form == TORC_WAIT_TIMER && fiber->deadline_ns != UINT64_MAX)
        json_object_set_new(object, "left_ns", json_integer((json_int_t)dump_left_ns(dump, fiber)));
    if (wait->form == TORC_WAIT_OBJECT || wait->form == TORC_WAIT_FUNCTION) {
        json_object_set_new(object, "object", address_of(wait->object));
        json_object_set_new(object, "symbol",
                            text_or_null(dump->unwinder != NULL
                                             ? unwind_symbol(dump->unwinder, wait->object)
                                             : NULL));
    }
    if (wait->owner != 0)
        json_object_set_new(object, "owner", fiber_reference(dump, wait->owner));
    if (wait->form == TORC_WAIT_SCOPE || wait->form == TORC_WAIT_OPS ||
        wait->form == TORC_WAIT_SELECT)
        json_object_set_new(object, "count", json_integer(wait->count));
    if (wait->shard != DUMP_NONE)
        json_object_set_new(object, "shard", json_integer(wait->shard));
    return object;
}

static json_t *path_json(const struct dump *dump, const struct dump_fiber *fiber)
{
    const struct dump_fiber *path[DUMP_PATH_DEPTH];
    const unsigned count = dump_path(dump, fiber, path);
    json_t *array = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(array, fiber_reference(dump, path[i]->address));
    return array;
}

static json_t *fiber_json(const struct dump *dump, const struct dump_fiber *fiber)
{
    const bool waits =
        fiber->state == TORC_INSPECT_WAITING || fiber->state == TORC_INSPECT_INTERRUPTED;
    uint64_t deadline_ns;
    unsigned open;
    int reason;
    json_t *object =
        json_pack("{s:i, s:I, s:o, s:s, s:o}", "shard", (int)dump->shards[fiber->shard].index, "id",
                  (json_int_t)fiber->id, "name", text_or_null(fiber->name), "state",
                  dump_state_name(fiber), "path", path_json(dump, fiber));

    json_object_set_new(
        object, "body",
        text_or_null(dump->unwinder != NULL ? unwind_symbol(dump->unwinder, fiber->body) : NULL));
    dump_scopes(dump, fiber, &open, &deadline_ns, &reason);
    json_object_set_new(object, "scopes_open", json_integer(open));
    if (deadline_ns != 0)
        json_object_set_new(object, "deadline_in_ns",
                            json_integer((json_int_t)(deadline_ns - dump->now_ns)));
    if (reason != 0)
        json_object_set_new(object, "reason", text_or_null(torc_strerror(reason)));
    if (waits)
        json_object_set_new(object, "wait", wait_json(dump, fiber));
    if (fiber->is_current)
        json_object_set_new(object, "running_ns",
                            json_integer((json_int_t)dump_waited_ns(dump, fiber)));
    json_object_set_new(object, "stack",
                        fiber->trace != DUMP_NONE ? json_integer(fiber->trace) : json_null());
    if (fiber->low != 0)
        json_object_set_new(object, "stack_size",
                            json_integer((json_int_t)(fiber->top - fiber->low)));
    if (fiber->stack_used > 0)
        json_object_set_new(object, "stack_used", json_integer(fiber->stack_used));
    return object;
}

int dump_json(const struct dump *dump)
{
    int result = 0;

    printf("{\"pid\":%d,\"program\":", (int)dump->pid);
    result = write_element(text_or_null(dump->program), true);
    printf(",\"stacks_known\":%s,\n\"shards\":[", dump->unwinder != NULL ? "true" : "false");
    for (uint32_t i = 0; i < dump->shard_count && result == 0; i++)
        result = write_element(shard_json(dump, &dump->shards[i]), i == 0);
    printf("],\n\"stacks\":[");
    for (uint32_t i = 0; i < dump->trace_count && result == 0; i++)
        result = write_element(trace_json(dump, &dump->traces[i]), i == 0);
    printf("],\n\"fibers\":[");
    for (uint32_t i = 0; i < dump->fiber_count && result == 0; i++)
        result = write_element(fiber_json(dump, &dump->fibers[i]), i == 0);
    printf("]}\n");
    return result == 0 && fflush(stdout) == 0 ? 0 : -EIO;
}
