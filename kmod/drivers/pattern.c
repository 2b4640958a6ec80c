// SPDX-License-Identifier: GPL-2.0
/*
 * `pattern`: a device that needs no hardware. A thread plays its part and fills
 * frames that tell whether they arrived whole: see struct dmawire_frame_header.
 */
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include <dmawire/device.h>
#include <dmawire/uapi.h>

#include "frame.h"
#include "pattern.h"

/* A frame has room for its header, and the payload is made of whole words. */
#define DMAWIRE_PATTERN_ALIGNMENT 64
static_assert(sizeof(struct dmawire_frame_header) <= DMAWIRE_PATTERN_ALIGNMENT);

static bool pattern_payload = true;
module_param(pattern_payload, bool, 0644);
MODULE_PARM_DESC(pattern_payload, "Whether frames of `pattern` are filled and checked behind their header too (default), or left as they are: to measure everything but the filling");

/**
 * struct dmawire_pattern - the device
 * @device: as registered
 * @thread: fills frames, from start to stop
 * @period: nanoseconds from frame to frame, or 0: whenever there is room
 * @lock: protects @transfers
 * @transfers: room for frames
 * @wait: for room
 */
struct dmawire_pattern {
	struct dmawire_device *device;
	struct task_struct *thread;
	u64 period;
	spinlock_t lock; /* protects transfers */
	struct list_head transfers;
	wait_queue_head_t wait;
};

static struct dmawire_pattern pattern = {
	.lock = __SPIN_LOCK_UNLOCKED(pattern.lock),
	.transfers = LIST_HEAD_INIT(pattern.transfers),
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(pattern.wait),
};

static void fill(struct dmawire_transfer *transfer, u64 sequence)
{
	size_t filled = READ_ONCE(pattern_payload) ?
				transfer->length :
				sizeof(struct dmawire_frame_header);
	struct dmawire_frame frame = {
		.length = transfer->length,
		.sequence = sequence,
	};

	dmawire_frame_make(transfer->vaddr, transfer->length, filled, sequence);
	frame.timestamp = ktime_get_ns();
	dmawire_transfer_done(transfer, &frame);
}

static struct dmawire_transfer *next_transfer(void)
{
	struct dmawire_transfer *transfer;

	spin_lock(&pattern.lock);
	transfer = list_first_entry_or_null(&pattern.transfers,
					    struct dmawire_transfer, node);
	if (transfer)
		list_del_init(&transfer->node);
	spin_unlock(&pattern.lock);
	return transfer;
}

/* Until it is time for a frame, or for the end. */
static void sleep_until(ktime_t time)
{
	while (ktime_before(ktime_get(), time)) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule_hrtimeout(&time, HRTIMER_MODE_ABS);
		__set_current_state(TASK_RUNNING);
		if (kthread_should_stop())
			return;
	}
}

/* Frames that are due come one after the other, with room or without. */
static void run_by_the_clock(void)
{
	ktime_t due = ktime_get();

	for (u64 sequence = 0;; sequence++) {
		struct dmawire_transfer *transfer;

		due = ktime_add_ns(due, pattern.period);
		sleep_until(due);
		if (kthread_should_stop())
			return;
		transfer = next_transfer();
		if (transfer)
			fill(transfer, sequence);
		cond_resched();
	}
}

static bool has_room(void)
{
	return !list_empty_careful(&pattern.transfers);
}

static void run_at_will(void)
{
	u64 sequence = 0;

	while (!kthread_should_stop()) {
		struct dmawire_transfer *transfer = next_transfer();

		if (transfer)
			fill(transfer, sequence++);
		else
			wait_event_interruptible(pattern.wait,
						 has_room() ||
						 kthread_should_stop());
		cond_resched();
	}
}

static int run(void *unused)
{
	if (pattern.period)
		run_by_the_clock();
	else
		run_at_will();
	return 0;
}

static int pattern_start(struct dmawire_device *device, u32 rate)
{
	struct task_struct *thread;

	pattern.period = rate ? NSEC_PER_SEC / rate : 0;
	thread = kthread_run(run, NULL, "dmawire-pattern");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	pattern.thread = thread;
	return 0;
}

static void pattern_stop(struct dmawire_device *device)
{
	kthread_stop(pattern.thread);
	/* The core takes back the transfers in the list. */
	INIT_LIST_HEAD(&pattern.transfers);
}

static int pattern_submit(struct dmawire_device *device,
			  struct dmawire_transfer *transfer)
{
	spin_lock(&pattern.lock);
	list_add_tail(&transfer->node, &pattern.transfers);
	spin_unlock(&pattern.lock);
	if (!pattern.period)
		wake_up_interruptible(&pattern.wait);
	return 0;
}

static const struct dmawire_device_ops pattern_ops = {
	.start = pattern_start,
	.stop = pattern_stop,
	.submit = pattern_submit,
};

int dmawire_pattern_init(void)
{
	static const struct dmawire_device_params params = {
		.name = "pattern",
		.ops = &pattern_ops,
		.alignment = DMAWIRE_PATTERN_ALIGNMENT,
		.max_rate = 1000000,
		.max_interval_ms = 10000,
		.frame_headers = true,
		.cpu_fills = true,
	};

	pattern.device = dmawire_device_register(NULL, &params);
	return PTR_ERR_OR_ZERO(pattern.device);
}

void dmawire_pattern_exit(void)
{
	dmawire_device_unregister(pattern.device);
}
