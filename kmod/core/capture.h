/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Captures: ranges of dma-bufs on their way from user space to a device and back.
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
#ifndef DMAWIRE_CAPTURE_H
#define DMAWIRE_CAPTURE_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <dmawire/device.h>

#include "queue.h"
#include "target.h"

struct cma;
struct dmawire_fence;

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
 * @cma_area: memory that was set aside for @dev, or for all; or NULL
 * @zone: see dmawire_queue_zone()
 * @params: the driver's
 * @mutex: see above
 * @owner: who attached dma-bufs, or NULL; changes under both locks
 * @targets: by index
 * @gone: there is no driver any more; changes under both locks
 * @running: changes under both locks
 * @lock: see above
 * @broken: the device failed or its driver broke a rule, which ends the run;
 *	nothing is taken until it is stopped or started anew
 * @free: captures that are FREE
 * @waiting: captures that are WAITING, in the order given
 * @with_device: captures that are DEVICE, in the order given
 * @back: captures that are BACK and have no waiter, in the order of completion
 * @counts: what STATUS tells
 * @next_sequence: of the next frame if none gets lost
 * @wait: for @back
 * @ender: ends a broken run
 * @captures: DMAWIRE_QUEUE_DEPTH of them; a driver may be wrong about one, but
 *	never about memory that is gone
 */
struct dmawire_queue {
	struct dmawire_device *device;
	struct device *dev;
	struct cma *cma_area;
	gfp_t zone;
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

void dmawire_capture_move(struct dmawire_capture *capture,
			  enum dmawire_state state, struct list_head *list);
void dmawire_capture_bring_back(struct dmawire_capture *capture, s32 result);

#endif /* DMAWIRE_CAPTURE_H */
