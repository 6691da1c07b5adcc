/* SPDX-License-Identifier: MIT */
/*
 * doctor_json.c - the findings of torc doctor for programs. Names are kept, new ones may come.
 */
#include "doctor.h"

#include <sys/resource.h>

/* null for a limit that is none, and for a number that is not known. */
static json_t *limit_json(uint64_t limit)
{
    return limit == RLIM_INFINITY ? json_null() : json_integer((json_int_t)limit);
}

static json_t *number_json(int64_t number)
{
    return number < 0 ? json_null() : json_integer((json_int_t)number);
}

static json_t *text_json(const char *text)
{
    return text == NULL || text[0] == '\0' ? json_null() : json_string(text);
}

static json_t *kernel_json(const struct doctor_facts *facts)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "release", text_json(facts->kernel),
                     "machine", text_json(facts->machine), "io_uring_disabled",
                     number_json(facts->io_uring_disabled), "io_uring_group",
                     facts->io_uring_group < 0 ? json_null() : json_integer(facts->io_uring_group),
                     "seccomp", number_json(facts->seccomp), "container",
                     text_json(facts->container));
}

static json_t *limits_json(const struct doctor_facts *facts)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "nofile", limit_json(facts->nofile),
                     "nofile_max", limit_json(facts->nofile_max), "memlock",
                     limit_json(facts->memlock), "memlock_max", limit_json(facts->memlock_max),
                     "max_map_count", number_json(facts->max_map_count), "overcommit_memory",
                     number_json(facts->overcommit_memory), "somaxconn",
                     number_json(facts->somaxconn));
}

static json_t *machine_json(const struct doctor_facts *facts)
{
    return json_pack("{s:i, s:i, s:o, s:o, s:o}", "cpus", (int)facts->cpus, "cpus_online",
                     (int)facts->cpus_online, "cpu_quota",
                     facts->cpu_quota > 0 ? json_real(facts->cpu_quota) : json_null(),
                     "transparent_hugepage", text_json(facts->huge_pages), "tcp_congestion_control",
                     text_json(facts->congestion_control));
}

static json_t *driver_json(const struct torc_driver_report *report)
{
    return json_pack(
        "{s:o, s:i, s:o, s:i, s:i, s:o, s:i, s:i, s:i}", "name", text_json(report->driver), "error",
        report->error, "reason", text_json(report->reason), "entries", (int)report->entries,
        "completion_entries", (int)report->completion_entries, "self_test",
        text_json(report->self_test), "sqpoll_idle_ms", (int)report->sqpoll_idle_ms, "napi_poll_us",
        (int)report->napi_poll_us, "min_wait_us", (int)report->min_wait_us);
}

static json_t *features_json(const struct torc_driver_report *report)
{
    json_t *features = json_array();

    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const struct torc_feature_report *feature = &report->features[i];

        if (feature->name == NULL)
            continue; /* Without a driver nothing is known of features. */
        json_array_append_new(
            features,
            json_pack("{s:o, s:o, s:o, s:b, s:b, s:b, s:o}", "name", text_json(feature->name),
                      "since", text_json(feature->since), "gives", text_json(feature->gives),
                      "available", feature->available, "unknown", feature->unknown, "used",
                      feature->used, "reason", text_json(feature->reason)));
    }
    return features;
}

static json_t *advice_json(const struct doctor_advice *advice, unsigned count)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:b, s:s, s:s}", "problem", advice[i].problem,
                                              "what", advice[i].what, "how", advice[i].how));
    }
    return list;
}

json_t *doctor_json(const struct doctor_facts *facts, const struct doctor_advice *advice,
                    unsigned advice_count)
{
    return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "command", "doctor",
                     "version", TORC_VERSION, "works", facts->report.error == 0, "driver",
                     driver_json(&facts->report), "features", features_json(&facts->report),
                     "kernel", kernel_json(facts), "limits", limits_json(facts), "machine",
                     machine_json(facts), "advice", advice_json(advice, advice_count));
}
