/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Captures: ranges of dma-bufs on their way from user space to a device and back.
 *
 * A range that is queued is in one state at a time:
 *
 *	FREE -> PREPARING -> WAITING -> ACTIVE -> COMPLETING -> DONE -> FREE
 *	           |  ^                   ^
 *	           v  |                   |
 *	         BLOCKED -----------------+
 *
 * PREPARING: owned by the thread that syncs it for the device or publishes its
 * fence. WAITING: until the device runs. BLOCKED: until fences of other drivers
 * have signaled. ACTIVE: from submit() until the driver completes it. COMPLETING:
 * owned by the thread that syncs it for the CPU. DONE: until user space dequeues
 * it. The bitmap of the attachment marks the same pages, so that no page is queued
 * twice.
 *
 * A run of the device is STOPPED, STARTING, RUNNING or STOPPING. The thread that
 * moves it to STARTING or STOPPING calls the driver without a lock and moves it
 * on; others wait on @idle. So no lock is held over start() and stop(), and the
 * path that signals fences takes no lock that is held over an allocation.
 *
 * Locks, outermost first: @submit_lock orders submit() calls and is taken in
 * process context only. @lock protects states, lists, counts, owner and
 * attachments; drivers take it in interrupt context when they complete. No driver
 * callback, fence callback or waiter runs under @lock.
 */
#ifndef DMAWIRE_CAPTURE_H
#define DMAWIRE_CAPTURE_H

#include <linux/bitmap.h>
#include <linux/dma-fence.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>

#include "queue.h"
#include "attachment.h"

struct cma;
struct dmawire_fence;

/* Most dma-bufs that can be attached at a time. */
#define DMAWIRE_QUEUE_ATTACHMENTS 4096

enum dmawire_state {
	DMAWIRE_FREE,
	DMAWIRE_PREPARING,
	DMAWIRE_WAITING,
	DMAWIRE_BLOCKED,
	DMAWIRE_ACTIVE,
	DMAWIRE_COMPLETING,
	DMAWIRE_DONE,
};

enum dmawire_run {
	DMAWIRE_STOPPED,
	DMAWIRE_STARTING,
	DMAWIRE_RUNNING,
	DMAWIRE_STOPPING,
};

/**
 * struct dmawire_capture - a queued range
 * @transfer: the driver's view of it
 * @queue: the queue it belongs to, for good
 * @state: see above
 * @node: in the list of its state, if that has one
 * @attachment: the attachment, while the range is neither FREE nor DONE
 * @range: of that
 * @generation: of the queue when it was claimed
 * @first_segment: index of the range's first segment
 * @fence: published for it, or NULL
 * @foreign: other drivers' fences that it waits for before it is submitted
 * @nr_foreign: how many of them have not signaled; the last has @foreign_cb
 * @foreign_cb: sets @is_unblocked
 * @is_unblocked: the fence that has @foreign_cb has signaled
 * @waiter: called when it is done; NULL if user space dequeues it
 * @is_wedged: the device may still write to it: its pages stay claimed when it is
 *	complete
 * @is_orphan: its request was canceled while the device had it: FREE when it is
 *	complete
 * @dequeued: the result, for user space
 *
 * Protected by the queue's lock, but for @transfer, which is the driver's. The
 * thread that moves a capture to a state without a list owns it until the next.
 */
struct dmawire_capture {
	struct dmawire_transfer transfer;
	struct dmawire_queue *queue;
	enum dmawire_state state;
	struct list_head node;
	struct dmawire_attachment *attachment;
	struct dmawire_range range;
	unsigned int generation;
	unsigned int first_segment;
	struct dmawire_fence *fence;
	struct dma_fence **foreign;
	unsigned int nr_foreign;
	struct dma_fence_cb foreign_cb;
	bool is_unblocked;
	struct dmawire_waiter *waiter;
	bool is_wedged;
	bool is_orphan;
	struct dmawire_dequeued dequeued;
};

/**
 * struct dmawire_queue - captures of a device
 * @device: the device node
 * @dev: does the DMA, or NULL
 * @cma_area: CMA area of @dev, or the default one; or NULL
 * @zone: see dmawire_queue_zone()
 * @params: the driver's
 * @submit_lock: see above
 * @lock: see above
 * @owner: the open file that captures, or NULL
 * @attachments: attachments by index
 * @indices: bit i: index i is in use
 * @nr_attachments: attachments, including any being created or destroyed
 * @serial: of the newest attachment
 * @holders: calls in progress that use @dev
 * @is_gone: the driver is unregistered
 * @run: see above
 * @generation: counts STOPs and other ends: a range that was claimed before the last
 *	is not submitted after it
 * @error: 0, or why the run ends: the device failed, timed out or its driver broke
 *	a rule. Nothing is queued until STOP or START
 * @is_wedged: the last stop() could not stop the device
 * @wedged: attachments that the device may still write to after their owner has
 *	closed the file
 * @free: captures that are FREE
 * @waiting: captures that are WAITING, in the order queued
 * @fenced: captures that are WAITING and get a fence, in the order queued
 * @blocked: captures that are BLOCKED
 * @active: captures that are ACTIVE, in the order submitted
 * @done: captures that are DONE and have no waiter, in the order of completion
 * @nr_fenced: captures that are ACTIVE and have a fence
 * @progress: when the driver completed the newest transfer, or the first with a
 *	fence was submitted, in jiffies
 * @signals: fences to be signaled, in order
 * @is_signaling: a thread signals them
 * @counts: for STATUS
 * @next_sequence: of the next frame unless frames get lost
 * @wait: wakes DEQUEUE and poll: a range is done, an ENQUEUE was undone, or the
 *	driver is unregistered
 * @idle: wakes waits for @run, @holders, @nr_attachments and counts.queued
 * @ender: ends a failed run
 * @feeder: submits captures that were BLOCKED
 * @watchdog: fails a run that makes no progress while it has fences
 * @captures: DMAWIRE_QUEUE_DEPTH of them, never freed before the queue: a driver
 *	may complete the wrong one, but never freed memory
 */
struct dmawire_queue {
	struct dmawire_device *device;
	struct device *dev;
	struct cma *cma_area;
	gfp_t zone;
	struct dmawire_device_params params;
	spinlock_t submit_lock; /* see above */
	spinlock_t lock; /* see above */
	const void *owner;
	struct dmawire_attachment **attachments;
	DECLARE_BITMAP(indices, DMAWIRE_QUEUE_ATTACHMENTS);
	unsigned int nr_attachments;
	u64 serial;
	unsigned int holders;
	bool is_gone;
	enum dmawire_run run;
	unsigned int generation;
	int error;
	bool is_wedged;
	struct list_head wedged;
	struct list_head free;
	struct list_head waiting;
	struct list_head fenced;
	struct list_head blocked;
	struct list_head active;
	struct list_head done;
	unsigned int nr_fenced;
	unsigned long progress;
	struct dmawire_fence *signals;
	bool is_signaling;
	struct dmawire_counts counts;
	u64 next_sequence;
	wait_queue_head_t wait;
	wait_queue_head_t idle;
	struct work_struct ender;
	struct work_struct feeder;
	struct delayed_work watchdog;
	struct dmawire_capture *captures;
};

/* capture.c */
void dmawire_capture_move(struct dmawire_capture *capture,
			  enum dmawire_state state, struct list_head *list);
void dmawire_capture_complete(struct dmawire_capture *capture, s32 result);

/* run.c */
bool dmawire_queue_has_fences(const struct dmawire_queue *queue);
void dmawire_queue_work(struct dmawire_queue *queue, struct work_struct *work);
void dmawire_queue_watch(struct dmawire_queue *queue);
void dmawire_queue_watchdog(struct work_struct *work);
void dmawire_queue_wait_run(struct dmawire_queue *queue);
void dmawire_queue_end(struct dmawire_queue *queue, s32 result);
void dmawire_queue_end_failed(struct work_struct *work);
void dmawire_queue_clear_error(struct dmawire_queue *queue);

/* capture.c */
void dmawire_queue_set_error(struct dmawire_queue *queue, int error,
			     const char *what);

/* queue.c */
int dmawire_queue_check_owner(const struct dmawire_queue *queue, const void *owner);
void dmawire_queue_disown_if_empty(struct dmawire_queue *queue);
struct dmawire_attachment *dmawire_queue_find(const struct dmawire_queue *queue,
					      u32 index);

/* queue_io.c */
void dmawire_queue_feed(struct dmawire_queue *queue);
void dmawire_queue_complete_all(struct dmawire_queue *queue, s32 result);
void dmawire_queue_unblock(struct work_struct *work);

#endif /* DMAWIRE_CAPTURE_H */
