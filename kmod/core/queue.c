// SPDX-License-Identifier: GPL-2.0
/*
 * Capture queues as user space sees them: who owns one, which dma-bufs it has,
 * whether it runs, what is given and what is taken.
 */
#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <dmawire/device.h>

#include "backing.h"
#include "buffer.h"
#include "capture.h"
#include "dmabuf.h"
#include "fence.h"
#include "queue.h"
#include "target.h"
#include "trace.h"

/* Most dma-bufs that can be attached at a time. */
#define DMAWIRE_QUEUE_TARGETS 4096

static void end_broken(struct work_struct *work);

/**
 * dmawire_queue_create - make the queue of a device
 * @device: the device
 * @dev: what the driver called parent
 * @params: what the driver said
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
	queue->captures = kvcalloc(DMAWIRE_QUEUE_DEPTH,
				   sizeof(*queue->captures), GFP_KERNEL);
	if (!queue->captures) {
		kfree(queue);
		return NULL;
	}

	queue->device = device;
	queue->dev = params->cpu_fills ? NULL : dev;
	queue->zone = queue->dev && dma_addressing_limited(dev) ? GFP_DMA32 : 0;
	queue->cma_area = dev_get_cma_area(dev);
	queue->params = *params;
	mutex_init(&queue->mutex);
	xa_init_flags(&queue->targets, XA_FLAGS_ALLOC);
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->free);
	INIT_LIST_HEAD(&queue->waiting);
	INIT_LIST_HEAD(&queue->with_device);
	INIT_LIST_HEAD(&queue->back);
	init_waitqueue_head(&queue->wait);
	INIT_WORK(&queue->ender, end_broken);
	for (unsigned int i = 0; i < DMAWIRE_QUEUE_DEPTH; i++) {
		queue->captures[i].queue = queue;
		list_add_tail(&queue->captures[i].node, &queue->free);
	}
	return queue;
}

/* Nobody can reach it any more, and nobody captures. */
void dmawire_queue_destroy(struct dmawire_queue *queue)
{
	cancel_work_sync(&queue->ender);
	xa_destroy(&queue->targets);
	mutex_destroy(&queue->mutex);
	kvfree(queue->captures);
	kfree(queue);
}

const struct dmawire_device_params *
dmawire_queue_params(const struct dmawire_queue *queue)
{
	return &queue->params;
}

/* Where contiguous memory for the device was set aside, or NULL. */
struct cma *dmawire_queue_cma_area(const struct dmawire_queue *queue)
{
	return queue->cma_area;
}

/*
 * Where memory is that need not be copied for the device: GFP_DMA32 if it does not
 * reach all of it, by itself or through an IOMMU; otherwise 0.
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

/**
 * dmawire_queue_hold_dev - keep the device that does the DMA from going
 * @queue: the device's
 *
 * Nobody can do anything with the queue meanwhile.
 *
 * Return: the device, until dmawire_queue_release_dev(); or an ERR_PTR: -EOPNOTSUPP
 * if no device does any, -ENODEV if it is gone.
 */
struct device *dmawire_queue_hold_dev(struct dmawire_queue *queue)
{
	if (!queue->dev)
		return ERR_PTR(-EOPNOTSUPP);

	mutex_lock(&queue->mutex);
	if (!queue->gone)
		return queue->dev;
	mutex_unlock(&queue->mutex);
	return ERR_PTR(-ENODEV);
}

void dmawire_queue_release_dev(struct dmawire_queue *queue)
{
	mutex_unlock(&queue->mutex);
}

/* Brings all captures of a list back with an error. */
static void bring_back_all(struct dmawire_queue *queue, struct list_head *list,
			   int error)
{
	struct dmawire_capture *capture;

	for (;;) {
		spin_lock_irq(&queue->lock);
		capture = list_first_entry_or_null(list, struct dmawire_capture,
						   node);
		if (capture)
			dmawire_capture_move(capture, DMAWIRE_ENDING, NULL);
		spin_unlock_irq(&queue->lock);
		if (!capture)
			return;
		dmawire_capture_bring_back(capture, error);
	}
}

static void set_running(struct dmawire_queue *queue, bool running)
{
	lockdep_assert_held(&queue->mutex);

	spin_lock_irq(&queue->lock);
	queue->running = running;
	queue->counts.running = running;
	spin_unlock_irq(&queue->lock);
}

/* What went wrong is forgotten. */
static void forgive(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->mutex);

	spin_lock_irq(&queue->lock);
	WRITE_ONCE(queue->broken, false);
	spin_unlock_irq(&queue->lock);
}

/* Stops the device if it runs; everything given comes back. */
static void end(struct dmawire_queue *queue, int error)
{
	lockdep_assert_held(&queue->mutex);

	if (queue->running) {
		queue->params.ops->stop(queue->device);
		set_running(queue, false);
	}
	bring_back_all(queue, &queue->with_device, error);
	bring_back_all(queue, &queue->waiting, error);
}

static void end_broken(struct work_struct *work)
{
	struct dmawire_queue *queue =
		container_of(work, struct dmawire_queue, ender);

	guard(mutex)(&queue->mutex);
	/* Or someone was faster. */
	if (queue->broken)
		end(queue, -EIO);
}

static void set_owner(struct dmawire_queue *queue, const void *owner)
{
	lockdep_assert_held(&queue->mutex);

	spin_lock_irq(&queue->lock);
	queue->owner = owner;
	spin_unlock_irq(&queue->lock);
}

/* The queue is nobody's once nothing in it is its owner's. */
static void disown_if_empty(struct dmawire_queue *queue)
{
	bool empty;

	lockdep_assert_held(&queue->mutex);

	spin_lock_irq(&queue->lock);
	empty = list_empty(&queue->back) && !queue->running;
	spin_unlock_irq(&queue->lock);
	if (empty && xa_empty(&queue->targets))
		set_owner(queue, NULL);
}

/* Whether @owner may capture now. */
static int check_owner(const struct dmawire_queue *queue, const void *owner)
{
	lockdep_assert_held(&queue->mutex);

	if (queue->gone)
		return -ENODEV;
	return queue->owner && queue->owner != owner ? -EBUSY : 0;
}

static int attach(struct dmawire_queue *queue, struct dma_buf *dmabuf,
		  u32 *index)
{
	const struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(dmabuf);
	struct dmawire_target *target;
	int ret;

	/* Memory that is another device's, or was one's that is gone. */
	if (!buffer->pages && (buffer->owner != queue || !buffer->vaddr))
		return -EOPNOTSUPP;

	target = dmawire_target_create(dmabuf, queue->dev, &queue->lock);
	if (IS_ERR(target))
		return PTR_ERR(target);

	/* From here on the reference is the target's. */
	get_dma_buf(dmabuf);
	ret = xa_alloc(&queue->targets, index, target,
		       XA_LIMIT(0, DMAWIRE_QUEUE_TARGETS - 1),
		       GFP_KERNEL_ACCOUNT);
	if (ret) {
		dmawire_target_destroy(target);
		return -ENOMEM;
	}
	return 0;
}

/**
 * dmawire_queue_attach - make a dma-buf one that the device can write to
 * @queue: the device's
 * @owner: who asks; owns the queue until everything is detached and taken
 * @dmabuf: one of ours
 * @index: names it from now on
 *
 * Return: 0 or a negative errno of DMAWIRE_IOC_ATTACH.
 */
int dmawire_queue_attach(struct dmawire_queue *queue, const void *owner,
			 struct dma_buf *dmabuf, u32 *index)
{
	int ret;

	guard(mutex)(&queue->mutex);
	ret = check_owner(queue, owner);
	if (!ret)
		ret = attach(queue, dmabuf, index);
	if (!ret)
		set_owner(queue, owner);
	return ret;
}

int dmawire_queue_detach(struct dmawire_queue *queue, const void *owner,
			 u32 index)
{
	struct dmawire_target *target;
	bool given;

	guard(mutex)(&queue->mutex);
	if (queue->owner && queue->owner != owner)
		return -EBUSY;
	target = xa_load(&queue->targets, index);
	if (!target)
		return -EINVAL;

	spin_lock_irq(&queue->lock);
	given = target->given;
	spin_unlock_irq(&queue->lock);
	if (given)
		return -EBUSY;

	xa_erase(&queue->targets, index);
	dmawire_target_destroy(target);
	disown_if_empty(queue);
	return 0;
}

static void detach_all(struct dmawire_queue *queue)
{
	struct dmawire_target *target;
	unsigned long index;

	lockdep_assert_held(&queue->mutex);

	xa_for_each(&queue->targets, index, target) {
		xa_erase(&queue->targets, index);
		dmawire_target_destroy(target);
	}
}

/* With the driver's submit(); a capture it does not take comes back. */
static void submit(struct dmawire_capture *capture)
{
	struct dmawire_queue *queue = capture->queue;
	int ret;

	lockdep_assert_held(&queue->mutex);

	ret = queue->params.ops->submit(queue->device, &capture->transfer);
	if (ret)
		dmawire_transfer_failed(&capture->transfer);
}

static struct dmawire_capture *next_waiting(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = list_first_entry_or_null(&queue->waiting,
					   struct dmawire_capture, node);
	if (capture)
		dmawire_capture_move(capture, DMAWIRE_DEVICE, &queue->with_device);
	spin_unlock_irq(&queue->lock);
	return capture;
}

static int start(struct dmawire_queue *queue, u32 rate)
{
	struct dmawire_capture *capture;
	int ret;

	if (queue->running)
		return -EBUSY;
	if (rate && !queue->params.max_rate)
		return -EOPNOTSUPP;
	if (rate > queue->params.max_rate)
		return -EINVAL;

	ret = queue->params.ops->start(queue->device, rate);
	if (ret)
		return ret;

	/* Nothing has been submitted, so nothing can have come yet. */
	spin_lock_irq(&queue->lock);
	queue->counts = (struct dmawire_counts) {
		.given = queue->counts.given,
	};
	queue->next_sequence = 0;
	spin_unlock_irq(&queue->lock);
	forgive(queue);
	set_running(queue, true);
	while ((capture = next_waiting(queue)))
		submit(capture);
	return 0;
}

int dmawire_queue_start(struct dmawire_queue *queue, const void *owner, u32 rate)
{
	int ret;

	guard(mutex)(&queue->mutex);
	ret = check_owner(queue, owner);
	if (!ret)
		ret = start(queue, rate);
	if (!ret)
		set_owner(queue, owner);
	return ret;
}

int dmawire_queue_stop(struct dmawire_queue *queue, const void *owner)
{
	guard(mutex)(&queue->mutex);
	if (queue->owner && queue->owner != owner)
		return -EBUSY;
	end(queue, -ECANCELED);
	forgive(queue);
	disown_if_empty(queue);
	return 0;
}

/* What was not taken is forgotten. */
static void forget_back(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture, *next;

	spin_lock_irq(&queue->lock);
	list_for_each_entry_safe(capture, next, &queue->back, node)
		dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
	spin_unlock_irq(&queue->lock);
}

/* The file that may be the owner goes. */
void dmawire_queue_leave(struct dmawire_queue *queue, const void *owner)
{
	guard(mutex)(&queue->mutex);
	if (queue->owner != owner)
		return;
	end(queue, -ECANCELED);
	forgive(queue);
	forget_back(queue);
	detach_all(queue);
	set_owner(queue, NULL);
}

/* The driver goes. Returns when it will not be called any more. */
void dmawire_queue_shut(struct dmawire_queue *queue)
{
	scoped_guard(mutex, &queue->mutex) {
		spin_lock_irq(&queue->lock);
		queue->gone = true;
		spin_unlock_irq(&queue->lock);
		end(queue, -ENODEV);
		detach_all(queue);
		dmawire_coherent_revoke(queue);
	}
	cancel_work_sync(&queue->ender);
	wake_up_interruptible_poll(&queue->wait, EPOLLHUP | EPOLLERR);
}

/* A free capture and the pages of the range, or an ERR_PTR. */
static struct dmawire_capture *claim(struct dmawire_queue *queue,
				     struct dmawire_target *target,
				     const struct dmawire_range *range)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = list_first_entry_or_null(&queue->free, struct dmawire_capture,
					   node);
	if (queue->broken) {
		capture = ERR_PTR(-EIO);
	} else if (!capture) {
		capture = ERR_PTR(-EAGAIN);
	} else if (!dmawire_target_claim(target, range)) {
		capture = ERR_PTR(-EBUSY);
	} else {
		WARN_ON_ONCE(capture->state != DMAWIRE_FREE);
		dmawire_capture_move(capture, DMAWIRE_WAITING, NULL);
		queue->counts.given++;
	}
	spin_unlock_irq(&queue->lock);
	return capture;
}

static void unclaim(struct dmawire_capture *capture,
		    struct dmawire_target *target,
		    const struct dmawire_range *range)
{
	struct dmawire_queue *queue = capture->queue;

	spin_lock_irq(&queue->lock);
	dmawire_target_release(target, range);
	queue->counts.given--;
	dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
	spin_unlock_irq(&queue->lock);
}

/* From here on it may come back at any time. */
static void hand_over(struct dmawire_capture *capture)
{
	struct dmawire_queue *queue = capture->queue;
	bool running = queue->running;

	dmawire_target_sync_for_device(capture->target, &capture->range);
	trace_dmawire_give(&capture->taken, capture->range.length);

	spin_lock_irq(&queue->lock);
	if (running)
		dmawire_capture_move(capture, DMAWIRE_DEVICE, &queue->with_device);
	else
		dmawire_capture_move(capture, DMAWIRE_WAITING, &queue->waiting);
	spin_unlock_irq(&queue->lock);
	if (running)
		submit(capture);
}

static int give(struct dmawire_queue *queue,
		const struct dmawire_give_params *params,
		struct dmawire_waiter *waiter)
{
	const struct dmawire_range range = { params->offset, params->length };
	unsigned int nr_segments, first, alignment = queue->params.alignment;
	struct dmawire_capture *capture;
	struct dmawire_target *target;
	struct dmawire_fence *fence;

	target = xa_load(&queue->targets, params->index);
	if (!target || params->offset > SIZE_MAX || params->length > S32_MAX ||
	    !dmawire_target_has(target, &range) ||
	    (alignment && !dmawire_target_is_aligned(target, &range, alignment)))
		return -EINVAL;
	nr_segments = dmawire_target_segments(target, &range, &first);
	if (queue->params.max_segments &&
	    nr_segments > queue->params.max_segments)
		return -EINVAL;

	capture = claim(queue, target, &range);
	if (IS_ERR(capture))
		return PTR_ERR(capture);
	fence = dmawire_fence_enter(target);
	if (!fence) {
		unclaim(capture, target, &range);
		return -ENOMEM;
	}

	capture->target = target;
	capture->range = range;
	capture->first_segment = first;
	capture->fence = fence;
	capture->waiter = waiter;
	capture->taken = (struct dmawire_taken) {
		.index = params->index,
		.user_data = params->user_data,
		.offset = params->offset,
	};
	capture->transfer = (struct dmawire_transfer) {
		.length = params->length,
		.nr_segments = nr_segments,
		.vaddr = target->dev ? NULL : target->vaddr + range.offset,
	};
	INIT_LIST_HEAD(&capture->transfer.node);
	hand_over(capture);
	return 0;
}

/**
 * dmawire_queue_give - hand a range to the device
 * @queue: the device's
 * @owner: who asks
 * @params: what
 * @waiter: told when it is back, if this succeeds; NULL: it is to be taken
 *
 * Return: 0 or a negative errno of DMAWIRE_IOC_GIVE.
 */
int dmawire_queue_give(struct dmawire_queue *queue, const void *owner,
		       const struct dmawire_give_params *params,
		       struct dmawire_waiter *waiter)
{
	int ret;

	guard(mutex)(&queue->mutex);
	ret = check_owner(queue, owner);
	return ret ?: give(queue, params, waiter);
}

static struct dmawire_capture *take(struct dmawire_queue *queue,
				    const void *owner, int *error)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = list_first_entry_or_null(&queue->back, struct dmawire_capture,
					   node);
	if (queue->owner && queue->owner != owner) {
		/* Also after a wait: the queue may have changed hands. */
		capture = NULL;
		*error = -EBUSY;
	} else if (capture) {
		list_del_init(&capture->node);
		*error = 0;
	} else if (queue->counts.given) {
		*error = -EAGAIN;
	} else {
		*error = queue->gone ? -ENODEV : -ECANCELED;
	}
	spin_unlock_irq(&queue->lock);
	return capture;
}

/* Whether there is nothing to wait for any more. */
static bool try_take(struct dmawire_queue *queue, const void *owner,
		     struct dmawire_capture **capture, int *error)
{
	*capture = take(queue, owner, error);
	return *capture || *error != -EAGAIN;
}

/**
 * dmawire_queue_take - take back the next range
 * @queue: the device's
 * @owner: who asks
 * @wait: for one to come back
 * @taken: what it is
 *
 * Return: 0 or a negative errno of DMAWIRE_IOC_TAKE.
 */
int dmawire_queue_take(struct dmawire_queue *queue, const void *owner,
		       bool wait, struct dmawire_taken *taken)
{
	struct dmawire_capture *capture;
	int error;

	capture = take(queue, owner, &error);
	if (wait && error == -EAGAIN &&
	    wait_event_interruptible(queue->wait,
				     try_take(queue, owner, &capture,
					      &error)))
		return -EINTR;
	if (!capture)
		return error;
	dmawire_queue_finish_take(queue, capture, taken);

	guard(mutex)(&queue->mutex);
	disown_if_empty(queue);
	return 0;
}

/**
 * dmawire_queue_finish_take - take back the range that a waiter was told of
 * @queue: the device's
 * @cookie: what the waiter was told
 * @taken: what it is
 */
void dmawire_queue_finish_take(struct dmawire_queue *queue, void *cookie,
			       struct dmawire_taken *taken)
{
	struct dmawire_capture *capture = cookie;

	*taken = capture->taken;
	spin_lock_irq(&queue->lock);
	WARN_ON_ONCE(capture->state != DMAWIRE_BACK);
	dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
	spin_unlock_irq(&queue->lock);
}

void dmawire_queue_count(struct dmawire_queue *queue,
			 struct dmawire_counts *counts)
{
	spin_lock_irq(&queue->lock);
	*counts = queue->counts;
	spin_unlock_irq(&queue->lock);
}

__poll_t dmawire_queue_poll(struct dmawire_queue *queue, struct file *file,
			    struct poll_table_struct *table)
{
	__poll_t mask = 0;

	poll_wait(file, &queue->wait, table);
	spin_lock_irq(&queue->lock);
	if (!list_empty(&queue->back))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (queue->gone)
		mask |= EPOLLHUP | EPOLLERR;
	spin_unlock_irq(&queue->lock);
	return mask;
}

