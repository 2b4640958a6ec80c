// SPDX-License-Identifier: GPL-2.0
/*
 * The run of a device: START and STOP, failures, the watchdog, devices that cannot be
 * stopped, suspend.
 */
#include <linux/dma-fence.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>

#include "capture.h"
#include "queue.h"
#include "attachment.h"

/*
 * For drivers with fences. The ender signals them and must make progress under
 * memory pressure.
 */
static struct workqueue_struct *dmawire_queue_wq;

int dmawire_queue_init(void)
{
	dmawire_queue_wq = alloc_workqueue("dmawire", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return dmawire_queue_wq ? 0 : -ENOMEM;
}

void dmawire_queue_exit(void)
{
	destroy_workqueue(dmawire_queue_wq);
}

bool dmawire_queue_has_fences(const struct dmawire_queue *queue)
{
	return queue->params.max_interval_ms;
}

/*
 * A work item of a workqueue with WQ_MEM_RECLAIM must not flush one of a workqueue
 * without, which stop() of a driver without fences may do.
 */
void dmawire_queue_work(struct dmawire_queue *queue, struct work_struct *work)
{
	if (dmawire_queue_has_fences(queue))
		queue_work(dmawire_queue_wq, work);
	else
		schedule_work(work);
}

/**
 * dmawire_queue_watch - have the watchdog look at a run with fences
 * @queue: some of its active captures have one
 */
void dmawire_queue_watch(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->lock);

	queue_delayed_work(dmawire_queue_wq, &queue->watchdog,
			   queue->progress - jiffies + 1 +
			   msecs_to_jiffies(queue->params.max_interval_ms));
}

/* The work that fails a run with fences that makes no progress. */
void dmawire_queue_watchdog(struct work_struct *work)
{
	struct dmawire_queue *queue =
		container_of(work, struct dmawire_queue, watchdog.work);
	unsigned long interval = msecs_to_jiffies(queue->params.max_interval_ms);

	spin_lock_irq(&queue->lock);
	if (queue->run == DMAWIRE_RUNNING && queue->nr_fenced) {
		if (time_after(jiffies, queue->progress + interval))
			dmawire_queue_set_error(queue, -ETIMEDOUT, "timed out");
		else
			dmawire_queue_watch(queue);
	}
	spin_unlock_irq(&queue->lock);
}

/* Waits until no thread is inside start() or stop(). */
void dmawire_queue_wait_run(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->lock);

	wait_event_lock_irq(queue->idle,
			    queue->run == DMAWIRE_STOPPED ||
			    queue->run == DMAWIRE_RUNNING, queue->lock);
}

/* The same for system calls; -EINTR if the caller is killed. */
static int dmawire_queue_wait_run_killable(struct dmawire_queue *queue)
{
	int ret;

	lockdep_assert_held(&queue->lock);

	ret = ___wait_event(queue->idle,
			    queue->run == DMAWIRE_STOPPED ||
			    queue->run == DMAWIRE_RUNNING,
			    TASK_KILLABLE, 0, 0,
			    spin_unlock_irq(&queue->lock);
			    schedule();
			    spin_lock_irq(&queue->lock));
	return ret ? -EINTR : 0;
}

/* ACTIVE ranges stay claimed when they are complete. */
static void dmawire_queue_hold_wedged(struct dmawire_queue *queue)
{
	struct dmawire_capture *capture;

	lockdep_assert_held(&queue->lock);

	list_for_each_entry(capture, &queue->active, node)
		capture->is_wedged = true;
}

/* The device has been stopped after all. Drops the lock meanwhile. */
static void dmawire_queue_release_wedged(struct dmawire_queue *queue)
	__must_hold(&queue->lock)
{
	struct dmawire_attachment *attachment;

	lockdep_assert_held(&queue->lock);

	/* No range but the wedged ones is claimed. */
	wait_event_lock_irq(queue->idle, !queue->counts.queued, queue->lock);
	for (u32 i = 0; i < DMAWIRE_QUEUE_ATTACHMENTS; i++)
		if (queue->attachments[i])
			dmawire_attachment_release_all(queue->attachments[i]);
	while (!list_empty(&queue->wedged)) {
		attachment = list_first_entry(&queue->wedged,
					      struct dmawire_attachment, node);
		list_del(&attachment->node);
		dmawire_attachment_release_all(attachment);
		spin_unlock_irq(&queue->lock);
		dmawire_attachment_destroy(attachment);
		spin_lock_irq(&queue->lock);
	}
}

/* Calls stop(), again if the device was wedged. False if it is. */
static bool dmawire_queue_stop_device(struct dmawire_queue *queue)
{
	bool is_wedged;

	spin_lock_irq(&queue->lock);
	queue->is_wedged = false;
	spin_unlock_irq(&queue->lock);

	/* Wait for a submit() that began before the state changed. */
	spin_lock(&queue->submit_lock);
	spin_unlock(&queue->submit_lock);
	queue->params.ops->stop(queue->device);

	spin_lock_irq(&queue->lock);
	is_wedged = queue->is_wedged;
	if (is_wedged)
		dmawire_queue_hold_wedged(queue);
	spin_unlock_irq(&queue->lock);
	return !is_wedged;
}

/*
 * Stops the device if it runs, and completes all that is queued with @result, or with
 * -EIO if it cannot be stopped. Drops the lock meanwhile.
 */
void dmawire_queue_end(struct dmawire_queue *queue, s32 result)
	__must_hold(&queue->lock)
{
	const bool was_wedged = queue->is_wedged;
	const bool must_stop = queue->run == DMAWIRE_RUNNING || was_wedged;
	bool in_signalling = true;

	lockdep_assert_held(&queue->lock);

	queue->run = DMAWIRE_STOPPING;
	queue->generation++;
	spin_unlock_irq(&queue->lock);

	if (dmawire_queue_has_fences(queue))
		in_signalling = dma_fence_begin_signalling();
	if (must_stop && !dmawire_queue_stop_device(queue))
		result = -EIO;
	spin_lock_irq(&queue->lock);
	queue->counts.running = false;
	spin_unlock_irq(&queue->lock);
	dmawire_queue_complete_all(queue, result);
	/* The range that the feeder owns. */
	flush_work(&queue->feeder);
	dma_fence_end_signalling(in_signalling);

	spin_lock_irq(&queue->lock);
	if (was_wedged && !queue->is_wedged)
		dmawire_queue_release_wedged(queue);
	queue->run = DMAWIRE_STOPPED;
	wake_up_all(&queue->idle);
}

/* Forgets a failure, unless the device may still write. */
void dmawire_queue_clear_error(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->lock);

	WRITE_ONCE(queue->error, queue->is_wedged ? -EIO : 0);
}

/* The work that ends a failed run. */
void dmawire_queue_end_failed(struct work_struct *work)
{
	struct dmawire_queue *queue =
		container_of(work, struct dmawire_queue, ender);

	/*
	 * It does not wait for start() or stop(): other devices' fences may need the
	 * workqueue's only thread. A start() that fails queues it again.
	 */
	spin_lock_irq(&queue->lock);
	if (queue->error && (queue->run == DMAWIRE_STOPPED ||
			     queue->run == DMAWIRE_RUNNING))
		dmawire_queue_end(queue, -EIO);
	spin_unlock_irq(&queue->lock);
}

static int dmawire_queue_check_start(const struct dmawire_queue *queue, u32 rate)
{
	if (queue->run != DMAWIRE_STOPPED)
		return -EBUSY;
	if (rate && !queue->params.max_rate)
		return -EOPNOTSUPP;
	return rate > queue->params.max_rate ? -EINVAL : 0;
}

static void dmawire_queue_begin_run(struct dmawire_queue *queue)
{
	lockdep_assert_held(&queue->lock);

	/* Nothing has been submitted, so nothing can have completed. */
	queue->counts = (struct dmawire_counts){
		.queued = queue->counts.queued,
		.running = true,
	};
	queue->next_sequence = 0;
	queue->run = DMAWIRE_RUNNING;
	/* It failed inside start(). */
	if (queue->error)
		dmawire_queue_work(queue, &queue->ender);
}

/* Calls start(). Drops the lock meanwhile. */
static int dmawire_queue_run(struct dmawire_queue *queue, u32 rate)
	__must_hold(&queue->lock)
{
	const int error = queue->error;
	int ret;

	lockdep_assert_held(&queue->lock);

	/* From here on it is this run's: the driver may fail inside start(). */
	queue->error = 0;
	queue->run = DMAWIRE_STARTING;
	spin_unlock_irq(&queue->lock);
	ret = queue->params.ops->start(queue->device, rate);
	spin_lock_irq(&queue->lock);

	if (ret) {
		/* A device that did not start is not stopped. */
		queue->error = error;
		queue->run = DMAWIRE_STOPPED;
	} else {
		dmawire_queue_begin_run(queue);
	}
	wake_up_all(&queue->idle);
	return ret;
}

int dmawire_queue_start(struct dmawire_queue *queue, const void *owner, u32 rate)
{
	int ret;

	spin_lock_irq(&queue->lock);
	ret = dmawire_queue_check_owner(queue, owner);
	/* A stop() that is in progress ends first. */
	if (!ret && queue->run == DMAWIRE_STOPPING)
		ret = dmawire_queue_wait_run_killable(queue) ?:
		      dmawire_queue_check_owner(queue, owner);
	if (!ret)
		ret = dmawire_queue_check_start(queue, rate);
	if (!ret) {
		queue->owner = owner;
		/* It may be that it can be stopped now. */
		if (queue->is_wedged)
			dmawire_queue_end(queue, -ECANCELED);
		ret = queue->is_wedged ? -EIO : dmawire_queue_run(queue, rate);
		if (ret)
			dmawire_queue_disown_if_empty(queue);
	}
	spin_unlock_irq(&queue->lock);
	if (!ret)
		dmawire_queue_feed(queue);
	return ret;
}

int dmawire_queue_stop(struct dmawire_queue *queue, const void *owner)
{
	int ret;

	spin_lock_irq(&queue->lock);
	ret = dmawire_queue_check_owner(queue, owner);
	if (!ret)
		ret = dmawire_queue_wait_run_killable(queue) ?:
		      dmawire_queue_check_owner(queue, owner);
	/* Without an owner nothing runs and nothing is queued. */
	if (!ret && (queue->owner || queue->is_wedged))
		dmawire_queue_end(queue, queue->error ? -EIO : -ECANCELED);
	if (!ret) {
		dmawire_queue_clear_error(queue);
		dmawire_queue_disown_if_empty(queue);
		ret = queue->is_wedged ? -EIO : 0;
	}
	spin_unlock_irq(&queue->lock);
	return ret;
}

/**
 * dmawire_queue_suspend - end the run: the machine is suspended
 * @queue: the device's
 *
 * Ranges complete with -EIO; a new run can be started after resume.
 */
void dmawire_queue_suspend(struct dmawire_queue *queue)
{
	spin_lock_irq(&queue->lock);
	dmawire_queue_wait_run(queue);
	if (queue->run == DMAWIRE_RUNNING) {
		queue->error = -EIO;
		dmawire_queue_end(queue, -EIO);
	}
	spin_unlock_irq(&queue->lock);
}
