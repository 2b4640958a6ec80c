// SPDX-License-Identifier: GPL-2.0
/*
 * Write fences of attachments with DMAWIRE_ATTACH_FENCES: one for each range that
 * is submitted to the device, on the dma-buf's reservation object.
 *
 * The fences of an attachment are one context and signal in the order of their
 * sequence numbers. The device may complete in another order: a fence also waits for
 * the one before it.
 */
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "fence.h"
#include "attachment.h"

/**
 * struct dmawire_fence - a range of a dma-buf that the device writes
 * @base: signals when the range and all before it are complete
 * @base_lock: of @base
 * @pending: 1 for the range, and 1 for the fence before
 * @next: the fence after, which counts this one in @pending; when this one is
 *	complete, the fence to be signaled after it
 *
 * Protected by the attachment's lock. The range holds a reference.
 */
struct dmawire_fence {
	struct dma_fence base;
	spinlock_t base_lock; /* of base */
	unsigned int pending;
	struct dmawire_fence *next;
};

static const char *dmawire_fence_get_name(struct dma_fence *fence)
{
	return "dmawire";
}

static void dmawire_fence_free(struct rcu_head *rcu)
{
	struct dma_fence *fence = container_of(rcu, struct dma_fence, rcu);

	kfree(container_of(fence, struct dmawire_fence, base));
	module_put(THIS_MODULE);
}

/*
 * dma_fence_put() returns through this function into its caller, so the module is
 * put after a grace period; dmawire_exit() waits for the callback.
 */
static void dmawire_fence_release(struct dma_fence *fence)
{
	call_rcu(&fence->rcu, dmawire_fence_free);
}

static const struct dma_fence_ops dmawire_fence_ops = {
	.get_driver_name = dmawire_fence_get_name,
	.get_timeline_name = dmawire_fence_get_name,
	.release = dmawire_fence_release,
};

static void dmawire_fence_follow(struct dmawire_attachment *attachment,
				 struct dmawire_fence *fence)
{
	spin_lock_irq(attachment->lock);
	if (attachment->fence) {
		attachment->fence->next = fence;
		fence->pending++;
	}
	attachment->fence = fence;
	spin_unlock_irq(attachment->lock);
}

/* Keeps the fences that have to signal before the device may write. */
static unsigned int dmawire_fence_filter(struct dma_fence **fences, unsigned int nr,
					 u64 own_context)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < nr; i++) {
		if (fences[i]->context == own_context ||
		    dma_fence_is_signaled(fences[i]))
			dma_fence_put(fences[i]);
		else
			fences[kept++] = fences[i];
	}
	return kept;
}

static void dmawire_fence_add(struct dmawire_attachment *attachment,
			      struct dmawire_fence *fence)
{
	dma_resv_assert_held(attachment->dmabuf->resv);

	/* A sync_file may outlive the dma-buf, and calls the ops. */
	__module_get(THIS_MODULE);
	spin_lock_init(&fence->base_lock);
	dma_fence_init(&fence->base, &dmawire_fence_ops, &fence->base_lock,
		       attachment->context, ++attachment->seqno);
	fence->pending = 1;
	dmawire_fence_follow(attachment, fence);
	dma_resv_add_fence(attachment->dmabuf->resv, &fence->base,
			   DMA_RESV_USAGE_WRITE);
}

/**
 * dmawire_fence_publish - add the fence of a range that is about to be submitted
 * @attachment: the attachment
 * @foreign: fences of others to wait for before it is submitted, each with a
 *	reference, in an array to be freed with kfree(), or NULL
 * @nr_foreign: how many
 *
 * All allocation happens before the fence is published: from then on the range
 * completes without any. May sleep, also on the reservation lock, interruptibly.
 *
 * Return: the fence, for dmawire_fence_complete(), or an ERR_PTR: -ENOMEM, -EINTR.
 */
struct dmawire_fence *dmawire_fence_publish(struct dmawire_attachment *attachment,
					    struct dma_fence ***foreign,
					    unsigned int *nr_foreign)
{
	struct dma_resv *resv = attachment->dmabuf->resv;
	struct dmawire_fence *fence;
	int ret;

	fence = kzalloc_obj(*fence, GFP_KERNEL_ACCOUNT);
	if (!fence)
		return ERR_PTR(-ENOMEM);

	if (dma_resv_lock_interruptible(resv, NULL)) {
		ret = -EINTR;
		goto err_free;
	}
	ret = dma_resv_reserve_fences(resv, 1);
	if (!ret)
		ret = dma_resv_get_fences(resv, dma_resv_usage_rw(true), nr_foreign,
					  foreign);
	if (ret)
		goto err_unlock;
	*nr_foreign =
		dmawire_fence_filter(*foreign, *nr_foreign, attachment->context);
	if (!*nr_foreign) {
		kfree(*foreign);
		*foreign = NULL;
	}
	dmawire_fence_add(attachment, fence);
	dma_resv_unlock(resv);
	return fence;

err_unlock:
	dma_resv_unlock(resv);
err_free:
	kfree(fence);
	return ERR_PTR(ret);
}

/**
 * dmawire_fence_complete - the range of a fence is complete
 * @attachment: the attachment
 * @fence: of dmawire_fence_publish()
 * @error: 0 or a negative errno that the fence carries
 * @signals: a list for dmawire_fence_signal(), to which @fence and fences that waited
 *	for it are added; nothing is, if it waits for one before it
 */
void dmawire_fence_complete(struct dmawire_attachment *attachment,
			    struct dmawire_fence *fence, int error,
			    struct dmawire_fence **signals)
{
	lockdep_assert_held(attachment->lock);

	if (error)
		dma_fence_set_error(&fence->base, error);
	if (--fence->pending)
		return;

	while (*signals)
		signals = &(*signals)->next;
	*signals = fence;
	while (fence->next && !--fence->next->pending)
		fence = fence->next;
	fence->next = NULL;
	if (attachment->fence == fence)
		attachment->fence = NULL;
}

/* In the order of the list. Drops the references of the ranges. */
void dmawire_fence_signal(struct dmawire_fence *fences)
{
	while (fences) {
		struct dmawire_fence *next = fences->next;

		dma_fence_signal(&fences->base);
		dma_fence_put(&fences->base);
		fences = next;
	}
}
