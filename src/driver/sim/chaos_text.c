/* SPDX-License-Identifier: MIT */
/*
 * chaos_text.c - chaos as text, and setting by setting.
 */
#include "base/compiler.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/sim_chaos.h>

enum kind {
    KIND_RANGE,
    KIND_RATE,
    KIND_NUMBER,
};

struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
};

#define SETTING(kind, field)                                 \
    {                                                        \
#field, kind, offsetof(struct torc_sim_chaos, field) \
    }

static const struct setting settings[] = {
    SETTING(KIND_RANGE, op_latency),
    SETTING(KIND_RANGE, turn_latency),
    SETTING(KIND_RATE, short_transfer_rate),
    SETTING(KIND_RATE, op_error_rate),
    SETTING(KIND_RATE, descriptor_error_rate),
    SETTING(KIND_RATE, multishot_end_rate),
    SETTING(KIND_RATE, cancel_late_rate),
    SETTING(KIND_RATE, cancel_partial_rate),
    SETTING(KIND_RATE, overflow_rate),
    SETTING(KIND_RATE, late_start_rate),
    SETTING(KIND_RATE, spurious_wake_rate),
    SETTING(KIND_RANGE, net_latency),
    SETTING(KIND_RANGE, loopback_latency),
    SETTING(KIND_NUMBER, net_bytes_per_second),
    SETTING(KIND_RATE, datagram_loss_rate),
    SETTING(KIND_RATE, datagram_duplicate_rate),
    SETTING(KIND_RATE, datagram_reorder_rate),
    SETTING(KIND_RATE, segment_loss_rate),
    SETTING(KIND_RATE, reset_rate),
    SETTING(KIND_RATE, connect_refuse_rate),
    SETTING(KIND_RATE, connect_lose_rate),
    SETTING(KIND_RATE, send_error_rate),
    SETTING(KIND_RANGE, disk_latency),
    SETTING(KIND_RANGE, disk_flush_latency),
    SETTING(KIND_RATE, disk_stall_rate),
    SETTING(KIND_RATE, disk_error_rate),
    SETTING(KIND_RATE, disk_full_rate),
    SETTING(KIND_RATE, disk_quota_rate),
    SETTING(KIND_RATE, disk_rot_rate),
    SETTING(KIND_RATE, crash_tear_rate),
    SETTING(KIND_RATE, crash_lose_rate),
    SETTING(KIND_NUMBER, disk_bytes),
    SETTING(KIND_NUMBER, disk_write_back_ns),
    SETTING(KIND_RATE, disk_any_order),
    SETTING(KIND_RATE, disk_sync_names),
    SETTING(KIND_NUMBER, faults_max),
    SETTING(KIND_NUMBER, quiet_from_ns),
};

static const char *const presets[] = {
    [TORC_SIM_DEFAULT] = "default",
    [TORC_SIM_CALM] = "calm",
    [TORC_SIM_WILD] = "wild",
};

static size_t size_of(const struct setting *setting)
{
    switch (setting->kind) {
    case KIND_RANGE:
        return sizeof(struct torc_sim_range);
    case KIND_RATE:
        return sizeof(uint32_t);
    case KIND_NUMBER:
        return sizeof(uint64_t);
    }
    return 0;
}

static bool is_equal(const struct setting *setting, const struct torc_sim_chaos *one,
                     const struct torc_sim_chaos *other)
{
    return memcmp((const char *)one + setting->offset, (const char *)other + setting->offset,
                  size_of(setting)) == 0;
}

/* ---- Setting by setting ---- */

unsigned torc_sim_chaos_settings(void)
{
    return ARRAY_LENGTH(settings);
}

bool torc_sim_chaos_take(struct torc_sim_chaos *chaos, unsigned setting,
                         const struct torc_sim_chaos *from)
{
    const struct setting *one = &settings[setting];

    if (is_equal(one, chaos, from))
        return false;
    memcpy((char *)chaos + one->offset, (const char *)from + one->offset, size_of(one));
    return true;
}

/* ---- From text ---- */

static int read_number(const char **text, uint64_t *ret_number)
{
    char *end;

    if (**text < '0' || **text > '9')
        return -EINVAL;
    errno = 0;
    *ret_number = strtoull(*text, &end, 10);
    if (errno != 0)
        return -EINVAL;
    *text = end;
    return 0;
}

static int read_range(const char **text, struct torc_sim_range *range)
{
    int result = read_number(text, &range->min_ns);

    if (result == 0 && *(*text)++ != '-')
        return -EINVAL;
    if (result == 0)
        result = read_number(text, &range->max_ns);
    return result == 0 && range->min_ns > range->max_ns ? -EINVAL : result;
}

static int read_value(const char **text, const struct setting *setting,
                      struct torc_sim_chaos *chaos)
{
    void *field = (char *)chaos + setting->offset;
    uint64_t number;
    int result;

    if (setting->kind == KIND_RANGE)
        return read_range(text, field);
    result = read_number(text, &number);
    if (result < 0)
        return result;
    if (setting->kind == KIND_NUMBER)
        *(uint64_t *)field = number;
    else if (number <= 1000000)
        *(uint32_t *)field = (uint32_t)number;
    else
        return -EINVAL;
    return 0;
}

/* "name=value" at the begin of `text`, which is moved behind it. */
static int read_setting(const char **text, struct torc_sim_chaos *chaos)
{
    const size_t length = strcspn(*text, "=,");

    if ((*text)[length] != '=')
        return -EINVAL;
    for (unsigned i = 0; i < ARRAY_LENGTH(settings); i++) {
        if (strlen(settings[i].name) == length && strncmp(settings[i].name, *text, length) == 0) {
            *text += length + 1;
            return read_value(text, &settings[i], chaos);
        }
    }
    return -EINVAL;
}

int torc_sim_chaos_parse(const char *text, struct torc_sim_chaos *ret_chaos)
{
    const size_t length = strcspn(text, ",");
    struct torc_sim_chaos chaos;
    int result = -EINVAL;

    for (unsigned i = 0; i < ARRAY_LENGTH(presets); i++) {
        if (strlen(presets[i]) == length && strncmp(presets[i], text, length) == 0) {
            torc_sim_chaos_init(&chaos, (enum torc_sim_preset)i);
            result = 0;
        }
    }
    text += length;
    while (result == 0 && *text == ',') {
        text++;
        result = read_setting(&text, &chaos);
    }
    if (result < 0 || *text != '\0')
        return -EINVAL;
    *ret_chaos = chaos;
    return 0;
}

/* ---- To text ---- */

static unsigned count_differences(const struct torc_sim_chaos *one,
                                  const struct torc_sim_chaos *other)
{
    unsigned count = 0;

    for (unsigned i = 0; i < ARRAY_LENGTH(settings); i++)
        count += !is_equal(&settings[i], one, other);
    return count;
}

static int write_setting(char *text, size_t size, const struct setting *setting,
                         const struct torc_sim_chaos *chaos)
{
    const void *field = (const char *)chaos + setting->offset;
    const struct torc_sim_range *range = field;

    if (setting->kind == KIND_RANGE)
        return snprintf(text, size, ",%s=%" PRIu64 "-%" PRIu64, setting->name, range->min_ns,
                        range->max_ns);
    return snprintf(text, size, ",%s=%" PRIu64, setting->name,
                    setting->kind == KIND_RATE ? *(const uint32_t *)field
                                               : *(const uint64_t *)field);
}

void torc_sim_chaos_format(const struct torc_sim_chaos *chaos, char text[TORC_SIM_CHAOS_TEXT_SIZE])
{
    unsigned fewest = UINT32_MAX;
    unsigned nearest = 0;
    struct torc_sim_chaos base;
    size_t length;

    for (unsigned i = 0; i < ARRAY_LENGTH(presets); i++) {
        torc_sim_chaos_init(&base, (enum torc_sim_preset)i);
        const unsigned count = count_differences(chaos, &base);

        if (count < fewest) {
            fewest = count;
            nearest = i;
        }
    }
    torc_sim_chaos_init(&base, (enum torc_sim_preset)nearest);
    length = (size_t)snprintf(text, TORC_SIM_CHAOS_TEXT_SIZE, "%s", presets[nearest]);
    for (unsigned i = 0; i < ARRAY_LENGTH(settings); i++) {
        if (!is_equal(&settings[i], chaos, &base))
            length += (size_t)write_setting(text + length, TORC_SIM_CHAOS_TEXT_SIZE - length,
                                            &settings[i], chaos);
    }
}
