/* SPDX-License-Identifier: MIT */
/*
 * udp_raw_mmsg.c - a UDP echo by recvmmsg() and sendmmsg(): two system calls for all that is there.
 *
 * The receive blocks until one datagram is there and takes what else is there with it
 * (MSG_WAITFORONE). So there is nothing to wait with, and no third call.
 */
#include "udp.h"

enum {
    BATCH = 64,
    LOOK_USEC = 200000, /* how often an idle server looks whether it is to end */
};

static volatile sig_atomic_t stopped;
static unsigned long long syscall_count;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static void prepare(struct mmsghdr *messages)
{
    static char buffers[BATCH][DATAGRAM_MAX];
    static struct sockaddr_in peers[BATCH];
    static struct iovec vectors[BATCH];

    for (unsigned i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){.iov_base = buffers[i], .iov_len = DATAGRAM_MAX};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &peers[i],
            .msg_namelen = sizeof(peers[i]),
            .msg_iov = &vectors[i],
            .msg_iovlen = 1,
        };
    }
}

static void send_back(int fd, struct mmsghdr *messages, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        messages[i].msg_hdr.msg_iov->iov_len = messages[i].msg_len;
    for (unsigned done = 0; done < count;) {
        syscall_count++;
        const int sent = sendmmsg(fd, messages + done, count - done, 0);
        if (sent < 0 && errno != EINTR)
            die("sendmmsg");
        done += sent > 0 ? (unsigned)sent : 0;
    }
    for (unsigned i = 0; i < count; i++) {
        messages[i].msg_hdr.msg_iov->iov_len = DATAGRAM_MAX;
        messages[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in);
    }
}

int main(int argc, char **argv)
{
    static struct mmsghdr messages[BATCH];
    const struct sigaction action = {.sa_handler = stop}; /* No restart: a receive ends. */
    const struct timeval look = {.tv_usec = LOOK_USEC};

    const int fd = open_udp(parse_address(argc, argv));
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    alarm(LIFETIME_SEC);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof(look)) != 0)
        die("setsockopt");
    prepare(messages);
    while (!stopped) {
        syscall_count++;
        const int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (count < 0 && errno != EINTR && errno != EAGAIN)
            die("recvmmsg");
        if (count > 0)
            send_back(fd, messages, (unsigned)count);
    }
    printf("syscalls %llu\n", syscall_count);
    return 0;
}
