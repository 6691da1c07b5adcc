/* SPDX-License-Identifier: MIT */
/*
 * queue.c - the unbounded queue, and the one-shot.
 */
#include "sync/waiters.h"
#include <errno.h>
#include <string.h>

/* ---- Queue ---- */

void torc_queue_init(struct torc_queue *queue, const char *name, uint32_t warn_at)
{
    *queue = (struct torc_queue){._name = name, ._warn_at = warn_at};
}

static void warn(struct torc_queue *queue)
{
    torc__log("the queue \"%s\" holds %u elements: who receives from it is too slow",
              queue->_name != NULL ? queue->_name : "", queue->_count);
    queue->_warn_at = queue->_warn_at <= UINT32_MAX / 2 ? queue->_warn_at * 2 : 0;
}

int torc_queue_push(struct torc_queue *queue, struct torc_queue_node *node)
{
    struct torc_waiter *receiver = queue->_receivers._first;

    if (queue->_closed)
        return -EPIPE;
    if (receiver != NULL) {
        *(struct torc_queue_node **)receiver->_value = node;
        torc__waiter_grant(receiver, 0);
        return 0;
    }
    if (queue->_first == NULL)
        queue->_last = &queue->_first;
    node->_next = NULL;
    *queue->_last = node;
    queue->_last = &node->_next;
    if (++queue->_count == queue->_warn_at)
        warn(queue);
    return 0;
}

int torc_queue_try_pop(struct torc_queue *queue, struct torc_queue_node **ret_node)
{
    struct torc_queue_node *node = queue->_first;

    if (node == NULL)
        return queue->_closed ? -EPIPE : -EAGAIN;
    queue->_first = node->_next;
    queue->_count--;
    *ret_node = node;
    return 0;
}

static const struct torc_wait_kind pop_kind =
    WAIT_KIND_QUEUE("queue", struct torc_queue, _receivers);

int torc_queue_pop(struct torc_queue *queue, struct torc_queue_node **ret_node)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);
    int result;

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    result = torc_queue_try_pop(queue, ret_node);
    if (result != -EAGAIN)
        return result;
    return torc__waiters_wait_for_value(shard, &queue->_receivers, NULL, ret_node, &pop_kind);
}

void torc_queue_close(struct torc_queue *queue)
{
    TORC_ASSERT(torc__shard != NULL);
    queue->_closed = true;
    torc__waiters_grant_all(&queue->_receivers, -EPIPE);
}

uint32_t torc_queue_count(const struct torc_queue *queue)
{
    return queue->_count;
}

void torc_queue_finish(struct torc_queue *queue)
{
    TORC_ASSERT(torc__waiters_empty(&queue->_receivers));
    TORC_ASSERT(queue->_first == NULL);
}

static int attempt_pop(struct torc_case *one)
{
    return torc_queue_try_pop(one->_waiter._object, one->_waiter._value);
}

struct torc_case torc_case_pop(struct torc_queue *queue, struct torc_queue_node **ret_node)
{
    return torc__case_of(attempt_pop, &queue->_receivers, queue, ret_node);
}

/* ---- One-shot ---- */

/*
 *     EMPTY --send--> SENT --receive--> OVER
 *       |                                ^
 *       +------------close---------------+
 */
enum oneshot_state {
    EMPTY,
    SENT,
    OVER
};

void torc_oneshot_init(struct torc_oneshot *oneshot, void *slot, size_t size)
{
    TORC_ASSERT(slot != NULL || size == 0);
    *oneshot = (struct torc_oneshot){._slot = slot, ._size = size};
}

static void copy(const struct torc_oneshot *oneshot, void *to, const void *from)
{
    if (oneshot->_size > 0)
        memcpy(to, from, oneshot->_size);
}

int torc_oneshot_send(struct torc_oneshot *oneshot, const void *value)
{
    struct torc_waiter *receiver = oneshot->_receivers._first;

    if (oneshot->_state != EMPTY)
        return -EPIPE;
    oneshot->_state = SENT;
    if (receiver == NULL) {
        copy(oneshot, oneshot->_slot, value);
    } else {
        oneshot->_state = OVER;
        copy(oneshot, receiver->_value, value);
        torc__waiter_grant(receiver, 0);
        torc__waiters_grant_all(&oneshot->_receivers, -EPIPE);
    }
    torc__waiters_grant_all(&oneshot->_watchers, 0);
    return 0;
}

int torc_oneshot_try_receive(struct torc_oneshot *oneshot, void *ret_value)
{
    if (oneshot->_state != SENT)
        return oneshot->_state == EMPTY ? -EAGAIN : -EPIPE;
    oneshot->_state = OVER;
    copy(oneshot, ret_value, oneshot->_slot);
    return 0;
}

static const struct torc_wait_kind receive_kind =
    WAIT_KIND_QUEUE("oneshot", struct torc_oneshot, _receivers);

int torc_oneshot_receive(struct torc_oneshot *oneshot, void *ret_value)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);
    int result;

    if (reason != 0)
        return torc__refuse(shard, reason);
    result = torc_oneshot_try_receive(oneshot, ret_value);
    if (result != -EAGAIN)
        return result;
    return torc__waiters_wait_for_value(shard, &oneshot->_receivers, NULL, ret_value,
                                        &receive_kind);
}

void torc_oneshot_close(struct torc_oneshot *oneshot)
{
    TORC_ASSERT(torc__shard != NULL);
    if (oneshot->_state != EMPTY)
        return;
    oneshot->_state = OVER;
    torc__waiters_grant_all(&oneshot->_receivers, -EPIPE);
    torc__waiters_grant_all(&oneshot->_watchers, 0);
}

bool torc_oneshot_is_closed(const struct torc_oneshot *oneshot)
{
    return oneshot->_state != EMPTY;
}

static const struct torc_wait_kind closed_kind =
    WAIT_KIND_QUEUE("oneshot close", struct torc_oneshot, _watchers);

int torc_oneshot_wait_closed(struct torc_oneshot *oneshot)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    if (oneshot->_state == EMPTY || torc__reason(shard) != 0)
        return torc__waiters_wait_plainly(shard, &oneshot->_watchers, &closed_kind);
    return 0;
}

void torc_oneshot_finish(struct torc_oneshot *oneshot)
{
    TORC_ASSERT(torc__waiters_empty(&oneshot->_receivers));
    TORC_ASSERT(torc__waiters_empty(&oneshot->_watchers));
}

static int attempt_oneshot(struct torc_case *one)
{
    return torc_oneshot_try_receive(one->_waiter._object, one->_waiter._value);
}

struct torc_case torc_case_oneshot(struct torc_oneshot *oneshot, void *ret_value)
{
    return torc__case_of(attempt_oneshot, &oneshot->_receivers, oneshot, ret_value);
}
