/* SPDX-License-Identifier: MIT */
/*
 * disk_device.h - files whose content is nowhere: devices, and those of /proc.
 */
#ifndef DRIVER_SIM_DISK_DEVICE_H
#define DRIVER_SIM_DISK_DEVICE_H

#include "driver/sim/disk_file.h"

/* Make /dev and /proc. */
void torc__sim_devices_make(struct sim_disk *disk);

/* If the file is one of /proc, make what it has now. */
void torc__sim_content_make(struct sim_disk_file *file);

ssize_t torc__sim_device_read(const struct sim_disk_file *file, const struct iovec *vector,
                              size_t count, uint64_t offset);
ssize_t torc__sim_device_write(const struct sim_disk_file *file, size_t size);

#endif
