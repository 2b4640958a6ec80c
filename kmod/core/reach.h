/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_REACH_H
#define DMAWIRE_REACH_H

#include <linux/types.h>

struct device;
struct dmawire_buffer;

bool dmawire_reach_covers(struct device *dev, const struct dmawire_buffer *buffer);

#endif /* DMAWIRE_REACH_H */
