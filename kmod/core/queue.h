/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_QUEUE_H
#define DMAWIRE_QUEUE_H

#include <linux/types.h>

struct cma;
struct device;
struct dma_buf;
struct dmawire_device;
struct dmawire_device_params;
struct dmawire_queue;
struct file;
struct poll_table_struct;

/* Maximum number of ranges in a queue, queued or done. */
#define DMAWIRE_QUEUE_DEPTH 1024

/**
 * struct dmawire_enqueue_params - a range to queue; no field is checked yet
 * @index: of the dma-buf, from dmawire_queue_attach()
 * @length: bytes
 * @offset: of the first byte
 * @user_data: comes back with it
 */
struct dmawire_enqueue_params {
	u32 index;
	u32 length;
	u64 offset;
	u64 user_data;
};

/**
 * struct dmawire_dequeued - a range that is done
 * @result: bytes of the frame or a negative errno
 * @index: as queued
 * @user_data: as queued
 * @offset: as queued
 * @sequence: of the frame
 * @timestamp: when it was complete
 * @lost: frames lost before it
 */
struct dmawire_dequeued {
	s32 result;
	u32 index;
	u64 user_data;
	u64 offset;
	u64 sequence;
	u64 timestamp;
	u32 lost;
};

/**
 * struct dmawire_counts - counters since START
 * @captured: frames captured
 * @lost: frames lost because no range was queued
 * @failed: ranges that completed with -EIO
 * @canceled: ranges that completed unfilled with another error
 * @queued: ranges that are queued now
 * @running: between start and stop
 */
struct dmawire_counts {
	u64 captured;
	u64 lost;
	u64 failed;
	u64 canceled;
	u32 queued;
	bool running;
};

struct dmawire_capture;

/**
 * struct dmawire_waiter - a request that completes with a range
 * @done: called once, in any context, with no lock held; the waiter may then call
 *	dmawire_queue_finish_dequeue()
 * @capture: the queue's, under its lock
 */
struct dmawire_waiter {
	void (*done)(struct dmawire_waiter *waiter);
	struct dmawire_capture *capture;
};

/**
 * struct dmawire_attachment_id - names an attachment that ATTACH has made
 * @index: userspace's name; used again after DETACH
 * @serial: never used again
 */
struct dmawire_attachment_id {
	u32 index;
	u64 serial;
};

int dmawire_queue_init(void);
void dmawire_queue_exit(void);

struct dmawire_queue *
dmawire_queue_create(struct dmawire_device *device, struct device *dev,
		     const struct dmawire_device_params *params);
bool dmawire_queue_shut(struct dmawire_queue *queue);
void dmawire_queue_fail(struct dmawire_queue *queue);
void dmawire_queue_set_wedged(struct dmawire_queue *queue);
void dmawire_queue_destroy(struct dmawire_queue *queue);

bool dmawire_queue_has_dev(const struct dmawire_queue *queue);
struct device *dmawire_queue_hold_dev(struct dmawire_queue *queue);
void dmawire_queue_release_dev(struct dmawire_queue *queue);

struct cma *dmawire_queue_cma_area(const struct dmawire_queue *queue);
gfp_t dmawire_queue_zone(const struct dmawire_queue *queue);

const struct dmawire_device_params *
dmawire_queue_params(const struct dmawire_queue *queue);

int dmawire_queue_attach(struct dmawire_queue *queue, const void *owner,
			 struct dma_buf *dmabuf, u32 flags,
			 struct dmawire_attachment_id *id);
void dmawire_queue_finish_attach(struct dmawire_queue *queue,
				 const struct dmawire_attachment_id *id,
				 bool is_told);
int dmawire_queue_detach(struct dmawire_queue *queue, const void *owner,
			 u32 index);
int dmawire_queue_start(struct dmawire_queue *queue, const void *owner,
			u32 rate);
int dmawire_queue_stop(struct dmawire_queue *queue, const void *owner);
void dmawire_queue_suspend(struct dmawire_queue *queue);
void dmawire_queue_leave(struct dmawire_queue *queue, const void *owner);

int dmawire_queue_enqueue(struct dmawire_queue *queue, const void *owner,
			  const struct dmawire_enqueue_params *params,
			  struct dmawire_waiter *waiter);
int dmawire_queue_dequeue(struct dmawire_queue *queue, const void *owner, bool wait,
			  struct dmawire_dequeued *dequeued);
bool dmawire_queue_finish_dequeue(struct dmawire_queue *queue,
				  struct dmawire_waiter *waiter,
				  struct dmawire_dequeued *dequeued);
void dmawire_queue_cancel(struct dmawire_queue *queue,
			  struct dmawire_waiter *waiter);
bool dmawire_queue_enqueue_may_sleep(struct dmawire_queue *queue, u32 index);

void dmawire_queue_count(struct dmawire_queue *queue,
			 struct dmawire_counts *counts);
__poll_t dmawire_queue_poll(struct dmawire_queue *queue, const void *owner,
			    struct file *file, struct poll_table_struct *table);

#endif /* DMAWIRE_QUEUE_H */
