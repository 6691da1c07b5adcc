#include "driver/sim/open.h"
#include <errno.h>
int torc__sim_free_path(struct sim_host *host, const struct sockaddr *address, socklen_t length)
{
    (void)host;
    (void)address;
    (void)length;
    return -ENOENT;
}
