/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_REACH_H
#define DMAWIRE_REACH_H

#include <linux/types.h>

struct device;
struct dmawire_buffer;
struct sg_table;

bool dmawire_reach_covers(struct device *dev, const struct dmawire_buffer *buffer);
bool dmawire_reach_needs_sync(struct device *dev, const struct sg_table *sgt);

#endif /* DMAWIRE_REACH_H */
