// SPDX-License-Identifier: GPL-2.0
/*
 * A software DMA controller for tests, driven through dmaengine: one channel that
 * copies memory, or reads from a peripheral of its own, and that fails as
 * configured.
 *
 * The peripheral is a platform device for dmawire_dmaengine. All bytes of its n-th
 * packet are n, counted from 1. As with a stream that marks its ends, a packet ends
 * the segment that it ends in, and the next one begins in the next segment.
 */
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#define CONTROLLER_NAME "dmawire_controller"
#define CONTROLLER_CLIENT "dmawire_dmaengine"

static bool no_terminate;
module_param(no_terminate, bool, 0444);
MODULE_PARM_DESC(no_terminate, "the channel cannot be terminated");

static uint granularity = DMA_RESIDUE_GRANULARITY_BURST;
module_param(granularity, uint, 0444);
MODULE_PARM_DESC(granularity, "of the residue: enum dma_residue_granularity");

static char *peripheral = "none";
module_param(peripheral, charp, 0444);
MODULE_PARM_DESC(peripheral, "none; frames: sends frames of the length asked for; packets: ends them where it likes");

static int terminate_error;
module_param(terminate_error, int, 0644);
MODULE_PARM_DESC(terminate_error, "errno with which terminating fails; 0: it does not");

static uint packet;
module_param(packet, uint, 0644);
MODULE_PARM_DESC(packet, "bytes of a packet; 0: as many as there is room for");

static bool transfer_error;
module_param(transfer_error, bool, 0644);
MODULE_PARM_DESC(transfer_error, "descriptors end with an error, and nothing is written");

static bool submit_error;
module_param(submit_error, bool, 0644);
MODULE_PARM_DESC(submit_error, "descriptors cannot be submitted");

static int preparations = -1;
module_param(preparations, int, 0644);
MODULE_PARM_DESC(preparations, "how many more descriptors can be prepared; -1: any number");

static uint prepare_ms;
module_param(prepare_ms, uint, 0644);
MODULE_PARM_DESC(prepare_ms, "how long preparing a copy sleeps");

/**
 * struct controller_segment - one contiguous write of a descriptor
 * @to: where
 * @from: where from, unless the peripheral sends
 * @length: bytes
 */
struct controller_segment {
	dma_addr_t to;
	dma_addr_t from;
	size_t length;
};

/**
 * struct controller_descriptor - a transaction
 * @tx: the client's view
 * @node: in a list of the controller's
 * @direction: DMA_MEM_TO_MEM or DMA_DEV_TO_MEM
 * @nr: number of segments
 * @segments: to be written, in order
 */
struct controller_descriptor {
	struct dma_async_tx_descriptor tx;
	struct list_head node;
	enum dma_transfer_direction direction;
	unsigned int nr;
	struct controller_segment segments[] __counted_by(nr);
};

/**
 * struct controller - the device
 * @device: as registered
 * @chan: its only channel
 * @lock: protects the lists
 * @prepared: descriptors that are prepared and not submitted
 * @submitted: descriptors that are not issued
 * @issued: descriptors in flight, hanging ones included
 * @preparing: a copy is being prepared
 * @packets: that the peripheral has sent
 * @tasklet: executes issued descriptors
 */
struct controller {
	struct dma_device device;
	struct dma_chan chan;
	spinlock_t lock; /* see above */
	struct list_head prepared;
	struct list_head submitted;
	struct list_head issued;
	bool preparing;
	u8 packets;
	struct tasklet_struct tasklet;
};

static bool controller_hangs;
static struct controller *controller;

static void *controller_memory(dma_addr_t address)
{
	return phys_to_virt(dma_to_phys(controller->device.dev, address));
}

static size_t controller_write(const struct controller_descriptor *descriptor,
			       const struct controller_segment *segment)
{
	size_t length = segment->length;

	if (descriptor->direction == DMA_MEM_TO_MEM) {
		memcpy(controller_memory(segment->to),
		       controller_memory(segment->from), length);
		return length;
	}
	if (packet)
		length = min_t(size_t, length, packet);
	memset(controller_memory(segment->to), ++controller->packets, length);
	return length;
}

static void controller_do(struct controller_descriptor *descriptor)
{
	struct dmaengine_result result = { .result = DMA_TRANS_NOERROR };
	struct dma_async_tx_descriptor *tx = &descriptor->tx;

	if (transfer_error) {
		result.result = DMA_TRANS_WRITE_FAILED;
	} else {
		for (unsigned int i = 0; i < descriptor->nr; i++)
			result.residue += descriptor->segments[i].length -
					  controller_write(descriptor,
							   &descriptor->segments[i]);
	}
	tx->chan->completed_cookie = tx->cookie;
	if (tx->callback_result)
		tx->callback_result(tx->callback_param, &result);
	kfree(descriptor);
}

static struct controller_descriptor *controller_next(void)
{
	struct controller_descriptor *descriptor;

	guard(spinlock_irqsave)(&controller->lock);
	if (READ_ONCE(controller_hangs))
		return NULL;
	descriptor = list_first_entry_or_null(&controller->issued,
					      struct controller_descriptor, node);
	if (descriptor)
		list_del(&descriptor->node);
	return descriptor;
}

static void controller_run(struct tasklet_struct *tasklet)
{
	struct controller_descriptor *descriptor;

	while ((descriptor = controller_next()))
		controller_do(descriptor);
}

static dma_cookie_t controller_submit(struct dma_async_tx_descriptor *tx)
{
	struct controller_descriptor *descriptor =
		container_of(tx, struct controller_descriptor, tx);

	guard(spinlock_irqsave)(&controller->lock);
	if (submit_error) {
		list_del(&descriptor->node);
		kfree(descriptor);
		return -EIO;
	}
	tx->cookie = ++tx->chan->cookie;
	list_move_tail(&descriptor->node, &controller->submitted);
	return tx->cookie;
}

static struct controller_descriptor *
controller_prepare(struct dma_chan *chan, enum dma_transfer_direction direction,
		   unsigned int nr, unsigned long flags)
{
	struct controller_descriptor *descriptor;

	guard(spinlock_irqsave)(&controller->lock);
	if (!preparations)
		return NULL;
	descriptor = kzalloc(struct_size(descriptor, segments, nr), GFP_NOWAIT);
	if (!descriptor)
		return NULL;
	if (preparations > 0)
		preparations--;

	dma_async_tx_descriptor_init(&descriptor->tx, chan);
	descriptor->tx.flags = flags;
	descriptor->tx.tx_submit = controller_submit;
	descriptor->direction = direction;
	descriptor->nr = nr;
	list_add_tail(&descriptor->node, &controller->prepared);
	return descriptor;
}

/* Sleeps, as drivers do that allocate with GFP_KERNEL here. */
static struct dma_async_tx_descriptor *
controller_prep_memcpy(struct dma_chan *chan, dma_addr_t to, dma_addr_t from,
		       size_t length, unsigned long flags)
{
	struct controller_descriptor *descriptor;

	WRITE_ONCE(controller->preparing, true);
	msleep(prepare_ms);
	descriptor = controller_prepare(chan, DMA_MEM_TO_MEM, 1, flags);
	WRITE_ONCE(controller->preparing, false);
	if (!descriptor)
		return NULL;
	descriptor->segments[0] = (struct controller_segment) {
		.to = to,
		.from = from,
		.length = length,
	};
	return &descriptor->tx;
}

static struct dma_async_tx_descriptor *
controller_prep_slave_sg(struct dma_chan *chan, struct scatterlist *sgl,
			 unsigned int sg_len,
			 enum dma_transfer_direction direction,
			 unsigned long flags, void *context)
{
	struct controller_descriptor *descriptor;
	struct scatterlist *sg;
	unsigned int i;

	if (direction != DMA_DEV_TO_MEM)
		return NULL;
	descriptor = controller_prepare(chan, direction, sg_len, flags);
	if (!descriptor)
		return NULL;
	for_each_sg(sgl, sg, sg_len, i) {
		descriptor->segments[i].to = sg_dma_address(sg);
		descriptor->segments[i].length = sg_dma_len(sg);
	}
	return &descriptor->tx;
}

static int controller_config(struct dma_chan *chan,
			     struct dma_slave_config *config)
{
	return 0;
}

static void controller_issue_pending(struct dma_chan *chan)
{
	scoped_guard(spinlock_irqsave, &controller->lock)
		list_splice_tail_init(&controller->submitted,
				      &controller->issued);
	tasklet_schedule(&controller->tasklet);
}

static enum dma_status controller_tx_status(struct dma_chan *chan,
					    dma_cookie_t cookie,
					    struct dma_tx_state *state)
{
	return dma_async_is_complete(cookie, chan->completed_cookie,
				     chan->cookie);
}

static void controller_free(struct list_head *descriptors)
{
	struct controller_descriptor *descriptor, *next;

	list_for_each_entry_safe(descriptor, next, descriptors, node)
		kfree(descriptor);
	INIT_LIST_HEAD(descriptors);
}

/*
 * Prepared descriptors that are not submitted stay, as in drivers that keep no list
 * of them.
 */
static int controller_terminate_all(struct dma_chan *chan)
{
	if (terminate_error)
		return -terminate_error;

	guard(spinlock_irqsave)(&controller->lock);
	controller_free(&controller->submitted);
	controller_free(&controller->issued);
	return 0;
}

static void controller_synchronize(struct dma_chan *chan)
{
	tasklet_unlock_wait(&controller->tasklet);
}

static void controller_free_chan_resources(struct dma_chan *chan)
{
	guard(spinlock_irqsave)(&controller->lock);
	controller_free(&controller->prepared);
	controller_free(&controller->submitted);
	controller_free(&controller->issued);
}

static const struct dma_slave_map controller_map[] = {
	{ CONTROLLER_CLIENT ".0", "rx", NULL },
};

static bool controller_filter(struct dma_chan *chan, void *param)
{
	return chan == &controller->chan;
}

static void controller_init_device(struct dma_device *device, struct device *dev)
{
	INIT_LIST_HEAD(&device->channels);
	list_add_tail(&controller->chan.device_node, &device->channels);
	controller->chan.device = device;

	device->dev = dev;
	dma_cap_set(DMA_MEMCPY, device->cap_mask);
	dma_cap_set(DMA_SLAVE, device->cap_mask);
	dma_cap_set(DMA_PRIVATE, device->cap_mask);
	device->src_addr_widths = BIT(DMA_SLAVE_BUSWIDTH_4_BYTES);
	device->directions = BIT(DMA_DEV_TO_MEM) | BIT(DMA_MEM_TO_MEM);
	device->residue_granularity = granularity;
	device->filter.map = controller_map;
	device->filter.mapcnt = ARRAY_SIZE(controller_map);
	device->filter.fn = controller_filter;

	device->device_free_chan_resources = controller_free_chan_resources;
	device->device_prep_dma_memcpy = controller_prep_memcpy;
	device->device_prep_slave_sg = controller_prep_slave_sg;
	device->device_config = controller_config;
	device->device_issue_pending = controller_issue_pending;
	device->device_tx_status = controller_tx_status;
	device->device_synchronize = controller_synchronize;
	if (!no_terminate)
		device->device_terminate_all = controller_terminate_all;
}

static int controller_probe(struct platform_device *pdev)
{
	int ret;

	/* Software does not see memory through an IOMMU. */
	if (device_iommu_mapped(&pdev->dev))
		return -ENODEV;

	controller = devm_kzalloc(&pdev->dev, sizeof(*controller), GFP_KERNEL);
	if (!controller)
		return -ENOMEM;

	spin_lock_init(&controller->lock);
	INIT_LIST_HEAD(&controller->prepared);
	INIT_LIST_HEAD(&controller->submitted);
	INIT_LIST_HEAD(&controller->issued);
	tasklet_setup(&controller->tasklet, controller_run);
	/* Each page is a segment, wherever it lies. */
	dma_set_max_seg_size(&pdev->dev, PAGE_SIZE);
	controller_init_device(&controller->device, &pdev->dev);
	ret = dma_async_device_register(&controller->device);
	if (ret)
		controller = NULL;
	return ret;
}

static void controller_remove(struct platform_device *pdev)
{
	dma_async_device_unregister(&controller->device);
	tasklet_kill(&controller->tasklet);
}

static struct platform_driver controller_driver = {
	.driver = {
		.name = CONTROLLER_NAME,
	},
	.probe = controller_probe,
	.remove = controller_remove,
};

static int controller_set_hang(const char *value, const struct kernel_param *param)
{
	int ret = param_set_bool(value, param);

	/* Not while the module loads. */
	if (!ret && controller)
		tasklet_schedule(&controller->tasklet);
	return ret;
}

static const struct kernel_param_ops controller_hang_ops = {
	.set = controller_set_hang,
	.get = param_get_bool,
};
module_param_cb(hang, &controller_hang_ops, &controller_hangs, 0644);
MODULE_PARM_DESC(hang, "what is issued is not done until this is N again");

static int controller_get_preparing(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", READ_ONCE(controller->preparing));
}

static const struct kernel_param_ops controller_preparing_ops = {
	.get = controller_get_preparing,
};
module_param_cb(preparing, &controller_preparing_ops, NULL, 0444);
MODULE_PARM_DESC(preparing, "whether a copy is being prepared");

static int controller_get_unsubmitted(char *buffer, const struct kernel_param *param)
{
	guard(spinlock_irqsave)(&controller->lock);
	return sysfs_emit(buffer, "%zu\n",
			  list_count_nodes(&controller->prepared));
}

static const struct kernel_param_ops controller_unsubmitted_ops = {
	.get = controller_get_unsubmitted,
};
module_param_cb(unsubmitted, &controller_unsubmitted_ops, NULL, 0444);
MODULE_PARM_DESC(unsubmitted, "descriptors that were prepared and are not submitted");

static int controller_get_issued(char *buffer, const struct kernel_param *param)
{
	guard(spinlock_irqsave)(&controller->lock);
	return sysfs_emit(buffer, "%zu\n", list_count_nodes(&controller->issued));
}

static const struct kernel_param_ops controller_issued_ops = {
	.get = controller_get_issued,
};
module_param_cb(issued, &controller_issued_ops, NULL, 0444);
MODULE_PARM_DESC(issued, "descriptors that are issued and not done");

static bool controller_is_freed(const struct controller_segment *segment)
{
	return !page_count(virt_to_page(controller_memory(segment->to)));
}

static unsigned int controller_count_freed(void)
{
	struct controller_descriptor *descriptor;
	unsigned int freed = 0;

	lockdep_assert_held(&controller->lock);

	list_for_each_entry(descriptor, &controller->issued, node)
		for (unsigned int i = 0; i < descriptor->nr; i++)
			freed += controller_is_freed(&descriptor->segments[i]);
	return freed;
}

static int controller_get_freed(char *buffer, const struct kernel_param *param)
{
	guard(spinlock_irqsave)(&controller->lock);
	return sysfs_emit(buffer, "%u\n", controller_count_freed());
}

static const struct kernel_param_ops controller_freed_ops = {
	.get = controller_get_freed,
};
module_param_cb(freed, &controller_freed_ops, NULL, 0444);
MODULE_PARM_DESC(freed, "segments that are still to be written, in memory that is free");

static struct platform_device *controller_device;
static struct platform_device *controller_peripheral;

static const struct property_entry controller_frames[] = {
	PROPERTY_ENTRY_U64("dmawire,source", 0x1000),
	PROPERTY_ENTRY_U32("dmawire,width", 4),
	{ }
};

static const struct property_entry controller_packets[] = {
	PROPERTY_ENTRY_U64("dmawire,source", 0x1000),
	PROPERTY_ENTRY_U32("dmawire,width", 4),
	PROPERTY_ENTRY_BOOL("dmawire,packets"),
	{ }
};

/* That of the name that controller_map has. */
static int controller_add_peripheral(void)
{
	const struct platform_device_info info = {
		.name = CONTROLLER_CLIENT,
		.id = 0,
		.properties = strcmp(peripheral, "packets") ? controller_frames :
							      controller_packets,
	};

	if (!strcmp(peripheral, "none"))
		return 0;
	controller_peripheral = platform_device_register_full(&info);
	return PTR_ERR_OR_ZERO(controller_peripheral);
}

static int __init controller_init(void)
{
	const struct platform_device_info info = {
		.name = CONTROLLER_NAME,
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int ret;

	ret = platform_driver_register(&controller_driver);
	if (ret)
		return ret;
	controller_device = platform_device_register_full(&info);
	if (IS_ERR(controller_device)) {
		ret = PTR_ERR(controller_device);
		goto err_unregister_driver;
	}
	ret = controller ? controller_add_peripheral() : -ENODEV;
	if (ret)
		goto err_unregister_device;
	return 0;

err_unregister_device:
	platform_device_unregister(controller_device);
err_unregister_driver:
	platform_driver_unregister(&controller_driver);
	return ret;
}

static void __exit controller_exit(void)
{
	platform_device_unregister(controller_peripheral);
	platform_device_unregister(controller_device);
	platform_driver_unregister(&controller_driver);
}

module_init(controller_init);
module_exit(controller_exit);

MODULE_DESCRIPTION("dmawire: a DMA controller for tests, made of software");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
