// SPDX-License-Identifier: GPL-2.0
/*
 * Write fences: whoever looks at a dma-buf's reservation object learns that a
 * device writes to it, and can wait until it does not.
 *
 * A fence stands for several ranges, because adding one costs more than a frame
 * should; and for few enough that it signals soon while frames keep coming. The
 * fences of a dma-buf signal in the order in which they were added, as those of
 * one context must, whatever the order in which the device is done.
 */
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "fence.h"
#include "target.h"

/* Most ranges that one fence stands for. */
#define DMAWIRE_FENCE_RANGES 16

/**
 * struct dmawire_fence - some ranges of a dma-buf that are the device's
 * @base: signals when they are not any more
 * @base_lock: of @base
 * @ranges: how many it ever stood for
 * @pending: how many of them are not back, and one if the fence before has not
 *	signaled
 * @next: the fence after, which counts this one in @pending; then, when this one
 *	is done, what is to be signaled after it
 *
 * Protected by the target's lock. A reference belongs to the ranges.
 */
struct dmawire_fence {
	struct dma_fence base;
	spinlock_t base_lock; /* of base */
	unsigned int ranges;
	unsigned int pending;
	struct dmawire_fence *next;
};

static const char *get_name(struct dma_fence *fence)
{
	return "dmawire";
}

static void release(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops dmawire_fence_ops = {
	.get_driver_name = get_name,
	.get_timeline_name = get_name,
	.release = release,
};

static struct dmawire_fence *join(struct dmawire_target *target)
{
	struct dmawire_fence *fence = target->fence;

	lockdep_assert_held(target->lock);

	if (!fence || fence->ranges == DMAWIRE_FENCE_RANGES)
		return NULL;
	fence->ranges++;
	fence->pending++;
	return fence;
}

static void follow(struct dmawire_target *target, struct dmawire_fence *fence)
{
	lockdep_assert_held(target->lock);

	if (target->fence) {
		target->fence->next = fence;
		fence->pending++;
	}
	target->fence = fence;
}

static struct dmawire_fence *create(struct dmawire_target *target)
{
	struct dmawire_fence *fence = kzalloc_obj(*fence, GFP_KERNEL_ACCOUNT);

	if (!fence)
		return NULL;
	/* A fence outlives the dma-buf if someone made a sync_file of it. */
	__module_get(THIS_MODULE);
	spin_lock_init(&fence->base_lock);
	dma_fence_init(&fence->base, &dmawire_fence_ops, &fence->base_lock,
		       target->context, ++target->seqno);
	fence->ranges = 1;
	fence->pending = 1;
	return fence;
}

/**
 * dmawire_fence_enter - say that one more range is to be the device's
 * @target: the dma-buf; its lock is not held, the queue's mutex is
 *
 * Return: the fence that stands for the range, for dmawire_fence_leave(), or NULL
 * if there is no memory.
 */
struct dmawire_fence *dmawire_fence_enter(struct dmawire_target *target)
{
	struct dma_resv *resv = target->dmabuf->resv;
	struct dmawire_fence *fence;

	spin_lock_irq(target->lock);
	fence = join(target);
	spin_unlock_irq(target->lock);
	if (fence)
		return fence;

	fence = create(target);
	if (!fence)
		return NULL;

	dma_resv_lock(resv, NULL);
	if (dma_resv_reserve_fences(resv, 1)) {
		dma_resv_unlock(resv);
		/* Nobody has seen it. */
		dma_fence_signal(&fence->base);
		dma_fence_put(&fence->base);
		return NULL;
	}
	spin_lock_irq(target->lock);
	follow(target, fence);
	spin_unlock_irq(target->lock);
	dma_resv_add_fence(resv, &fence->base, DMA_RESV_USAGE_WRITE);
	dma_resv_unlock(resv);
	return fence;
}

/**
 * dmawire_fence_leave - say that a range is not the device's any more
 * @target: the dma-buf
 * @fence: what dmawire_fence_enter() gave for the range
 *
 * Return: fences to be given to dmawire_fence_signal() without the lock, or NULL.
 */
struct dmawire_fence *dmawire_fence_leave(struct dmawire_target *target,
					  struct dmawire_fence *fence)
{
	struct dmawire_fence *first = fence;

	lockdep_assert_held(target->lock);

	if (--fence->pending)
		return NULL;

	while (fence->next && !--fence->next->pending)
		fence = fence->next;
	fence->next = NULL;
	if (target->fence == fence)
		target->fence = NULL;
	return first;
}

/* In the order of the list; each is gone afterwards unless others hold it. */
void dmawire_fence_signal(struct dmawire_fence *fences)
{
	while (fences) {
		struct dmawire_fence *next = fences->next;

		dma_fence_signal(&fences->base);
		dma_fence_put(&fences->base);
		fences = next;
	}
}
