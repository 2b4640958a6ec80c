/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_FENCE_H
#define DMAWIRE_FENCE_H

#include <linux/types.h>

struct dma_fence;
struct dmawire_fence;
struct dmawire_attachment;

struct dmawire_fence *dmawire_fence_publish(struct dmawire_attachment *attachment,
					    struct dma_fence ***foreign,
					    unsigned int *nr_foreign);
void dmawire_fence_complete(struct dmawire_attachment *attachment,
			    struct dmawire_fence *fence, int error,
			    struct dmawire_fence **signals);
void dmawire_fence_signal(struct dmawire_fence *fences);

#endif /* DMAWIRE_FENCE_H */
