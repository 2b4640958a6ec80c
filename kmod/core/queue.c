// SPDX-License-Identifier: GPL-2.0
/*
 * Capture queues: lifetime, owner and attachments.
 */
#include <linux/bitops.h>
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>
#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "capture.h"
#include "dmabuf.h"
#include "queue.h"
#include "attachment.h"

static int dmawire_queue_alloc(struct dmawire_queue *queue)
{
	queue->captures = kvcalloc(DMAWIRE_QUEUE_DEPTH, sizeof(*queue->captures),
				   GFP_KERNEL);
	queue->attachments = kvcalloc(DMAWIRE_QUEUE_ATTACHMENTS,
				      sizeof(*queue->attachments), GFP_KERNEL);
	return queue->captures && queue->attachments ? 0 : -ENOMEM;
}

static void dmawire_queue_free(struct dmawire_queue *queue)
{
	kvfree(queue->attachments);
	kvfree(queue->captures);
	kfree(queue);
}

/**
 * dmawire_queue_create - make the queue of a device
 * @device: the device
 * @dev: the parent of dmawire_device_register()
 * @params: of dmawire_device_register()
 *
 * Return: the queue, or NULL if there is no memory.
 */
struct dmawire_queue *
dmawire_queue_create(struct dmawire_device *device, struct device *dev,
		     const struct dmawire_device_params *params)
{
	struct dmawire_queue *queue = kzalloc_obj(*queue, GFP_KERNEL);

	if (!queue)
		return NULL;
	if (dmawire_queue_alloc(queue)) {
		dmawire_queue_free(queue);
		return NULL;
	}

	queue->device = device;
	queue->dev = params->cpu_fills ? NULL : dev;
	queue->zone = queue->dev && dma_addressing_limited(dev) ? GFP_DMA32 : 0;
	queue->cma_area = dev_get_cma_area(dev);
	queue->params = *params;
	spin_lock_init(&queue->submit_lock);
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->wedged);
	INIT_LIST_HEAD(&queue->free);
	INIT_LIST_HEAD(&queue->waiting);
	INIT_LIST_HEAD(&queue->fenced);
	INIT_LIST_HEAD(&queue->blocked);
	INIT_LIST_HEAD(&queue->active);
	INIT_LIST_HEAD(&queue->done);
	init_waitqueue_head(&queue->wait);
	init_waitqueue_head(&queue->idle);
	INIT_WORK(&queue->ender, dmawire_queue_end_failed);
	INIT_WORK(&queue->feeder, dmawire_queue_unblock);
	INIT_DELAYED_WORK(&queue->watchdog, dmawire_queue_watchdog);
	for (unsigned int i = 0; i < DMAWIRE_QUEUE_DEPTH; i++) {
		queue->captures[i].queue = queue;
		list_add_tail(&queue->captures[i].node, &queue->free);
	}
	return queue;
}

static void dmawire_queue_cancel_work(struct dmawire_queue *queue)
{
	cancel_work_sync(&queue->ender);
	cancel_work_sync(&queue->feeder);
	cancel_delayed_work_sync(&queue->watchdog);
}

/* Called on the last put of the device: no open files, nothing queued. */
void dmawire_queue_destroy(struct dmawire_queue *queue)
{
	dmawire_queue_cancel_work(queue);
	dmawire_queue_free(queue);
}

const struct dmawire_device_params *
dmawire_queue_params(const struct dmawire_queue *queue)
{
	return &queue->params;
}

/* The CMA area of the device, or NULL. */
struct cma *dmawire_queue_cma_area(const struct dmawire_queue *queue)
{
	return queue->cma_area;
}

/*
 * The zone of memory that the device reaches without bounce buffers: GFP_DMA32 if it
 * does not reach all of it, by itself or through an IOMMU; otherwise 0.
 */
gfp_t dmawire_queue_zone(const struct dmawire_queue *queue)
{
	return queue->zone;
}

/* Whether a device does the DMA, and not the CPU. */
bool dmawire_queue_has_dev(const struct dmawire_queue *queue)
{
	return queue->dev;
}

static void dmawire_queue_put_holder(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->lock);

	if (!--queue->holders)
		wake_up_all(&queue->idle);
}

/**
 * dmawire_queue_hold_dev - keep the driver bound to the device that does the DMA
 * @queue: the device's
 *
 * Unregistering waits until dmawire_queue_release_dev(); nothing else does.
 *
 * Return: the device, or an ERR_PTR: -EOPNOTSUPP if the CPU fills, -ENODEV if the
 * driver is unregistered.
 */
struct device *dmawire_queue_hold_dev(struct dmawire_queue *queue)
{
	struct device *dev = queue->dev;

	if (!dev)
		return ERR_PTR(-EOPNOTSUPP);

	spin_lock_irq(&queue->lock);
	if (queue->is_gone)
		dev = ERR_PTR(-ENODEV);
	else
		queue->holders++;
	spin_unlock_irq(&queue->lock);
	return dev;
}

void dmawire_queue_release_dev(struct dmawire_queue *queue)
{
	spin_lock_irq(&queue->lock);
	dmawire_queue_put_holder(queue);
	spin_unlock_irq(&queue->lock);
}

/* The owner loses the queue once nothing in it is the owner's. */
void dmawire_queue_disown_if_empty(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->lock);

	if (!queue->nr_attachments && list_empty(&queue->done) &&
	    queue->run == DMAWIRE_STOPPED)
		queue->owner = NULL;
}

/* Whether @owner may capture now. */
int dmawire_queue_check_owner(const struct dmawire_queue *queue, const void *owner)
{
	lockdep_assert_held(&queue->lock);

	if (queue->is_gone)
		return -ENODEV;
	return queue->owner && queue->owner != owner ? -EBUSY : 0;
}

/* Takes ownership, an index and a reference to the device. */
static int dmawire_queue_begin_attach(struct dmawire_queue *queue,
				      const void *owner, u32 *index)
{
	int ret;

	spin_lock_irq(&queue->lock);
	ret = dmawire_queue_check_owner(queue, owner);
	if (ret)
		goto out;
	*index = find_first_zero_bit(queue->indices, DMAWIRE_QUEUE_ATTACHMENTS);
	if (*index == DMAWIRE_QUEUE_ATTACHMENTS) {
		ret = -ENOMEM;
		goto out;
	}
	__set_bit(*index, queue->indices);
	queue->nr_attachments++;
	queue->holders++;
	queue->owner = owner;
out:
	spin_unlock_irq(&queue->lock);
	return ret;
}

/* The attachment with @index has been destroyed, or could not be made. */
static void dmawire_queue_free_index(struct dmawire_queue *queue, u32 index)
{
	lockdep_assert_held(&queue->lock);

	__clear_bit(index, queue->indices);
	queue->nr_attachments--;
	dmawire_queue_disown_if_empty(queue);
	wake_up_all(&queue->idle);
}

static struct dmawire_attachment *
dmawire_queue_make_attachment(struct dmawire_queue *queue, struct dma_buf *dmabuf,
			      u32 flags)
{
	const struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(dmabuf);
	struct dmawire_attachment *attachment;

	if (flags & DMAWIRE_ATTACH_FENCES && !dmawire_queue_has_fences(queue))
		return ERR_PTR(-EOPNOTSUPP);
	/* Memory of another device, or of one that is gone. */
	if (!buffer->pages && (buffer->owner != queue || !buffer->vaddr))
		return ERR_PTR(-EOPNOTSUPP);

	attachment = dmawire_attachment_create(dmabuf, queue->dev, &queue->lock);
	if (IS_ERR(attachment))
		return attachment;

	/* From here on the reference is the attachment's. */
	get_dma_buf(dmabuf);
	attachment->has_fences = flags & DMAWIRE_ATTACH_FENCES;
	return attachment;
}

/**
 * dmawire_queue_attach - map a dma-buf for the device to write to
 * @queue: the device's
 * @owner: the open file; owns the queue until everything is detached and dequeued
 * @dmabuf: one of ours
 * @flags: DMAWIRE_ATTACH_*
 * @id: names it from now on; for dmawire_queue_finish_attach()
 *
 * Return: 0 or a negative errno of DMAWIRE_IOC_ATTACH.
 */
int dmawire_queue_attach(struct dmawire_queue *queue, const void *owner,
			 struct dma_buf *dmabuf, u32 flags,
			 struct dmawire_attachment_id *id)
{
	struct dmawire_attachment *attachment;
	int ret;

	ret = dmawire_queue_begin_attach(queue, owner, &id->index);
	if (ret)
		return ret;

	attachment = dmawire_queue_make_attachment(queue, dmabuf, flags);

	spin_lock_irq(&queue->lock);
	if (IS_ERR(attachment)) {
		dmawire_queue_free_index(queue, id->index);
	} else {
		id->serial = ++queue->serial;
		attachment->serial = id->serial;
		queue->attachments[id->index] = attachment;
	}
	dmawire_queue_put_holder(queue);
	spin_unlock_irq(&queue->lock);
	return PTR_ERR_OR_ZERO(attachment);
}

/* Destroys an attachment that was taken out of the table. Drops the lock meanwhile. */
static void dmawire_queue_destroy_attachment(struct dmawire_queue *queue, u32 index,
					     struct dmawire_attachment *attachment)
	__must_hold(&queue->lock)
{
	lockdep_assert_held(&queue->lock);

	queue->holders++;
	spin_unlock_irq(&queue->lock);
	dmawire_attachment_destroy(attachment);
	spin_lock_irq(&queue->lock);
	dmawire_queue_free_index(queue, index);
	dmawire_queue_put_holder(queue);
}

/**
 * dmawire_queue_finish_attach - the caller of ATTACH has been told, or was not
 * @queue: the device's
 * @id: of dmawire_queue_attach()
 * @is_told: userspace has the index: ranges can be queued. Else it is detached
 */
void dmawire_queue_finish_attach(struct dmawire_queue *queue,
				 const struct dmawire_attachment_id *id,
				 bool is_told)
{
	struct dmawire_attachment *attachment;

	spin_lock_irq(&queue->lock);
	attachment = queue->attachments[id->index];
	/* Not if the driver was unregistered meanwhile. */
	if (attachment && attachment->serial == id->serial) {
		attachment->is_published = is_told;
		if (!is_told) {
			queue->attachments[id->index] = NULL;
			dmawire_queue_destroy_attachment(queue, id->index,
							 attachment);
		}
	}
	spin_unlock_irq(&queue->lock);
}

/* The attachment with @index, or NULL. */
struct dmawire_attachment *dmawire_queue_find(const struct dmawire_queue *queue,
					      u32 index)
{
	struct dmawire_attachment *attachment;

	lockdep_assert_held(&queue->lock);

	if (index >= DMAWIRE_QUEUE_ATTACHMENTS)
		return NULL;
	index = array_index_nospec(index, DMAWIRE_QUEUE_ATTACHMENTS);
	attachment = queue->attachments[index];
	return attachment && attachment->is_published ? attachment : NULL;
}

int dmawire_queue_detach(struct dmawire_queue *queue, const void *owner,
			 u32 index)
{
	struct dmawire_attachment *attachment;
	int ret = 0;

	spin_lock_irq(&queue->lock);
	attachment = dmawire_queue_find(queue, index);
	if (queue->owner && queue->owner != owner) {
		ret = -EBUSY;
	} else if (!attachment || queue->is_gone) {
		ret = -EINVAL;
	} else if (attachment->nr_queued) {
		ret = -EBUSY;
	} else {
		queue->attachments[index] = NULL;
		dmawire_queue_destroy_attachment(queue, index, attachment);
	}
	spin_unlock_irq(&queue->lock);
	return ret;
}

/* Nothing is queued, and nothing can be. Drops the lock meanwhile. */
static void dmawire_queue_detach_all(struct dmawire_queue *queue)
	__must_hold(&queue->lock)
{
	struct dmawire_attachment *attachment;
	u32 index;

	lockdep_assert_held(&queue->lock);

	for (index = 0; index < DMAWIRE_QUEUE_ATTACHMENTS; index++) {
		attachment = queue->attachments[index];
		queue->attachments[index] = NULL;
		if (attachment && queue->is_wedged && attachment->nr_queued) {
			list_add(&attachment->node, &queue->wedged);
			dmawire_queue_free_index(queue, index);
		} else if (attachment) {
			dmawire_queue_destroy_attachment(queue, index, attachment);
		}
	}
}

/* Frees the captures that are DONE and were not dequeued. */
static void dmawire_queue_free_done(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture, *next;

	lockdep_assert_held(&queue->lock);

	list_for_each_entry_safe(capture, next, &queue->done, node)
		dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
}

/* The last close of a file that may be the owner. */
void dmawire_queue_leave(struct dmawire_queue *queue, const void *owner)
{
	spin_lock_irq(&queue->lock);
	if (queue->owner != owner)
		goto out;
	if (queue->is_gone) {
		/* Unregistering completes and detaches all there is. */
		wait_event_lock_irq(queue->idle, !queue->nr_attachments,
				    queue->lock);
		dmawire_queue_free_done(queue);
	} else {
		queue->holders++;
		dmawire_queue_wait_run(queue);
		dmawire_queue_end(queue, -ECANCELED);
		dmawire_queue_clear_error(queue);
		wait_event_lock_irq(queue->idle, !queue->counts.queued, queue->lock);
		dmawire_queue_free_done(queue);
		dmawire_queue_detach_all(queue);
		dmawire_queue_put_holder(queue);
	}
	/* The last detach may have made it another file's. */
	if (queue->owner == owner)
		queue->owner = NULL;
out:
	spin_unlock_irq(&queue->lock);
}

/*
 * Called when the driver is unregistered; no callback is called after it returned.
 * False if the device may still write to submitted ranges: the queue stays.
 */
bool dmawire_queue_shut(struct dmawire_queue *queue)
{
	bool is_stopped;

	spin_lock_irq(&queue->lock);
	queue->is_gone = true;
	wait_event_lock_irq(queue->idle, !queue->holders, queue->lock);
	dmawire_queue_wait_run(queue);
	dmawire_queue_end(queue, -ENODEV);
	wait_event_lock_irq(queue->idle, !queue->counts.queued, queue->lock);
	dmawire_queue_detach_all(queue);
	wait_event_lock_irq(queue->idle, !queue->holders && !queue->nr_attachments,
			    queue->lock);
	is_stopped = list_empty(&queue->wedged);
	spin_unlock_irq(&queue->lock);

	if (is_stopped)
		dmawire_coherent_revoke(queue);
	dmawire_queue_cancel_work(queue);
	wake_up_poll(&queue->wait, EPOLLHUP | EPOLLERR);
	/* Completions that the driver began before stop() still use the queue. */
	synchronize_rcu();
	return is_stopped;
}
