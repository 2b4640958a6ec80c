// SPDX-License-Identifier: GPL-2.0
/*
 * Ranges in and out of a capture queue: ENQUEUE, DEQUEUE, cancellation, poll, and their
 * submission to the driver. Without fences nothing in here sleeps but DEQUEUE.
 */
#include <linux/array_size.h>
#include <linux/dma-fence.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>

#include "capture.h"
#include "fence.h"
#include "queue.h"
#include "attachment.h"
#include "trace.h"

/* Drops the fences that a capture, owned by the caller, waits for. */
static void dmawire_capture_drop_foreign(struct dmawire_capture *capture)
{
	if (!capture->nr_foreign)
		return;
	dma_fence_remove_callback(capture->foreign[capture->nr_foreign - 1],
				  &capture->foreign_cb);
	while (capture->nr_foreign)
		dma_fence_put(capture->foreign[--capture->nr_foreign]);
	kfree(capture->foreign);
	capture->foreign = NULL;
}

/* The error of a range whose run has ended, or 0. */
static int dmawire_capture_check_alive(const struct dmawire_capture *capture)
{
	const struct dmawire_queue *queue = capture->queue;

	lockdep_assert_held(&queue->lock);

	if (queue->is_gone)
		return -ENODEV;
	if (queue->error)
		return -EIO;
	return capture->generation == queue->generation ? 0 : -ECANCELED;
}

/*
 * Calls submit() for an ACTIVE capture. False if the driver did not take it: then it
 * is COMPLETING, before the lock is dropped and STOP can have it.
 */
static bool dmawire_capture_call_submit(struct dmawire_capture *capture)
{
	struct dmawire_queue *queue = capture->queue;

	lockdep_assert_held(&queue->submit_lock);

	if (!queue->params.ops->submit(queue->device, &capture->transfer))
		return true;

	spin_lock_irq(&queue->lock);
	if (capture->fence)
		queue->nr_fenced--;
	dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
	spin_unlock_irq(&queue->lock);
	return false;
}

/* Submits a capture that is owned by the caller and has all it waited for. */
static void dmawire_capture_submit(struct dmawire_capture *capture)
{
	struct dmawire_queue *queue = capture->queue;
	int error;

	spin_lock(&queue->submit_lock);
	spin_lock_irq(&queue->lock);
	error = dmawire_capture_check_alive(capture);
	if (!error && queue->run != DMAWIRE_RUNNING)
		error = -ECANCELED;
	if (error) {
		dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
	} else {
		dmawire_capture_move(capture, DMAWIRE_ACTIVE, &queue->active);
		if (capture->fence && !queue->nr_fenced++) {
			queue->progress = jiffies;
			dmawire_queue_watch(queue);
		}
	}
	spin_unlock_irq(&queue->lock);
	if (!error && !dmawire_capture_call_submit(capture))
		error = -EIO;
	spin_unlock(&queue->submit_lock);

	if (error)
		dmawire_capture_complete(capture, error);
}

/* Submits the first range without a fence. False if the list is empty. */
static bool dmawire_queue_feed_one(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture = NULL;
	bool is_taken = true;

	spin_lock(&queue->submit_lock);
	spin_lock_irq(&queue->lock);
	if (queue->run == DMAWIRE_RUNNING && !queue->error)
		capture = list_first_entry_or_null(&queue->waiting,
						   struct dmawire_capture, node);
	if (capture)
		dmawire_capture_move(capture, DMAWIRE_ACTIVE, &queue->active);
	spin_unlock_irq(&queue->lock);
	if (capture)
		is_taken = dmawire_capture_call_submit(capture);
	spin_unlock(&queue->submit_lock);

	if (!is_taken)
		dmawire_capture_complete(capture, -EIO);
	return capture;
}

static void dmawire_capture_foreign_signaled(struct dma_fence *fence,
					     struct dma_fence_cb *cb)
{
	struct dmawire_capture *capture =
		container_of(cb, struct dmawire_capture, foreign_cb);

	/* A callback must not take locks of other drivers' submissions. */
	WRITE_ONCE(capture->is_unblocked, true);
	dmawire_queue_work(capture->queue, &capture->queue->feeder);
}

/*
 * Waits for the next unsignaled fence, by callback. The caller owns the capture.
 * False if all have signaled.
 */
static bool dmawire_capture_block(struct dmawire_capture *capture)
{
	struct dmawire_queue *queue = capture->queue;

	while (capture->nr_foreign) {
		struct dma_fence *fence = capture->foreign[capture->nr_foreign - 1];

		WRITE_ONCE(capture->is_unblocked, false);
		if (!dma_fence_add_callback(fence, &capture->foreign_cb,
					    dmawire_capture_foreign_signaled)) {
			spin_lock_irq(&queue->lock);
			dmawire_capture_move(capture, DMAWIRE_BLOCKED, &queue->blocked);
			/* The callback, or STOP, may have found it in no list. */
			if (READ_ONCE(capture->is_unblocked) ||
			    queue->run != DMAWIRE_RUNNING)
				dmawire_queue_work(queue, &queue->feeder);
			spin_unlock_irq(&queue->lock);
			return true;
		}
		capture->nr_foreign--;
		dma_fence_put(fence);
	}
	kfree(capture->foreign);
	capture->foreign = NULL;
	return false;
}

static struct dmawire_capture *
dmawire_queue_next_unblocked(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	list_for_each_entry(capture, &queue->blocked, node) {
		/* A run that has ended does so for its blocked ranges, too. */
		if (!READ_ONCE(capture->is_unblocked) &&
		    queue->run == DMAWIRE_RUNNING)
			continue;
		dmawire_capture_move(capture, DMAWIRE_PREPARING, NULL);
		spin_unlock_irq(&queue->lock);
		return capture;
	}
	spin_unlock_irq(&queue->lock);
	return NULL;
}

/* The work that submits ranges whose foreign fences have signaled. */
void dmawire_queue_unblock(struct work_struct *work)
{
	struct dmawire_queue *queue =
		container_of(work, struct dmawire_queue, feeder);
	bool in_signalling = dma_fence_begin_signalling();
	struct dmawire_capture *capture;

	while ((capture = dmawire_queue_next_unblocked(queue))) {
		if (!READ_ONCE(capture->is_unblocked))
			dmawire_capture_drop_foreign(capture);
		if (!dmawire_capture_block(capture))
			dmawire_capture_submit(capture);
	}
	dma_fence_end_signalling(in_signalling);
}

/*
 * Publishes the fence of a capture that is owned by the caller, and submits it. If
 * that fails, -ENOMEM or -EINTR, the caller still owns it.
 */
static int dmawire_capture_submit_fenced(struct dmawire_capture *capture)
{
	struct dmawire_fence *fence;
	bool in_signalling;

	fence = dmawire_fence_publish(capture->attachment, &capture->foreign,
				      &capture->nr_foreign);
	if (IS_ERR(fence))
		return PTR_ERR(fence);

	in_signalling = dma_fence_begin_signalling();
	capture->fence = fence;
	if (!dmawire_capture_block(capture))
		dmawire_capture_submit(capture);
	dma_fence_end_signalling(in_signalling);
	return 0;
}

static struct dmawire_capture *
dmawire_queue_next_fenced(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture = NULL;

	spin_lock_irq(&queue->lock);
	if (queue->run == DMAWIRE_RUNNING && !queue->error)
		capture = list_first_entry_or_null(&queue->fenced,
						   struct dmawire_capture, node);
	if (capture)
		dmawire_capture_move(capture, DMAWIRE_PREPARING, NULL);
	spin_unlock_irq(&queue->lock);
	return capture;
}

static void dmawire_queue_feed_fenced(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture;

	while ((capture = dmawire_queue_next_fenced(queue))) {
		if (!dmawire_capture_submit_fenced(capture))
			continue;
		spin_lock_irq(&queue->lock);
		dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
		spin_unlock_irq(&queue->lock);
		dmawire_capture_complete(capture, -EIO);
	}
}

/* Submits all ranges that wait, if the device runs. May sleep. */
void dmawire_queue_feed(struct dmawire_queue *queue)
{
	while (dmawire_queue_feed_one(queue))
		;
	dmawire_queue_feed_fenced(queue);
}

static struct dmawire_capture *
dmawire_queue_next_of(struct dmawire_queue *queue, struct list_head *list)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = list_first_entry_or_null(list, struct dmawire_capture, node);
	if (capture) {
		if (capture->state == DMAWIRE_ACTIVE && capture->fence)
			queue->nr_fenced--;
		dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
	}
	spin_unlock_irq(&queue->lock);
	return capture;
}

/* Completes all ACTIVE, WAITING and BLOCKED ranges. The device is stopped. */
void dmawire_queue_complete_all(struct dmawire_queue *queue, s32 result)
{
	struct list_head *lists[] = {
		&queue->active, &queue->blocked, &queue->fenced, &queue->waiting,
	};
	struct dmawire_capture *capture;

	for (unsigned int i = 0; i < ARRAY_SIZE(lists); i++) {
		while ((capture = dmawire_queue_next_of(queue, lists[i]))) {
			dmawire_capture_drop_foreign(capture);
			dmawire_capture_complete(capture, result);
		}
	}
}

static int dmawire_queue_check_range(const struct dmawire_queue *queue,
				     const struct dmawire_attachment *attachment,
				     const struct dmawire_enqueue_params *params)
{
	const struct dmawire_range range = { params->offset, params->length };
	const unsigned int alignment = queue->params.alignment;
	unsigned int first;

	if (!attachment || params->offset > SIZE_MAX || params->length > S32_MAX ||
	    !dmawire_attachment_has(attachment, &range) ||
	    (alignment &&
	     !dmawire_attachment_is_aligned(attachment, &range, alignment)))
		return -EINVAL;
	if (queue->params.max_segments &&
	    dmawire_attachment_segments(attachment, &range, &first) >
		    queue->params.max_segments)
		return -EINVAL;
	return 0;
}

static void dmawire_capture_init(struct dmawire_capture *capture,
				 struct dmawire_attachment *attachment,
				 const struct dmawire_enqueue_params *params,
				 struct dmawire_waiter *waiter)
{
	const struct dmawire_range range = { params->offset, params->length };

	capture->attachment = attachment;
	capture->range = range;
	capture->generation = capture->queue->generation;
	capture->fence = NULL;
	capture->waiter = waiter;
	capture->is_wedged = false;
	capture->is_orphan = false;
	capture->dequeued = (struct dmawire_dequeued){
		.index = params->index,
		.user_data = params->user_data,
		.offset = params->offset,
	};
	capture->transfer = (struct dmawire_transfer){
		.length = params->length,
		.nr_segments = dmawire_attachment_segments(attachment, &range,
							   &capture->first_segment),
		.vaddr = attachment->dev ? NULL : attachment->vaddr + range.offset,
	};
	INIT_LIST_HEAD(&capture->transfer.node);
	if (waiter)
		waiter->capture = capture;
}

/* One critical section: owner, attachment, range, a free capture and its pages. */
static struct dmawire_capture *
dmawire_queue_claim(struct dmawire_queue *queue, const void *owner,
		    const struct dmawire_enqueue_params *params,
		    struct dmawire_waiter *waiter)
{
	const struct dmawire_range range = { params->offset, params->length };
	struct dmawire_capture *capture;
	struct dmawire_attachment *attachment;
	int ret;

	lockdep_assert_held(&queue->lock);

	attachment = dmawire_queue_find(queue, params->index);
	ret = dmawire_queue_check_owner(queue, owner) ?:
		      dmawire_queue_check_range(queue, attachment, params);
	if (ret)
		return ERR_PTR(ret);
	if (queue->error)
		return ERR_PTR(-EIO);
	capture = list_first_entry_or_null(&queue->free, struct dmawire_capture,
					   node);
	if (!capture)
		return ERR_PTR(-EAGAIN);
	if (!dmawire_attachment_claim(attachment, &range))
		return ERR_PTR(-EBUSY);

	dmawire_capture_init(capture, attachment, params, waiter);
	dmawire_capture_move(capture, DMAWIRE_PREPARING, NULL);
	queue->counts.queued++;
	return capture;
}

/* Undoes a claim. Returns 0 if its request was canceled meanwhile, else @error. */
static int dmawire_capture_unclaim(struct dmawire_capture *capture, int error)
{
	struct dmawire_queue *queue = capture->queue;

	spin_lock_irq(&queue->lock);
	if (capture->is_orphan)
		error = 0;
	else if (capture->waiter)
		capture->waiter->capture = NULL;
	dmawire_attachment_release(capture->attachment, &capture->range);
	if (!--queue->counts.queued)
		wake_up_all(&queue->idle);
	dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
	spin_unlock_irq(&queue->lock);

	/* DEQUEUE may wait for it. */
	wake_up_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
	return error;
}

/* The range is ready for the device. It may complete from here on. */
static int dmawire_queue_put(struct dmawire_capture *capture)
{
	struct dmawire_queue *queue = capture->queue;
	const bool has_fences = capture->attachment->has_fences;
	bool is_running;
	int error;

	spin_lock_irq(&queue->lock);
	/* An end of the run may be past the lists. */
	error = dmawire_capture_check_alive(capture);
	is_running = queue->run == DMAWIRE_RUNNING;
	if (error)
		dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
	else if (!has_fences)
		dmawire_capture_move(capture, DMAWIRE_WAITING, &queue->waiting);
	else if (!is_running)
		dmawire_capture_move(capture, DMAWIRE_WAITING, &queue->fenced);
	spin_unlock_irq(&queue->lock);

	if (error) {
		dmawire_capture_complete(capture, error);
	} else if (!has_fences) {
		dmawire_queue_feed_one(queue);
	} else if (is_running) {
		error = dmawire_capture_submit_fenced(capture);
		if (error)
			return dmawire_capture_unclaim(capture, error);
	}
	return 0;
}

/**
 * dmawire_queue_enqueue - queue a range for the device
 * @queue: the device's
 * @owner: the open file
 * @params: the range
 * @waiter: called when it is done, if this succeeds; NULL: user space dequeues it
 *
 * Sleeps only if the attachment has fences.
 *
 * Return: 0 or a negative errno of DMAWIRE_IOC_ENQUEUE.
 */
int dmawire_queue_enqueue(struct dmawire_queue *queue, const void *owner,
			  const struct dmawire_enqueue_params *params,
			  struct dmawire_waiter *waiter)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = dmawire_queue_claim(queue, owner, params, waiter);
	spin_unlock_irq(&queue->lock);
	if (IS_ERR(capture))
		return PTR_ERR(capture);

	dmawire_attachment_sync_for_device(capture->attachment, &capture->range);
	trace_dmawire_enqueue(&capture->dequeued, capture->range.length);
	return dmawire_queue_put(capture);
}

/* Whether dmawire_queue_enqueue() may sleep for the attachment with @index. */
bool dmawire_queue_enqueue_may_sleep(struct dmawire_queue *queue, u32 index)
{
	const struct dmawire_attachment *attachment;
	bool may_sleep;

	spin_lock_irq(&queue->lock);
	attachment = dmawire_queue_find(queue, index);
	may_sleep = attachment && attachment->has_fences;
	spin_unlock_irq(&queue->lock);
	return may_sleep;
}

/* Takes the first range that is done. Returns -EAGAIN if there is one to wait for. */
static int dmawire_queue_try_dequeue(struct dmawire_queue *queue, const void *owner,
				     struct dmawire_dequeued *dequeued)
{
	struct dmawire_capture *capture;
	int ret = 0;

	spin_lock_irq(&queue->lock);
	capture = list_first_entry_or_null(&queue->done, struct dmawire_capture,
					   node);
	if (queue->owner && queue->owner != owner) {
		/* Also after a wait: the queue may have changed hands. */
		ret = -EBUSY;
	} else if (capture) {
		*dequeued = capture->dequeued;
		dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
		dmawire_queue_disown_if_empty(queue);
	} else if (queue->counts.queued) {
		ret = -EAGAIN;
	} else {
		ret = queue->is_gone ? -ENODEV : -ECANCELED;
	}
	spin_unlock_irq(&queue->lock);
	return ret;
}

/* Whether there is nothing to wait for; @ret is the result then. */
static bool dmawire_queue_has_dequeued(struct dmawire_queue *queue,
				       const void *owner,
				       struct dmawire_dequeued *dequeued, int *ret)
{
	*ret = dmawire_queue_try_dequeue(queue, owner, dequeued);
	return *ret != -EAGAIN;
}

/**
 * dmawire_queue_dequeue - dequeue the next range that is done
 * @queue: the device's
 * @owner: the open file
 * @wait: block until a range is done
 * @dequeued: the result
 *
 * Return: 0 or a negative errno of DMAWIRE_IOC_DEQUEUE.
 */
int dmawire_queue_dequeue(struct dmawire_queue *queue, const void *owner, bool wait,
			  struct dmawire_dequeued *dequeued)
{
	int ret;

	if (!wait)
		return dmawire_queue_try_dequeue(queue, owner, dequeued);
	if (wait_event_interruptible(queue->wait,
				     dmawire_queue_has_dequeued(queue, owner,
								dequeued, &ret)))
		return -EINTR;
	return ret;
}

/**
 * dmawire_queue_finish_dequeue - dequeue the range of a waiter that was called
 * @queue: the device's
 * @waiter: the waiter
 * @dequeued: the result
 *
 * Return: false if the waiter was canceled before its range was done.
 */
bool dmawire_queue_finish_dequeue(struct dmawire_queue *queue,
				  struct dmawire_waiter *waiter,
				  struct dmawire_dequeued *dequeued)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = waiter->capture;
	waiter->capture = NULL;
	if (capture) {
		WARN_ON_ONCE(capture->state != DMAWIRE_DONE);
		*dequeued = capture->dequeued;
		dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
	}
	spin_unlock_irq(&queue->lock);
	return capture;
}

/* Returns the capture if it is to be completed by the caller. */
static struct dmawire_capture *
dmawire_queue_begin_cancel(struct dmawire_queue *queue,
			   struct dmawire_waiter *waiter, bool *is_orphan)
{
	struct dmawire_capture *capture = waiter->capture;

	lockdep_assert_held(&queue->lock);

	*is_orphan = false;
	if (!capture)
		return NULL;
	switch (capture->state) {
	case DMAWIRE_WAITING:
	case DMAWIRE_BLOCKED:
		dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
		return capture;
	case DMAWIRE_PREPARING:
	case DMAWIRE_ACTIVE:
		waiter->capture = NULL;
		capture->waiter = NULL;
		capture->is_orphan = true;
		queue->counts.canceled++;
		*is_orphan = true;
		return NULL;
	default:
		return NULL;
	}
}

/**
 * dmawire_queue_cancel - cancel the request of a range
 * @queue: the device's
 * @waiter: of dmawire_queue_enqueue()
 *
 * A range that the device has not got is unlinked and completes with -ECANCELED. One
 * that it has stays the device's until that is done with it, but its waiter is
 * called now. One that is complete is left to complete. Other ranges go on.
 */
void dmawire_queue_cancel(struct dmawire_queue *queue,
			  struct dmawire_waiter *waiter)
{
	struct dmawire_capture *capture;
	bool is_orphan;

	spin_lock_irq(&queue->lock);
	capture = dmawire_queue_begin_cancel(queue, waiter, &is_orphan);
	spin_unlock_irq(&queue->lock);

	if (capture) {
		dmawire_capture_drop_foreign(capture);
		dmawire_capture_complete(capture, -ECANCELED);
	}
	if (is_orphan)
		waiter->done(waiter);
}

void dmawire_queue_count(struct dmawire_queue *queue,
			 struct dmawire_counts *counts)
{
	spin_lock_irq(&queue->lock);
	*counts = queue->counts;
	spin_unlock_irq(&queue->lock);
}

__poll_t dmawire_queue_poll(struct dmawire_queue *queue, const void *owner,
			    struct file *file, struct poll_table_struct *table)
{
	__poll_t mask = 0;

	poll_wait(file, &queue->wait, table);
	spin_lock_irq(&queue->lock);
	if (queue->owner == owner && !list_empty(&queue->done))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (queue->is_gone)
		mask |= EPOLLHUP | EPOLLERR;
	spin_unlock_irq(&queue->lock);
	return mask;
}
