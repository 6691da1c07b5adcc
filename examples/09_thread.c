/* SPDX-License-Identifier: MIT */
/*
 * 09_thread.c - a plain thread sends messages to a shard, and a fiber waits for the last one.
 *
 * A message carries a function, which the shard's loop calls: there it may touch what belongs to
 * the shard, such as an event. Run it without arguments: it ends by itself.
 */
#include <pthread.h>
#include <stdio.h>
#include <torc/torc.h>

#define COUNT 1000

static struct {
    struct torc_mailbox *mailbox;
    struct torc_event all_here;
    unsigned arrived;
    struct torc_message messages[COUNT]; /* torc's from the post until they are run */
} box;

static void arrive(struct torc_message *message)
{
    (void)message;
    if (++box.arrived == COUNT)
        torc_event_set(&box.all_here);
}

static void *send_all(void *arg)
{
    for (int i = 0; i < COUNT; i++) {
        box.messages[i].run = arrive;
        if (torc_mailbox_post(box.mailbox, &box.messages[i]) < 0)
            break; /* The shard has ended. */
    }
    torc_mailbox_release(box.mailbox);
    return arg;
}

static int run(void *arg)
{
    pthread_t *thread = arg;
    int result;

    box.mailbox = torc_mailbox_acquire(); /* This reference is the thread's to give back. */
    if (pthread_create(thread, NULL, send_all, NULL) != 0)
        return -EAGAIN;
    result = torc_event_wait(&box.all_here);
    printf("%u messages have arrived\n", box.arrived);
    return result;
}

int main(void)
{
    pthread_t thread;
    int result = torc_run(run, &thread, NULL);

    if (result == 0)
        pthread_join(thread, NULL);
    return result < 0;
}
