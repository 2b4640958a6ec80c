// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for tests: a software bus master that writes through the DMA address of
 * each transfer, and that breaks one rule of <dmawire/device.h> if configured to.
 */
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>

#include "frame.h"

#define BROKEN_MAX_FRAME SZ_64K

/* From a transfer to its frame. */
#define BROKEN_PERIOD msecs_to_jiffies(10)

/* Delay of a completion that comes too late. */
#define BROKEN_LATE_MS 30

enum broken_fault {
	BROKEN_NONE,
	BROKEN_EARLY,
	BROKEN_TWICE,
	BROKEN_TOO_LONG,
	BROKEN_AFTER_STOP,
	BROKEN_HANG,
	BROKEN_DROPS,
	BROKEN_FAILS_IN_START,
	BROKEN_REFUSES_START,
	BROKEN_BACKWARDS,
	BROKEN_HOLE,
};

static const char *const fault_names[] = {
	[BROKEN_NONE] = "none",
	[BROKEN_EARLY] = "early",
	[BROKEN_TWICE] = "twice",
	[BROKEN_TOO_LONG] = "too_long",
	[BROKEN_AFTER_STOP] = "after_stop",
	[BROKEN_HANG] = "hang",
	[BROKEN_DROPS] = "drops",
	[BROKEN_FAILS_IN_START] = "fails_in_start",
	[BROKEN_REFUSES_START] = "refuses_start",
	[BROKEN_BACKWARDS] = "backwards",
	[BROKEN_HOLE] = "hole",
};

static char *fault = "none";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "none; early: done before it is written; twice: done twice; too_long: longer than the transfer; after_stop: done after stop() returned; hang: never done; drops: every second frame has no room; fails_in_start: reports a failure inside start(); refuses_start: and returns EIO; backwards: completes frames in pairs, the second first; hole: claims twice the bytes that it has written");

static unsigned int interval;
module_param(interval, uint, 0444);
MODULE_PARM_DESC(interval, "max_interval_ms of the device (default 0: none)");

static unsigned long boundary;
module_param(boundary, ulong, 0444);
MODULE_PARM_DESC(boundary, "dma_set_seg_boundary() of the device; a transfer with a segment across it fails (default 0: none is set)");

static int broken_fault;
static struct platform_device *broken_parent;
static struct dmawire_device *broken_device;

/* Protects broken_transfers. */
static DEFINE_SPINLOCK(broken_lock);
static LIST_HEAD(broken_transfers);

/* The work's. */
static u64 broken_sequence;
static u8 broken_source[BROKEN_MAX_FRAME] __aligned(8);

static void broken_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(broken_work, broken_work_fn);

static bool broken_can_reach(const struct dmawire_transfer *transfer)
{
	for (unsigned int i = 0; boundary && i < transfer->nr_segments; i++) {
		struct dmawire_segment segment = dmawire_transfer_segment(transfer, i);

		if ((segment.address & boundary) + segment.length - 1 > boundary)
			return false;
	}
	return true;
}

static void broken_write(const struct dmawire_segment *segment, size_t offset,
			 size_t length)
{
	phys_addr_t to = dma_to_phys(&broken_parent->dev, segment->address);

	memcpy(phys_to_virt(to), broken_source + offset,
	       min(segment->length, length - offset));
}

static void broken_fill(struct dmawire_transfer *transfer, size_t length)
{
	struct dmawire_segment segment;

	for (size_t done = 0, i = 0; done < length; done += segment.length) {
		segment = dmawire_transfer_segment(transfer, i++);
		broken_write(&segment, done, length);
	}
}

static void broken_capture(struct dmawire_transfer *transfer)
{
	struct dmawire_frame frame = {
		.length = min(transfer->length, BROKEN_MAX_FRAME),
		.sequence = broken_fault == BROKEN_BACKWARDS ? broken_sequence ^ 1 :
							       broken_sequence,
		.timestamp = ktime_get_ns(),
	};
	size_t length = frame.length;

	broken_sequence += broken_fault == BROKEN_DROPS ? 2 : 1;
	dmawire_frame_make(broken_source, length, length, frame.sequence);
	if (!broken_can_reach(transfer)) {
		dmawire_transfer_failed(transfer);
		return;
	}
	broken_fill(transfer, broken_fault == BROKEN_HOLE ? length / 2 : length);
	if (broken_fault == BROKEN_TOO_LONG)
		frame.length = transfer->length + 1;

	dmawire_transfer_done(transfer, &frame);
	if (broken_fault == BROKEN_TWICE)
		dmawire_transfer_done(transfer, &frame);
}

/* As it looks if the device is not waited for, or memory not synced. */
static void broken_capture_early(struct dmawire_transfer *transfer)
{
	struct dmawire_segment first = dmawire_transfer_segment(transfer, 0);
	struct dmawire_frame frame = {
		.length = min(first.length, BROKEN_MAX_FRAME),
		.sequence = broken_sequence,
		.timestamp = ktime_get_ns(),
	};

	dmawire_frame_make(broken_source, frame.length, frame.length,
			   broken_sequence++);
	dmawire_transfer_done(transfer, &frame);
	msleep(BROKEN_LATE_MS);
	broken_write(&first, 0, frame.length);
}

static struct dmawire_transfer *broken_next_transfer(void)
{
	struct dmawire_transfer *transfer;

	guard(spinlock)(&broken_lock);
	transfer = list_first_entry_or_null(&broken_transfers,
					    struct dmawire_transfer, node);
	if (transfer)
		list_del(&transfer->node);
	return transfer;
}

static void broken_work_fn(struct work_struct *work)
{
	struct dmawire_transfer *transfer;

	while ((transfer = broken_next_transfer())) {
		if (broken_fault == BROKEN_EARLY)
			broken_capture_early(transfer);
		else if (broken_fault == BROKEN_AFTER_STOP)
			dmawire_transfer_failed(transfer);
		else
			broken_capture(transfer);
	}
}

static int broken_start(struct dmawire_device *device, u32 rate)
{
	broken_sequence = 0;
	if (broken_fault != BROKEN_FAILS_IN_START &&
	    broken_fault != BROKEN_REFUSES_START)
		return 0;

	dmawire_device_failed(device);
	return broken_fault == BROKEN_REFUSES_START ? -EIO : 0;
}

/* Drops all queued transfers, unless the fault is to complete them after stop. */
static void broken_stop(struct dmawire_device *device)
{
	WARN(broken_fault == BROKEN_REFUSES_START, "stopped without a start\n");
	cancel_delayed_work_sync(&broken_work);
	if (broken_fault == BROKEN_AFTER_STOP) {
		schedule_delayed_work(&broken_work,
				      msecs_to_jiffies(BROKEN_LATE_MS));
		return;
	}
	guard(spinlock)(&broken_lock);
	INIT_LIST_HEAD(&broken_transfers);
}

static int broken_submit(struct dmawire_device *device,
			 struct dmawire_transfer *transfer)
{
	if (transfer->length < sizeof(struct dmawire_frame_header))
		return -EINVAL;

	scoped_guard(spinlock, &broken_lock)
		list_add_tail(&transfer->node, &broken_transfers);
	if (broken_fault != BROKEN_HANG && broken_fault != BROKEN_AFTER_STOP)
		schedule_delayed_work(&broken_work, BROKEN_PERIOD);
	return 0;
}

static const struct dmawire_device_ops broken_ops = {
	.start = broken_start,
	.stop = broken_stop,
	.submit = broken_submit,
};

static int broken_register(void)
{
	const struct dmawire_device_params params = {
		.name = "broken",
		.ops = &broken_ops,
		.frame_headers = true,
		.max_interval_ms = interval,
	};
	struct dmawire_device *device;

	device = dmawire_device_register(&broken_parent->dev, &params);
	if (IS_ERR(device))
		return PTR_ERR(device);
	broken_device = device;
	return 0;
}

static void broken_unregister(void)
{
	if (broken_device)
		dmawire_device_unregister(broken_device);
	broken_device = NULL;
	cancel_delayed_work_sync(&broken_work);
}

/* The lock of parameters is held. */
static int broken_set_registered(const char *value,
				 const struct kernel_param *param)
{
	bool registered;
	int ret;

	ret = kstrtobool(value, &registered);
	if (ret)
		return ret;
	if (!broken_parent)
		return -EPERM; /* not while the module loads */
	if (registered && !broken_device)
		return broken_register();
	if (!registered)
		broken_unregister();
	return 0;
}

static const struct kernel_param_ops broken_registered_ops = {
	.set = broken_set_registered,
};
module_param_cb(registered, &broken_registered_ops, NULL, 0200);
MODULE_PARM_DESC(registered, "whether there is a device; once loaded there is");

/*
 * Calls the PM core's suspend callback for the node. Suspending a whole QEMU guest
 * would end its consoles.
 */
static int broken_set_suspended(const char *value,
				const struct kernel_param *param)
{
	struct device *node = device_find_any_child(&broken_parent->dev);
	int ret;

	if (!node)
		return -ENODEV;
	/* A kernel without suspend has no class->pm. */
	ret = node->class->pm ? node->class->pm->suspend(node) : -EOPNOTSUPP;
	put_device(node);
	return ret;
}

static const struct kernel_param_ops broken_suspended_ops = {
	.set = broken_set_suspended,
};
module_param_cb(suspended, &broken_suspended_ops, NULL, 0200);
MODULE_PARM_DESC(suspended, "written: the node's suspend callback is called");

static int __init broken_init(void)
{
	const struct platform_device_info parent = {
		.name = "dmawire_broken",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int ret;

	broken_fault = match_string(fault_names, ARRAY_SIZE(fault_names), fault);
	if (broken_fault < 0)
		return broken_fault;

	broken_parent = platform_device_register_full(&parent);
	if (IS_ERR(broken_parent))
		return PTR_ERR(broken_parent);

	if (boundary)
		dma_set_seg_boundary(&broken_parent->dev, boundary);

	/* Software does not see memory through an IOMMU. */
	ret = device_iommu_mapped(&broken_parent->dev) ? -ENODEV :
							 broken_register();
	if (ret)
		platform_device_unregister(broken_parent);
	return ret;
}

static void __exit broken_exit(void)
{
	broken_unregister();
	platform_device_unregister(broken_parent);
}

module_init(broken_init);
module_exit(broken_exit);

MODULE_DESCRIPTION("dmawire: a driver for tests that breaks the rules");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
