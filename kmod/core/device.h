/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_DEVICE_H
#define DMAWIRE_DEVICE_H

struct device;
struct dmawire_device;
struct dmawire_quota;

/**
 * struct dmawire_open - an open file of a device node
 * @quota: what the buffers created on this file are charged to
 */
struct dmawire_open {
	struct dmawire_quota *quota;
};

int dmawire_device_init(void);
void dmawire_device_exit(void);

struct dmawire_device *dmawire_device_add(struct device *parent);
void dmawire_device_remove(struct dmawire_device *device);

#endif /* DMAWIRE_DEVICE_H */
