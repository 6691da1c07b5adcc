/* SPDX-License-Identifier: MIT */
/*
 * net_test.c - what happens to a connection between the parts of a send.
 */
#include "driver/driver.h"
#include "harness/net.h"
#include "harness/run.h"
#include "io/at_once.h"
#include <errno.h>
#include <poll.h>
#include <torc/io.h>

#define LARGE (16 * AT_ONCE_LEAST)

static const struct torc__driver_ops *real;
static int ends[2];

/* After what is sent by a call of its own, the other end resets the connection. */
static int send_and_reset(struct torc__driver *driver, struct torc__control *request)
{
    const int result = real->control(driver, request);
    struct pollfd noticed = {.fd = ends[0]};

    if (request->kind == CONTROL_SEND && result >= 0 && ends[1] >= 0) {
        harness_reset(ends[1]);
        ends[1] = -1;
        EXPECT_INT(poll(&noticed, 1, -1), ==, 1);
    }
    return result;
}

FIBER_TEST(the_reset_that_ends_the_sending_of_all_is_told_as_such_and_once)
{
    static const char bytes[LARGE];
    struct torc__driver *driver = torc__shard->driver;
    struct torc__driver_ops ops = *driver->ops;
    size_t done = 0;

    if (!ops.moves_at_once)
        SKIP("this driver moves nothing by calls");
    real = driver->ops;
    ops.control = send_and_reset;
    harness_tight_pair(ends);
    driver->ops = &ops;
    EXPECT_INT(torc_send_all(ends[0], bytes, LARGE, &done), ==, -ECONNRESET);
    driver->ops = real;
    EXPECT_INT(ends[1], ==, -1);
    EXPECT_UINT(done, >, 0);
    EXPECT_UINT(done, <, LARGE);
    EXPECT_INT(torc_send(ends[0], bytes, 1, 0), ==, -EPIPE);
    EXPECT_INT(torc_close(ends[0]), ==, 0);
}
