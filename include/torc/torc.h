/* SPDX-License-Identifier: MIT */
/*
 * torc/torc.h - all of torc.
 */
#ifndef TORC_TORC_H
#define TORC_TORC_H

#include <torc/api.h>
#include <torc/blocking.h>
#include <torc/buffer.h>
#include <torc/channel.h>
#include <torc/datagram.h>
#include <torc/datagram_feed.h>
#include <torc/dir.h>
#include <torc/dns.h>
#include <torc/error.h>
#include <torc/fiber.h>
#include <torc/file.h>
#include <torc/file_stream.h>
#include <torc/frame.h>
#include <torc/fs.h>
#include <torc/fs_watch.h>
#include <torc/io.h>
#include <torc/listener.h>
#include <torc/mailbox.h>
#include <torc/metrics.h>
#include <torc/net.h>
#include <torc/op.h>
#include <torc/pipe.h>
#include <torc/process.h>
#include <torc/runtime.h>
#include <torc/scope.h>
#include <torc/select.h>
#include <torc/serve.h>
#include <torc/shard.h>
#include <torc/shared.h>
#include <torc/signal.h>
#include <torc/sim.h>
#include <torc/sim_chaos.h>
#include <torc/stream.h>
#include <torc/sync.h>
#include <torc/time.h>
#include <torc/trace.h>
#include <torc/udp.h>
#include <torc/unix.h>
#include <torc/view.h>
#include <torc/watch.h>
#include <torc/zero_copy.h>

#endif
