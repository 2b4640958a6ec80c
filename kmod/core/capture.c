// SPDX-License-Identifier: GPL-2.0
/*
 * Completion of captures: checks of the driver, sync for the CPU, counts, fences,
 * and the wake-up of user space.
 */
#include <linux/dma-fence.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>

#include "capture.h"
#include "fence.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* Moves a capture to @state and the list of it, if there is one. */
void dmawire_capture_move(struct dmawire_capture *capture,
			  enum dmawire_state state, struct list_head *list)
{
	lockdep_assert_held(&capture->queue->lock);

	list_del_init(&capture->node);
	capture->state = state;
	if (list)
		list_add_tail(&capture->node, list);
}

/* Runs under the queue's lock. Returns the waiter to be called without it. */
static struct dmawire_waiter *dmawire_capture_finish(struct dmawire_capture *capture,
						     s32 result)
{
	struct dmawire_queue *queue = capture->queue;
	struct dmawire_waiter *waiter = capture->waiter;

	lockdep_assert_held(&queue->lock);

	capture->dequeued.result = result;
	if (!capture->is_wedged)
		dmawire_attachment_release(capture->attachment, &capture->range);
	capture->attachment = NULL;
	capture->fence = NULL;
	if (!--queue->counts.queued)
		wake_up_all(&queue->idle);
	if (capture->is_orphan) {
		dmawire_capture_move(capture, DMAWIRE_FREE, &queue->free);
		return NULL;
	}
	if (result >= 0)
		queue->counts.captured++;
	else if (result == -EIO)
		queue->counts.failed++;
	else
		queue->counts.canceled++;
	dmawire_capture_move(capture, DMAWIRE_DONE, waiter ? NULL : &queue->done);
	return waiter;
}

/*
 * Signals fences in the order in which they were added, by one thread at a time:
 * fences that complete meanwhile are left to the thread that signals already.
 */
static void dmawire_queue_signal(struct dmawire_queue *queue)
{
	struct dmawire_fence *fences;
	unsigned long flags;

	for (;;) {
		spin_lock_irqsave(&queue->lock, flags);
		fences = queue->signals;
		queue->signals = NULL;
		queue->is_signaling = fences;
		spin_unlock_irqrestore(&queue->lock, flags);
		if (!fences)
			return;
		dmawire_fence_signal(fences);
	}
}

/**
 * dmawire_capture_complete - hand a range back to user space
 * @capture: COMPLETING, owned by the caller
 * @result: bytes of the frame, which are synced for the CPU; or a negative errno,
 *	and nothing is synced
 *
 * Any context. The caller holds the queue, or an RCU read lock.
 */
void dmawire_capture_complete(struct dmawire_capture *capture, s32 result)
{
	struct dmawire_queue *queue = capture->queue;
	struct dmawire_waiter *waiter;
	bool must_signal = false;
	unsigned long flags;
	int error;

	/* Without a frame nothing is known to be written: nothing is synced. */
	dmawire_attachment_sync_for_cpu(capture->attachment, &capture->range,
					max(result, 0));
	trace_dmawire_complete(&capture->dequeued, result);

	spin_lock_irqsave(&queue->lock, flags);
	error = queue->error == -ETIMEDOUT && result < 0 ? -ETIMEDOUT : min(result, 0);
	if (capture->fence) {
		dmawire_fence_complete(capture->attachment, capture->fence, error,
				       &queue->signals);
		must_signal = queue->signals && !queue->is_signaling;
		if (must_signal)
			queue->is_signaling = true;
	}
	waiter = dmawire_capture_finish(capture, result);
	spin_unlock_irqrestore(&queue->lock, flags);

	if (must_signal)
		dmawire_queue_signal(queue);
	if (waiter)
		waiter->done(waiter);
	wake_up_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
}

/**
 * dmawire_queue_set_error - end the run of a device
 * @queue: the device's
 * @error: -EIO, or -ETIMEDOUT, which fences carry
 * @what: the driver's fault, for the log
 *
 * Any context. The ender stops the device and completes all that is queued.
 */
void dmawire_queue_set_error(struct dmawire_queue *queue, int error,
			     const char *what)
{
	lockdep_assert_held(&queue->lock);

	if (queue->error)
		return;
	WRITE_ONCE(queue->error, error);
	pr_err("dmawire: driver %s %s; its run ends\n", queue->params.name, what);
	dmawire_queue_work(queue, &queue->ender);
}

/* Any context. A failure inside start() is kept until that has returned. */
void dmawire_queue_fail(struct dmawire_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	if (queue->run == DMAWIRE_RUNNING || queue->run == DMAWIRE_STARTING)
		dmawire_queue_set_error(queue, -EIO, "says that its device failed");
	spin_unlock_irqrestore(&queue->lock, flags);
}

/* The driver's stop() could not stop the device. */
void dmawire_queue_set_wedged(struct dmawire_queue *queue)
{
	spin_lock_irq(&queue->lock);
	queue->is_wedged = true;
	if (!queue->error)
		WRITE_ONCE(queue->error, -EIO);
	spin_unlock_irq(&queue->lock);
}

static struct dmawire_capture *to_capture(const struct dmawire_transfer *transfer)
{
	return container_of(transfer, struct dmawire_capture, transfer);
}

/* Returns the rule that the driver breaks if it completes @capture, or NULL. */
static const char *dmawire_capture_check(const struct dmawire_capture *capture,
					 const struct dmawire_frame *frame)
{
	if (capture->state != DMAWIRE_ACTIVE)
		return capture->queue->run == DMAWIRE_STOPPED ?
			       "completed a transfer after it was stopped" :
			       "completed a transfer that it did not have";
	if (frame && frame->length > capture->transfer.length)
		return "claims more bytes than the transfer has room for";
	return NULL;
}

/*
 * A frame that completes after a later one was counted as lost with that, and is
 * not lost after all.
 */
static void dmawire_capture_record(struct dmawire_capture *capture,
				   const struct dmawire_frame *frame)
{
	struct dmawire_queue *queue = capture->queue;
	u64 lost = 0;

	lockdep_assert_held(&queue->lock);

	if (frame->sequence >= queue->next_sequence) {
		lost = frame->sequence - queue->next_sequence;
		queue->next_sequence = frame->sequence + 1;
		queue->counts.lost += lost;
	} else if (queue->counts.lost) {
		queue->counts.lost--;
	}
	capture->dequeued.sequence = frame->sequence;
	capture->dequeued.timestamp = frame->timestamp;
	capture->dequeued.lost = min(lost, U32_MAX);
}

/* Takes @capture from the driver. False if that must not complete it. */
static bool dmawire_capture_begin_complete(struct dmawire_capture *capture,
					   const struct dmawire_frame *frame)
{
	struct dmawire_queue *queue = capture->queue;
	const char *fault;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	fault = dmawire_capture_check(capture, frame);
	if (fault) {
		dmawire_queue_set_error(queue, -EIO, fault);
	} else {
		if (frame)
			dmawire_capture_record(capture, frame);
		if (capture->fence)
			queue->nr_fenced--;
		queue->progress = jiffies;
		dmawire_capture_move(capture, DMAWIRE_COMPLETING, NULL);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	return !fault;
}

/*
 * The read lock keeps the queue until the last access: unregistering waits for a
 * grace period after stop().
 */
static void dmawire_transfer_complete(struct dmawire_transfer *transfer,
				      const struct dmawire_frame *frame)
{
	struct dmawire_capture *capture = to_capture(transfer);
	bool in_signalling = dma_fence_begin_signalling();
	s32 result = -EIO;

	rcu_read_lock();
	if (dmawire_capture_begin_complete(capture, frame)) {
		if (frame && !READ_ONCE(capture->queue->error))
			result = frame->length;
		dmawire_capture_complete(capture, result);
	}
	rcu_read_unlock();
	dma_fence_end_signalling(in_signalling);
}

/**
 * dmawire_transfer_segment - a piece of a transfer
 * @transfer: one that is the driver's
 * @index: which, below @transfer->nr_segments
 *
 * Any context.
 *
 * Return: where the device is to write.
 */
struct dmawire_segment
dmawire_transfer_segment(const struct dmawire_transfer *transfer,
			 unsigned int index)
{
	const struct dmawire_capture *capture = to_capture(transfer);

	return dmawire_attachment_segment(capture->attachment, &capture->range,
					  capture->first_segment + index);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_segment);

/**
 * dmawire_transfer_done - say that a frame is complete
 * @transfer: holds it; no longer the driver's
 * @frame: its length, sequence number and time
 *
 * The device has written its last byte of it. Process, softirq or interrupt context;
 * on PREEMPT_RT not under a raw spinlock, nor in a handler that is not threaded.
 */
void dmawire_transfer_done(struct dmawire_transfer *transfer,
			   const struct dmawire_frame *frame)
{
	dmawire_transfer_complete(transfer, frame);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_done);

/**
 * dmawire_transfer_failed - say that a frame went wrong
 * @transfer: where it should have been; not the driver's any more
 *
 * Completes the range with EIO. The device has stopped writing to it. If a frame is
 * lost by this its sequence number stays unused. Context as for
 * dmawire_transfer_done().
 */
void dmawire_transfer_failed(struct dmawire_transfer *transfer)
{
	dmawire_transfer_complete(transfer, NULL);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_failed);
