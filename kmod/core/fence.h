/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_FENCE_H
#define DMAWIRE_FENCE_H

#include <linux/types.h>

struct dmawire_fence;
struct dmawire_target;

struct dmawire_fence *dmawire_fence_enter(struct dmawire_target *target);
struct dmawire_fence *dmawire_fence_leave(struct dmawire_target *target,
					  struct dmawire_fence *fence);
void dmawire_fence_signal(struct dmawire_fence *fences);

#endif /* DMAWIRE_FENCE_H */
