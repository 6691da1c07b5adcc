/* SPDX-License-Identifier: MIT */
/*
 * net_unix_rights.c - what comes with a message of a Unix socket: descriptors, and who sent it.
 */
#include "base/log.h"
#include "driver/sim/net_message.h"
#include "driver/sim/net_unix.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Sent ---- */

static int read_fds(const struct cmsghdr *header, int fds[UNIX_FDS_MAX], unsigned *count)
{
    const size_t more = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    if (*count + more > UNIX_FDS_MAX)
        return -EINVAL;
    *count += (unsigned)more;
    return torc__sim_control_read(header, fds + *count - more, more * sizeof(int));
}

/* The descriptors of all headers. */
static int read_control(const struct msghdr *from, int fds[UNIX_FDS_MAX], unsigned *ret_count)
{
    const struct cmsghdr *header = NULL;
    int result = 0;

    *ret_count = 0;
    while ((header = torc__sim_control_next(from, header, &result)) != NULL && result == 0) {
        if (header->cmsg_level != SOL_SOCKET)
            continue;
        if (header->cmsg_type == SCM_RIGHTS)
            result = read_fds(header, fds, ret_count);
        else if (header->cmsg_type != SCM_CREDENTIALS)
            result = -EINVAL;
    }
    return result;
}

int torc__sim_unix_message_create(struct sim_host *host, const struct msghdr *from, size_t length,
                                  struct sim_unix_message **ret_message)
{
    int fds[UNIX_FDS_MAX];
    struct sim_unix_message *message;
    unsigned count = 0;
    int result = from != NULL ? read_control(from, fds, &count) : 0;

    for (unsigned i = 0; i < count && result == 0; i++)
        result = torc__sim_fd_file(host, fds[i]) != NULL ? 0 : -EBADF;
    if (result < 0)
        return result;
    message = malloc(sizeof(*message) + count * sizeof(message->files[0]) + length);
    TORC_ASSERT(message != NULL);
    *message = (struct sim_unix_message){.length = length, .file_count = count};
    for (unsigned i = 0; i < count; i++)
        message->files[i] = torc__sim_file_acquire(torc__sim_fd_file(host, fds[i]));
    message->data = (char *)&message->files[count];
    *ret_message = message;
    return 0;
}

void torc__sim_unix_message_destroy(struct sim_unix_message *message)
{
    for (unsigned i = 0; i < message->file_count; i++)
        torc__sim_file_release(message->files[i]);
    free(message);
}

/* ---- Received ---- */

/* Give as many as there is room, and as there are free descriptors; the others are lost. */
static unsigned give_files(const struct sim_unix *socket, const struct sim_unix_message *from,
                           size_t room, int fds[UNIX_FDS_MAX])
{
    struct sim_host *host = socket->file.host;
    unsigned count = 0;

    while (count < from->file_count && (count + 1) * sizeof(int) <= room &&
           torc__sim_fd_is_free(host)) {
        struct sim_file *file = torc__sim_file_acquire(from->files[count]);

        fds[count] = torc__sim_fd_open(host, file);
        if (fds[count] < 0) {
            torc__sim_file_release(file);
            break;
        }
        count++;
    }
    return count;
}

static void tell_files(const struct sim_unix *socket, struct sim_unix_message *from,
                       struct sim_control *control, bool is_peek)
{
    int fds[UNIX_FDS_MAX];
    const unsigned count = give_files(socket, from, torc__sim_control_left(control), fds);

    if (count > 0)
        torc__sim_control_put(control, SOL_SOCKET, SCM_RIGHTS, fds, count * sizeof(int));
    if (count < from->file_count)
        control->message->msg_flags |= MSG_CTRUNC;
    if (is_peek)
        return;
    while (from->file_count > 0)
        torc__sim_file_release(from->files[--from->file_count]);
}

void torc__sim_unix_tell(struct sim_unix *socket, struct sim_unix_message *from,
                         struct msghdr *message, bool is_peek)
{
    const struct ucred sender = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    struct sim_control control = torc__sim_control_begin(message);
    struct sockaddr_un name;
    socklen_t name_length = sizeof(name);

    torc__sim_unix_write_name(from->sender, (struct sockaddr *)&name, &name_length);
    torc__sim_message_name(message, (struct sockaddr *)&name,
                           from->sender->name_length > 0 ? name_length : 0);
    if (socket->values[OPTION_PASSCRED])
        torc__sim_control_put(&control, SOL_SOCKET, SCM_CREDENTIALS, &sender, sizeof(sender));
    if (from->file_count > 0)
        tell_files(socket, from, &control, is_peek);
    torc__sim_control_end(&control);
}
