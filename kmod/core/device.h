/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_CORE_DEVICE_H
#define DMAWIRE_CORE_DEVICE_H

struct dmawire_queue;
struct dmawire_quota;

/**
 * struct dmawire_file - an open file of a device node
 * @quota: charged for the buffers created on this file
 * @queue: captures of the device, which lives as long as the file
 */
struct dmawire_file {
	struct dmawire_quota *quota;
	struct dmawire_queue *queue;
};

int dmawire_device_init(void);
void dmawire_device_exit(void);

#endif /* DMAWIRE_CORE_DEVICE_H */
