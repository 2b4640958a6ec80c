// SPDX-License-Identifier: GPL-2.0
/*
 * Capture queues: ranges of dma-bufs on their way from user space to a device and
 * back.
 *
 * A range that is given is in one place at a time, and its state says in which:
 *
 *	FREE -> WAITING -> DEVICE -> ENDING -> BACK -> FREE
 *
 * WAITING until the device is started; DEVICE from submit() until the driver
 * completes it; ENDING while it is made ready for the CPU; BACK until user space
 * has taken it. The bitmap of the dma-buf says the same of each page, so that none
 * is given twice.
 *
 * Two locks. The mutex: who owns the queue, its dma-bufs, whether it runs, and one
 * call of the driver at a time. Inside it, or without it, the spinlock: states,
 * lists and counts. Drivers complete in any context and take the spinlock alone.
 */
#include <linux/cleanup.h>
#include <linux/dma-buf.h>
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

#include "fence.h"
#include "queue.h"
#include "target.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* Most dma-bufs that can be attached at a time. */
#define DMAWIRE_QUEUE_TARGETS 4096

enum dmawire_state {
	DMAWIRE_FREE,
	DMAWIRE_WAITING,
	DMAWIRE_DEVICE,
	DMAWIRE_ENDING,
	DMAWIRE_BACK,
};

/**
 * struct dmawire_capture - a range that is given
 * @transfer: what the driver sees of it
 * @queue: it is one of this queue's, for good
 * @state: where it is
 * @node: in the list of its state, if that has one
 * @target: the dma-buf; while it is WAITING, DEVICE or ENDING
 * @range: of that
 * @first_segment: index of the range's first segment
 * @fence: stands for it, as long as @target does
 * @waiter: who is told when it is back; NULL if it is to be taken
 * @taken: what user space will learn of it
 *
 * All but @transfer is protected by the queue's spinlock; who moves a capture to
 * a state without a list owns it until the next.
 */
struct dmawire_capture {
	struct dmawire_transfer transfer;
	struct dmawire_queue *queue;
	enum dmawire_state state;
	struct list_head node;
	struct dmawire_target *target;
	struct dmawire_range range;
	unsigned int first_segment;
	struct dmawire_fence *fence;
	struct dmawire_waiter *waiter;
	struct dmawire_taken taken;
};

/**
 * struct dmawire_queue - captures of a device
 * @device: whose it is
 * @dev: does the DMA, or NULL
 * @params: the driver's
 * @mutex: see above
 * @owner: who attached dma-bufs, or NULL
 * @targets: by index
 * @gone: there is no driver any more; changes under both locks
 * @running: changes under both locks
 * @lock: see above
 * @broken: the driver broke a rule, which ends the run; nothing is taken until
 *	it is stopped or started anew
 * @free: captures that are FREE
 * @waiting: captures that are WAITING, in the order given
 * @with_device: captures that are DEVICE, in the order given
 * @back: captures that are BACK and have no waiter, in the order of completion
 * @counts: what INFO tells
 * @next_sequence: of the next frame if none gets lost
 * @wait: for @back
 * @ender: ends a broken driver's run
 * @captures: DMAWIRE_QUEUE_DEPTH of them; a driver may be wrong about one, but
 *	never about memory that is gone
 */
struct dmawire_queue {
	struct dmawire_device *device;
	struct device *dev;
	struct dmawire_device_params params;
	struct mutex mutex; /* see above */
	const void *owner;
	struct xarray targets;
	bool gone;
	bool running;
	spinlock_t lock; /* see above */
	bool broken;
	struct list_head free;
	struct list_head waiting;
	struct list_head with_device;
	struct list_head back;
	struct dmawire_counts counts;
	u64 next_sequence;
	wait_queue_head_t wait;
	struct work_struct ender;
	struct dmawire_capture *captures;
};

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

/* Moves a capture to @state and the list of it, if there is one. */
static void move(struct dmawire_capture *capture, enum dmawire_state state,
		 struct list_head *list)
{
	lockdep_assert_held(&capture->queue->lock);

	list_del_init(&capture->node);
	capture->state = state;
	if (list)
		list_add_tail(&capture->node, list);
}

/* Makes what is ENDING ready for the CPU and gives it to whom it belongs. */
static void bring_back(struct dmawire_capture *capture, s32 result)
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
	move(capture, DMAWIRE_BACK, waiter ? NULL : &queue->back);
	spin_unlock_irqrestore(&queue->lock, flags);

	dmawire_fence_signal(fences);
	if (waiter)
		waiter->back(waiter, capture);
	wake_up_interruptible_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
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
			move(capture, DMAWIRE_ENDING, NULL);
		spin_unlock_irq(&queue->lock);
		if (!capture)
			return;
		bring_back(capture, error);
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

/* What a driver did wrong is forgotten. */
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

/* Any context. What the driver captures in this run cannot be trusted any more. */
static void complain(struct dmawire_queue *queue, const char *what)
{
	lockdep_assert_held(&queue->lock);

	if (queue->broken)
		return;
	WRITE_ONCE(queue->broken, true);
	pr_err("dmawire: driver %s %s; its run ends\n", queue->params.name, what);
	schedule_work(&queue->ender);
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
	struct dmawire_target *target;
	int ret;

	target = dmawire_target_create(dmabuf, queue->dev);
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
 * @owner: who asks; owns the queue until everything is detached
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
		queue->owner = owner;
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
	if (xa_empty(&queue->targets) && !queue->running)
		queue->owner = NULL;
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
		move(capture, DMAWIRE_DEVICE, &queue->with_device);
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

	spin_lock_irq(&queue->lock);
	queue->counts = (struct dmawire_counts) {
		.given = queue->counts.given,
	};
	queue->next_sequence = 0;
	spin_unlock_irq(&queue->lock);
	forgive(queue);

	ret = queue->params.ops->start(queue->device, rate);
	if (ret)
		return ret;
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
		queue->owner = owner;
	return ret;
}

int dmawire_queue_stop(struct dmawire_queue *queue, const void *owner)
{
	guard(mutex)(&queue->mutex);
	if (queue->owner && queue->owner != owner)
		return -EBUSY;
	end(queue, -ECANCELED);
	forgive(queue);
	if (xa_empty(&queue->targets))
		queue->owner = NULL;
	return 0;
}

/* What was not taken is forgotten. */
static void forget_back(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture, *next;

	spin_lock_irq(&queue->lock);
	list_for_each_entry_safe(capture, next, &queue->back, node)
		move(capture, DMAWIRE_FREE, &queue->free);
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
	queue->owner = NULL;
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
		move(capture, DMAWIRE_WAITING, NULL);
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
	move(capture, DMAWIRE_FREE, &queue->free);
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
		move(capture, DMAWIRE_DEVICE, &queue->with_device);
	else
		move(capture, DMAWIRE_WAITING, &queue->waiting);
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
	    (alignment && !IS_ALIGNED(params->length, alignment)))
		return -EINVAL;
	nr_segments = dmawire_target_segments(target, &range, &first);
	if (queue->params.max_segments &&
	    nr_segments > queue->params.max_segments)
		return -EINVAL;

	capture = claim(queue, target, &range);
	if (IS_ERR(capture))
		return PTR_ERR(capture);
	fence = dmawire_fence_enter(target, &queue->lock);
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
		.vaddr = target->dev ? NULL : target->map.vaddr + range.offset,
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

static struct dmawire_capture *take(struct dmawire_queue *queue, int *error)
{
	struct dmawire_capture *capture;

	spin_lock_irq(&queue->lock);
	capture = list_first_entry_or_null(&queue->back, struct dmawire_capture,
					   node);
	if (capture) {
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
static bool try_take(struct dmawire_queue *queue,
		     struct dmawire_capture **capture, int *error)
{
	*capture = take(queue, error);
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

	scoped_guard(mutex, &queue->mutex)
		if (queue->owner && queue->owner != owner)
			return -EBUSY;

	capture = take(queue, &error);
	if (wait && error == -EAGAIN &&
	    wait_event_interruptible(queue->wait,
				     try_take(queue, &capture, &error)))
		return -EINTR;
	if (!capture)
		return error;
	dmawire_queue_finish_take(queue, capture, taken);
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
	move(capture, DMAWIRE_FREE, &queue->free);
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
		move(capture, DMAWIRE_ENDING, NULL);
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
		bring_back(capture, READ_ONCE(capture->queue->broken) ?
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
		bring_back(capture, -EIO);
}
EXPORT_SYMBOL_GPL(dmawire_transfer_failed);
