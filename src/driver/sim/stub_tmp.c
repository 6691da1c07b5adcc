#include "driver/sim/disk.h"
#include "driver/sim/net.h"
#include "driver/sim/open.h"
#include <errno.h>
int torc__sim_disk_create(struct sim_host *host)
{
    (void)host;
    return 0;
}
void torc__sim_disk_destroy(struct sim_host *host)
{
    (void)host;
}
void torc__sim_disk_crash(struct sim_host *host)
{
    (void)host;
}
void torc__sim_disk_new_process(struct sim_host *host)
{
    (void)host;
}
int torc__sim_disk_execute(struct sim_host *host, const struct io_uring_sqe *sqe)
{
    (void)host;
    (void)sqe;
    return -EINVAL;
}
uint64_t torc__sim_disk_duration(struct sim_host *host, const struct io_uring_sqe *sqe)
{
    (void)host;
    (void)sqe;
    return 0;
}
int torc__sim_socket_pair(struct sim_host *host, int type, struct sim_file *ret_files[2])
{
    (void)host;
    (void)type;
    (void)ret_files;
    return -EINVAL;
}
{
    (void)host;
    (void)flags;
    (void)ret_files;
    return -EINVAL;
}
                         off_t *out_offset, size_t size, unsigned flags)
{
    (void)in;
    (void)in_offset;
    (void)out;
    (void)out_offset;
    (void)size;
    (void)flags;
    return -EINVAL;
}
{
    (void)in;
    (void)out;
    (void)size;
    (void)flags;
    return -EINVAL;
}
int torc__sim_free_path(struct sim_host *host, const struct sockaddr *address, socklen_t length)
{
    (void)host;
    (void)address;
    (void)length;
    return -ENOENT;
}
