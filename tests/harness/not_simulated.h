/* SPDX-License-Identifier: MIT */
/*
 * not_simulated.h - the tests that mean nothing on a simulated host, and why. Whole programs of
 * such tests are listed in tests/CMakeLists.txt.
 */
#ifndef HARNESS_NOT_SIMULATED_H
#define HARNESS_NOT_SIMULATED_H

#define THREADS   "has threads of its own, and a simulation runs on one"
#define SPINS     "spins until another shard or thread has moved, and only one runs at a time"
#define CPUS      "is about the CPUs of this machine"
#define CHILDREN  "has children, and a simulated host has one process"
#define MEMORY    "counts memory, of which the simulated kernel takes some, too"
#define RINGS     "is about rings, and what is used instead"
#define DELAYS    "counts on bytes that are there as soon as they are sent"
#define REAL_FILE "uses a kind of descriptor that is not simulated"
#define EXCHANGES "exchanges two names, and a simulated host cannot"

static const struct {
    const char *name;
    const char *reason;
} not_simulated[] = {
    {"a_message_from_another_thread_wakes_a_sleeping_shard", THREADS},
    {"t_39_two_runtimes_on_two_threads_play_ping_pong", THREADS},
    {"a_shard_of_another_runtime_is_woken_before_this_ones_loop_turns", THREADS},
    {"messages_of_many_threads_all_arrive_in_order_and_by_few_wake_ups", THREADS},
    {"rule_27_a_token_cancels_a_scope_from_another_thread", THREADS},
    {"everything_arrives_once_and_in_order_between_shards_and_threads", THREADS},
    {"wake_ups_survive_a_storm_of_signals", THREADS},
    {"threads_may_call_and_wait", THREADS},
    {"shards_and_threads_exclude_each_other", THREADS},
    {"t_27_a_signal_may_hit_any_thread", THREADS},
    {"in_a_storm_watches_come_and_go_and_every_signal_is_counted_once", THREADS},
    {"several_runtimes_watch_the_same_signal", THREADS},
    {"calls_from_threads_that_race_with_the_end_are_refused_or_run", THREADS},
    {"a_call_that_has_not_begun_is_withdrawn", SPINS},
    {"a_function_runs_on_another_thread_and_its_result_comes_back", THREADS},
    {"the_shard_goes_on_while_functions_block", SPINS},
    {"a_function_that_runs_is_waited_for_in_a_cancelled_scope", SPINS},
    {"a_call_that_waits_for_a_thread_is_withdrawn_when_its_scope_ends", SPINS},
    {"a_shard_ends_after_the_functions_that_its_fibers_have_called", SPINS},
    {"functions_run_on_all_cpus_though_the_shard_is_pinned", CPUS},
    {"all_cpus_means_those_that_the_process_may_use", CPUS},
    {"several_shards_are_pinned_and_the_calling_thread_is_freed_again", CPUS},
    {"a_listener_that_was_not_closed_when_all_fibers_have_ended_is_named", THREADS},
    {"a_thread_learns_that_its_call_was_cut_off", THREADS},
    {"a_thread_may_stop_a_server", THREADS},
    {"one_shard_accepts_though_another_does_not_turn", SPINS},
    {"what_was_accepted_for_a_shard_is_served_also_if_the_server_is_stopped_before", SPINS},
    {"rule_09_no_connection_is_lost_or_leaked_when_accepting_is_cancelled_at_random", THREADS},
    {"rule_09_the_peer_gets_exactly_what_cancelled_sends_report", THREADS},
    {"rule_09_no_byte_is_lost_between_unix_sockets_either", THREADS},
    {"rule_09_no_byte_is_lost_when_receiving_is_cancelled_at_random", THREADS},
    {"rule_10_what_came_before_the_deadline_beats_it_on_a_busy_shard", DELAYS},
    {"idle_streams_hold_no_memory", MEMORY},
    {"bytes_for_which_there_is_no_memory_are_an_error_and_no_end", MEMORY},
    {"every_single_feature_can_be_forbidden", RINGS},
    {"where_io_uring_is_denied_a_run_uses_epoll_and_says_so_once", RINGS},
    {"where_rings_can_be_made_but_not_entered_a_run_uses_epoll_and_says_so_once", RINGS},
    {"where_only_registering_is_denied_a_run_uses_rings", RINGS},
    {"a_run_without_a_free_descriptor_fails_cleanly", RINGS},
    {"a_timerfd_is_ready_when_its_time_has_come", REAL_FILE},
    {"a_signalfd_is_ready_when_a_signal_is_pending", REAL_FILE},
    {"a_terminal_is_read_line_by_line_until_its_end", REAL_FILE},
    {"a_terminal_that_does_not_block_makes_no_difference", REAL_FILE},
    {"a_deadline_ends_the_wait_for_a_key", REAL_FILE},
    {"a_copy_goes_between_a_terminal_and_a_socket", REAL_FILE},
    {"what_a_forked_child_receives_is_not_ours", CHILDREN},
    {"directories_that_are_exchanged_have_each_others_paths", EXCHANGES},
    {"what_happens_below_directories_renamed_by_two_at_once_is_told", THREADS},
};

#endif
