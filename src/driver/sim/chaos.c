/* SPDX-License-Identifier: MIT */
/*
 * chaos.c - the presets.
 */
#include <torc/sim_chaos.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

/* On one host all that is sent has arrived, as on Linux. */
static const struct torc_sim_chaos calm = {
    .op_latency = {500, 20 * US},
    .turn_latency = {2 * US, 20 * US},
    .net_latency = {50 * US, 2 * MS},
    .disk_latency = {20 * US, 2 * MS},
    .disk_flush_latency = {200 * US, 20 * MS},
    .crash_lose_rate = 500000,
    .disk_write_back_ns = 30000 * MS,
    .faults_max = UINT64_MAX,
};

static const struct torc_sim_chaos usual = {
    .op_latency = {500, 200 * US},
    .turn_latency = {1 * US, 50 * US},
    .short_transfer_rate = 50000,
    .op_error_rate = 500,
    .descriptor_error_rate = 200,
    .multishot_end_rate = 5000,
    .cancel_late_rate = 200000,
    .cancel_partial_rate = 200000,
    .overflow_rate = 1000,
    .late_start_rate = 20000,
    .spurious_wake_rate = 5000,
    .net_latency = {50 * US, 50 * MS},
    .loopback_latency = {2 * US, 200 * US},
    .datagram_loss_rate = 10000,
    .datagram_duplicate_rate = 5000,
    .datagram_reorder_rate = 20000,
    .segment_loss_rate = 5000,
    .reset_rate = 20,
    .connect_refuse_rate = 500,
    .connect_lose_rate = 500,
    .send_error_rate = 500,
    .disk_latency = {20 * US, 10 * MS},
    .disk_flush_latency = {200 * US, 100 * MS},
    .disk_stall_rate = 500,
    .disk_error_rate = 50,
    .disk_full_rate = 50,
    .disk_quota_rate = 20,
    .crash_tear_rate = 100000,
    .crash_lose_rate = 500000,
    .disk_write_back_ns = 30000 * MS,
    .faults_max = UINT64_MAX,
};

static const struct torc_sim_chaos wild = {
    .op_latency = {0, 5 * MS},
    .turn_latency = {0, 1 * MS},
    .short_transfer_rate = 400000,
    .op_error_rate = 20000,
    .descriptor_error_rate = 10000,
    .multishot_end_rate = 100000,
    .cancel_late_rate = 400000,
    .cancel_partial_rate = 400000,
    .overflow_rate = 50000,
    .late_start_rate = 300000,
    .spurious_wake_rate = 50000,
    .net_latency = {10 * US, 500 * MS},
    .loopback_latency = {0, 5 * MS},
    .datagram_loss_rate = 200000,
    .datagram_duplicate_rate = 100000,
    .datagram_reorder_rate = 200000,
    .segment_loss_rate = 100000,
    .reset_rate = 2000,
    .connect_refuse_rate = 20000,
    .connect_lose_rate = 20000,
    .send_error_rate = 20000,
    .disk_latency = {0, 100 * MS},
    .disk_flush_latency = {0, 1000 * MS},
    .disk_stall_rate = 10000,
    .disk_error_rate = 5000,
    .disk_full_rate = 5000,
    .crash_tear_rate = 300000,
    .crash_lose_rate = 700000,
    .disk_quota_rate = 500,
    .disk_any_order = 1,
    .faults_max = UINT64_MAX,
};

void torc_sim_chaos_init(struct torc_sim_chaos *chaos, enum torc_sim_preset preset)
{
    switch (preset) {
    case TORC_SIM_CALM:
        *chaos = calm;
        break;
    case TORC_SIM_WILD:
        *chaos = wild;
        break;
    case TORC_SIM_DEFAULT:
        *chaos = usual;
        break;
    }
}
