// SPDX-License-Identifier: GPL-2.0
/*
 * Captures between driver and user space: how a transfer is completed, whether the
 * driver may complete it, and what has to happen before anyone sees the data.
 */
#include <linux/dma-buf.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/poll.h>

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

/* Makes what is ENDING ready for the CPU and gives it to whom it belongs. */
void dmawire_capture_bring_back(struct dmawire_capture *capture, s32 result)
{
	struct dmawire_queue *queue = capture->queue;
	struct dmawire_waiter *waiter = capture->waiter;
	struct dmawire_fence *fences;
	unsigned long flags;

	dmawire_target_sync_for_cpu(capture->target, &capture->range);
	trace_dmawire_back(&capture->taken, result);

	spin_lock_irqsave(&queue->lock, flags);
	capture->taken.result = result;
	dmawire_target_release(capture->target, &capture->range);
	fences = dmawire_fence_leave(capture->target, capture->fence);
	capture->target = NULL;
	queue->counts.given--;
	if (result >= 0)
		queue->counts.captured++;
	else if (result == -EIO)
		queue->counts.failed++;
	else
		queue->counts.canceled++;
	dmawire_capture_move(capture, DMAWIRE_BACK, waiter ? NULL : &queue->back);
	spin_unlock_irqrestore(&queue->lock, flags);

	dmawire_fence_signal(fences);
	if (waiter)
		waiter->back(waiter, capture);
	wake_up_interruptible_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
}

/* Nothing that the driver captures in this run can be trusted any more. */
static void complain(struct dmawire_queue *queue, const char *what)
{
	lockdep_assert_held(&queue->lock);

	if (queue->broken)
		return;
	WRITE_ONCE(queue->broken, true);
	pr_err("dmawire: driver %s %s; its run ends\n", queue->params.name, what);
	schedule_work(&queue->ender);
}

/* Any context. */
void dmawire_queue_fail(struct dmawire_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	if (queue->running)
		complain(queue, "says that its device failed");
	spin_unlock_irqrestore(&queue->lock, flags);
}

static struct dmawire_capture *to_capture(const struct dmawire_transfer *transfer)
{
	return container_of(transfer, struct dmawire_capture, transfer);
}

/* What is wrong with how the driver completes @capture, or NULL. */
static const char *find_fault(const struct dmawire_capture *capture,
			      const struct dmawire_frame *frame)
{
	const struct dmawire_queue *queue = capture->queue;

	if (capture->state != DMAWIRE_DEVICE)
		return queue->running ? "completed a transfer that it did not have" :
					"completed a transfer after it was stopped";
	if (frame && frame->length > capture->transfer.length)
		return "claims more bytes than the transfer has room for";
	if (frame && frame->sequence < queue->next_sequence)
		return "went back in its sequence numbers";
	return NULL;
}

/* What user space will learn of a frame, and what was lost before it. */
static void note(struct dmawire_capture *capture,
		 const struct dmawire_frame *frame)
{
	struct dmawire_queue *queue = capture->queue;
	u64 lost = frame->sequence - queue->next_sequence;

	lockdep_assert_held(&queue->lock);

	queue->next_sequence = frame->sequence + 1;
	queue->counts.lost += lost;
	capture->taken.sequence = frame->sequence;
	capture->taken.timestamp = frame->timestamp;
	capture->taken.lost = min(lost, U32_MAX);
}

/* Takes it away from the driver. False if that must not complete it. */
static bool take_away(struct dmawire_capture *capture,
		      const struct dmawire_frame *frame)
{
	struct dmawire_queue *queue = capture->queue;
	const char *fault;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	fault = find_fault(capture, frame);
	if (fault) {
		complain(queue, fault);
	} else {
		if (frame)
			note(capture, frame);
		dmawire_capture_move(capture, DMAWIRE_ENDING, NULL);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	return !fault;
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

	return dmawire_target_segment(capture->target, &capture->range,
				      capture->first_segment + index);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_segment);

/**
 * dmawire_transfer_done - say that a frame is complete
 * @transfer: where it is; not the driver's any more
 * @frame: what it is
 *
 * The device has written its last byte of it. Any context.
 */
void dmawire_transfer_done(struct dmawire_transfer *transfer,
			   const struct dmawire_frame *frame)
{
	struct dmawire_capture *capture = to_capture(transfer);

	if (take_away(capture, frame))
		dmawire_capture_bring_back(capture, READ_ONCE(capture->queue->broken) ?
					    -EIO : (s32)frame->length);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_done);

/**
 * dmawire_transfer_failed - say that a frame went wrong
 * @transfer: where it should have been; not the driver's any more
 *
 * User space gets it back with EIO. The device does not write to it any more. If a
 * frame is lost by this its sequence number stays unused. Any context.
 */
void dmawire_transfer_failed(struct dmawire_transfer *transfer)
{
	struct dmawire_capture *capture = to_capture(transfer);

	if (take_away(capture, NULL))
		dmawire_capture_bring_back(capture, -EIO);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_failed);
