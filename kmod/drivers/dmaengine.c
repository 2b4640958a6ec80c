// SPDX-License-Identifier: GPL-2.0
/*
 * DMA controllers that Linux drives (drivers/dma), as devices that capture:
 *
 * - A peripheral that a controller reads from on request, described in the
 *   device tree. Each transfer is one descriptor that is queued at once, so that
 *   the controller goes from frame to frame by itself.
 *
 *	capture {
 *		compatible = "dmawire,dmaengine";
 *		dmas = <&dma 5>;
 *		dma-names = "rx";
 *		dmawire,source = /bits/ 64 <0x7e203004>;
 *		dmawire,width = <4>;
 *		dmawire,burst = <1>;
 *	};
 *
 *   The source is the register to read from, by the address that the controller
 *   has for it; width is in bytes, burst in reads a request, 1 if not given.
 *
 *   A frame is as long as its transfer, and one that ends before it has gone wrong.
 *   With the property "dmawire,packets" the peripheral ends frames itself. A packet
 *   that ends in the first of several segments leaves a hole, since the next begins
 *   in the next segment, and the residue is only the sum: so transfers have one
 *   segment then, and a controller that reports no residue is refused.
 *
 * - A controller that copies memory. The CPU makes up a frame, and the controller
 *   copies it to where the transfer wants it. There are drivers that must sleep
 *   to prepare a copy, so a work item does one after the other.
 *
 * Channels without device_terminate_all are refused: memory is released only after
 * the controller has stopped. If terminating fails the controller may still write,
 * and the core keeps the memory (dmawire_device_wedged()).
 *
 * Each prepared descriptor is submitted: dmaengine has no call to free an
 * unsubmitted one, and terminating frees submitted descriptors only.
 *
 * There is no cyclic mode: it needs a fixed ring of buffers, and transfers here are
 * submitted one by one.
 *
 * The memory is mapped for the controller, which does the writes.
 */
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>

#include "frame.h"

#define ENGINE_NAME "dmawire_dmaengine"

/* Longest frame that is copied. */
#define ENGINE_MAX_FRAME SZ_64K

/* To copy a segment; no controller is that slow. */
#define ENGINE_TIMEOUT (1 * HZ)

static char *memcpy_channel = "any";
module_param(memcpy_channel, charp, 0444);
MODULE_PARM_DESC(memcpy_channel, "Channel that copies memory: its name, such as dma0chan2, or any, or none (default any)");

/**
 * struct engine - a channel of a DMA controller
 * @chan: the channel
 * @dev: its controller, for which memory is mapped
 * @capture: the device registered with dmawire
 * @packets: of a peripheral: it ends frames itself
 * @lock: protects @transfers, @jobs, @running and @wedged; also taken in callbacks
 * @running: between start and stop; else nothing more is prepared
 * @wedged: terminating failed: the controller may write, and call back, at any time
 * @sequence: number of the next frame
 * @jobs: of a peripheral: transfers that the controller has, in order
 * @transfers: of copies: transfers that wait for @work
 * @work: of copies: does the copies
 * @copied: of copies: the controller has copied, or never will
 * @result: of copies: result of the last descriptor
 * @source: of copies: the frame as the CPU made it
 * @source_address: the same for the controller
 */
struct engine {
	struct dma_chan *chan;
	struct device *dev;
	struct dmawire_device *capture;
	bool packets;
	spinlock_t lock; /* see above */
	bool running;
	bool wedged;
	u64 sequence;
	struct list_head jobs;
	struct list_head transfers;
	struct work_struct work;
	struct completion copied;
	enum dmaengine_tx_result result;
	void *source;
	dma_addr_t source_address;
};

/**
 * struct engine_job - a transfer that the controller has
 * @engine: its engine
 * @transfer: the transfer
 * @sgt: its segments, as the controller's driver wants them
 * @node: in the engine's list of jobs
 */
struct engine_job {
	struct engine *engine;
	struct dmawire_transfer *transfer;
	struct sg_table sgt;
	struct list_head node;
};

static int engine_start(struct dmawire_device *device, u32 rate)
{
	struct engine *engine = dmawire_device_priv(device);

	spin_lock_irq(&engine->lock);
	engine->capture = device;
	engine->sequence = 0;
	engine->running = true;
	spin_unlock_irq(&engine->lock);
	return 0;
}

static int engine_issue(struct engine *engine,
			struct dma_async_tx_descriptor *descriptor)
{
	if (dma_submit_error(dmaengine_submit(descriptor)))
		return -EIO;
	dma_async_issue_pending(engine->chan);
	return 0;
}

/* A wedged controller may write and call back: its device and this module stay. */
static void engine_set_wedged(struct engine *engine, bool wedged)
{
	bool was_wedged = engine->wedged;

	spin_lock_irq(&engine->lock);
	engine->wedged = wedged;
	spin_unlock_irq(&engine->lock);
	if (wedged && !was_wedged) {
		get_device(engine->dev);
		__module_get(THIS_MODULE);
	}
	if (!wedged && was_wedged) {
		module_put(THIS_MODULE);
		put_device(engine->dev);
	}
}

/* The controller writes no more, and no callback runs, if this returns true. */
static bool engine_terminate(struct engine *engine)
{
	int ret;

	scoped_guard(spinlock_irq, &engine->lock)
		engine->running = false;
	ret = dmaengine_terminate_sync(engine->chan);
	if (ret)
		dev_err(engine->dev,
			"%s cannot be stopped: %d; its memory stays allocated\n",
			dma_chan_name(engine->chan), ret);
	engine_set_wedged(engine, ret);
	if (ret)
		dmawire_device_wedged(engine->capture);
	return !ret;
}

static struct engine_job *engine_job_create(struct engine *engine,
					    struct dmawire_transfer *transfer)
{
	struct dmawire_segment segment;
	struct engine_job *job;
	struct scatterlist *sg;
	unsigned int i;

	job = kzalloc_obj(*job, GFP_NOWAIT);
	if (!job)
		return NULL;
	if (sg_alloc_table(&job->sgt, transfer->nr_segments, GFP_NOWAIT)) {
		kfree(job);
		return NULL;
	}

	job->engine = engine;
	job->transfer = transfer;
	for_each_sgtable_dma_sg(&job->sgt, sg, i) {
		segment = dmawire_transfer_segment(transfer, i);
		sg_dma_address(sg) = segment.address;
		sg_dma_len(sg) = segment.length;
	}
	return job;
}

static void engine_job_destroy(struct engine_job *job)
{
	sg_free_table(&job->sgt);
	kfree(job);
}

/* How many bytes of a frame came, or a negative errno if it cannot be used. */
static ssize_t slave_length(const struct engine_job *job,
			    const struct dmaengine_result *result)
{
	size_t room = job->transfer->length;

	if (result->result != DMA_TRANS_NOERROR || result->residue > room)
		return -EIO;
	if (result->residue && !job->engine->packets)
		return -EIO;
	return room - result->residue;
}

/* Called for one job after the other. */
static void slave_callback(void *data, const struct dmaengine_result *result)
{
	struct engine_job *job = data;
	struct engine *engine = job->engine;
	struct dmawire_transfer *transfer = job->transfer;
	ssize_t length = slave_length(job, result);
	struct dmawire_frame frame = {
		.length = max(length, 0),
		.sequence = engine->sequence++,
		.timestamp = ktime_get_ns(),
	};
	bool wedged;

	scoped_guard(spinlock_irqsave, &engine->lock) {
		list_del(&job->node);
		wedged = engine->wedged;
	}
	engine_job_destroy(job);

	if (wedged)
		return; /* the core has taken it back */
	if (length >= 0)
		dmawire_transfer_done(transfer, &frame);
	else
		dmawire_transfer_failed(transfer);
}

static int slave_issue(struct engine *engine, struct engine_job *job)
{
	struct dma_async_tx_descriptor *descriptor;
	int ret;

	lockdep_assert_held(&engine->lock);

	/* Not once it is prepared. */
	if (!engine->running)
		return -ECANCELED;
	descriptor = dmaengine_prep_slave_sg(engine->chan, job->sgt.sgl,
					     job->sgt.nents, DMA_DEV_TO_MEM,
					     DMA_PREP_INTERRUPT);
	if (!descriptor)
		return -ENOMEM;
	descriptor->callback_result = slave_callback;
	descriptor->callback_param = job;

	ret = engine_issue(engine, descriptor);
	if (!ret)
		list_add_tail(&job->node, &engine->jobs);
	return ret;
}

/* Does not sleep, nor does preparing a transfer of a peripheral's. */
static int slave_submit(struct dmawire_device *device,
			struct dmawire_transfer *transfer)
{
	struct engine *engine = dmawire_device_priv(device);
	struct engine_job *job;
	int ret;

	job = engine_job_create(engine, transfer);
	if (!job)
		return -ENOMEM;

	scoped_guard(spinlock_irqsave, &engine->lock)
		ret = slave_issue(engine, job);
	if (ret)
		engine_job_destroy(job);
	return ret;
}

static void slave_stop(struct dmawire_device *device)
{
	struct engine *engine = dmawire_device_priv(device);
	struct engine_job *job, *next;

	if (!engine_terminate(engine))
		return;
	list_for_each_entry_safe(job, next, &engine->jobs, node)
		engine_job_destroy(job);
	INIT_LIST_HEAD(&engine->jobs);
}

static const struct dmawire_device_ops slave_ops = {
	.start = engine_start,
	.stop = slave_stop,
	.submit = slave_submit,
};

static void memcpy_callback(void *data, const struct dmaengine_result *result)
{
	struct engine *engine = data;

	engine->result = result->result;
	complete(&engine->copied);
}

/*
 * There are drivers that sleep here, so it may be stopped meanwhile. It is submitted
 * then too; memcpy_stop() waits for this before it terminates.
 */
static int memcpy_issue(struct engine *engine, size_t offset,
			const struct dmawire_segment *segment)
{
	struct dma_async_tx_descriptor *descriptor;

	descriptor = dmaengine_prep_dma_memcpy(engine->chan, segment->address,
					       engine->source_address + offset,
					       segment->length,
					       DMA_PREP_INTERRUPT);
	if (!descriptor)
		return -ENOMEM;
	descriptor->callback_result = memcpy_callback;
	descriptor->callback_param = engine;
	return engine_issue(engine, descriptor);
}

static int memcpy_segment(struct engine *engine, size_t offset,
			  const struct dmawire_segment *segment)
{
	int ret;

	scoped_guard(spinlock_irq, &engine->lock) {
		if (!engine->running)
			return -ECANCELED;
		reinit_completion(&engine->copied);
	}
	ret = memcpy_issue(engine, offset, segment);
	if (ret)
		return ret;
	if (!wait_for_completion_timeout(&engine->copied, ENGINE_TIMEOUT))
		return -ETIMEDOUT;
	if (!READ_ONCE(engine->running))
		return -ECANCELED;
	return engine->result == DMA_TRANS_NOERROR ? 0 : -EIO;
}

static int memcpy_fill(struct engine *engine, struct dmawire_transfer *transfer,
		       size_t length)
{
	struct dmawire_segment segment;
	int ret;

	dma_sync_single_for_cpu(engine->dev, engine->source_address, length,
				DMA_TO_DEVICE);
	dmawire_frame_make(engine->source, length, length, engine->sequence);
	dma_sync_single_for_device(engine->dev, engine->source_address, length,
				   DMA_TO_DEVICE);

	for (size_t done = 0, i = 0; done < length; done += segment.length) {
		segment = dmawire_transfer_segment(transfer, i++);
		segment.length = min(segment.length, length - done);
		ret = memcpy_segment(engine, done, &segment);
		if (ret)
			return ret;
	}
	return 0;
}

/* The controller may write to the transfer until the core has stopped it. */
static void memcpy_hang(struct engine *engine)
{
	dev_err(engine->dev, "%s does not answer\n",
		dma_chan_name(engine->chan));
	scoped_guard(spinlock_irq, &engine->lock)
		engine->running = false;
	dmawire_device_failed(engine->capture);
}

static void memcpy_capture(struct engine *engine,
			   struct dmawire_transfer *transfer)
{
	struct dmawire_frame frame = {
		.length = min_t(size_t, transfer->length, ENGINE_MAX_FRAME),
	};
	int ret;

	ret = memcpy_fill(engine, transfer, frame.length);
	if (ret == -ECANCELED)
		return; /* the core takes it back */
	if (ret == -ETIMEDOUT) {
		memcpy_hang(engine);
		return; /* here too */
	}
	if (ret) {
		dev_err(engine->dev, "%s: cannot copy: %d\n",
			dma_chan_name(engine->chan), ret);
		dmawire_transfer_failed(transfer);
		return;
	}

	frame.sequence = engine->sequence++;
	frame.timestamp = ktime_get_ns();
	dmawire_transfer_done(transfer, &frame);
}

static struct dmawire_transfer *memcpy_next_transfer(struct engine *engine)
{
	struct dmawire_transfer *transfer = NULL;

	spin_lock_irq(&engine->lock);
	if (engine->running)
		transfer = list_first_entry_or_null(&engine->transfers,
						    struct dmawire_transfer, node);
	if (transfer)
		list_del(&transfer->node);
	spin_unlock_irq(&engine->lock);
	return transfer;
}

static void memcpy_work(struct work_struct *work)
{
	struct engine *engine = container_of(work, struct engine, work);
	struct dmawire_transfer *transfer;

	while ((transfer = memcpy_next_transfer(engine)))
		memcpy_capture(engine, transfer);
}

static int memcpy_submit(struct dmawire_device *device,
			 struct dmawire_transfer *transfer)
{
	struct engine *engine = dmawire_device_priv(device);

	if (transfer->length < sizeof(struct dmawire_frame_header))
		return -EINVAL;

	scoped_guard(spinlock_irqsave, &engine->lock)
		list_add_tail(&transfer->node, &engine->transfers);
	queue_work(system_long_wq, &engine->work);
	return 0;
}

static void memcpy_stop(struct dmawire_device *device)
{
	struct engine *engine = dmawire_device_priv(device);

	scoped_guard(spinlock_irq, &engine->lock) {
		INIT_LIST_HEAD(&engine->transfers);
		engine->running = false;
	}
	complete(&engine->copied);
	cancel_work_sync(&engine->work);
	engine_terminate(engine);
}

static const struct dmawire_device_ops memcpy_ops = {
	.start = engine_start,
	.stop = memcpy_stop,
	.submit = memcpy_submit,
};

/* The residue gives a packet's length. */
static int engine_check_residue(struct engine *engine, struct device *node)
{
	struct dma_slave_caps caps;
	int ret;

	ret = dma_get_slave_caps(engine->chan, &caps);
	if (ret)
		return dev_err_probe(node, ret, "%s has no capabilities\n",
				     dma_chan_name(engine->chan));
	if (caps.residue_granularity == DMA_RESIDUE_GRANULARITY_DESCRIPTOR)
		return dev_err_probe(node, -EOPNOTSUPP,
				     "%s cannot tell how long a packet is\n",
				     dma_chan_name(engine->chan));
	return 0;
}

static int engine_register_slave(struct engine *engine, struct device *node)
{
	struct dmawire_device_params params = {
		.name = "dmaengine",
		.ops = &slave_ops,
		.priv = engine,
	};
	struct dma_slave_config config = { .direction = DMA_DEV_TO_MEM };
	u32 width, burst = 1;
	u64 source;
	int ret;

	ret = device_property_read_u64(node, "dmawire,source", &source);
	if (!ret)
		ret = device_property_read_u32(node, "dmawire,width", &width);
	if (ret)
		return dev_err_probe(node, ret, "source or width missing\n");
	device_property_read_u32(node, "dmawire,burst", &burst);

	config.src_addr = source;
	config.src_addr_width = width;
	config.src_maxburst = burst;
	ret = dmaengine_slave_config(engine->chan, &config);
	if (ret)
		return dev_err_probe(node, ret, "refused by the controller\n");

	engine->packets = device_property_read_bool(node, "dmawire,packets");
	if (engine->packets) {
		ret = engine_check_residue(engine, node);
		if (ret)
			return ret;
		params.max_segments = 1;
	}

	params.alignment = width;
	engine->capture = dmawire_device_register(engine->dev, &params);
	return PTR_ERR_OR_ZERO(engine->capture);
}

static int engine_register_memcpy(struct engine *engine)
{
	const struct dmawire_device_params params = {
		.name = "dmaengine",
		.ops = &memcpy_ops,
		.priv = engine,
		.alignment = BIT(engine->chan->device->copy_align),
		.frame_headers = true,
	};

	engine->source = dma_alloc_noncoherent(engine->dev, ENGINE_MAX_FRAME,
					       &engine->source_address,
					       DMA_TO_DEVICE, GFP_KERNEL);
	if (!engine->source)
		return -ENOMEM;

	engine->capture = dmawire_device_register(engine->dev, &params);
	if (!IS_ERR(engine->capture))
		return 0;

	dma_free_noncoherent(engine->dev, ENGINE_MAX_FRAME, engine->source,
			     engine->source_address, DMA_TO_DEVICE);
	return PTR_ERR(engine->capture);
}

static bool has_name(struct dma_chan *chan, void *name)
{
	return !strcmp(dma_chan_name(chan), name);
}

static struct dma_chan *request_memcpy_channel(void)
{
	struct dma_chan *chan;
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	if (!strcmp(memcpy_channel, "any"))
		return dma_request_chan_by_mask(&mask);

	chan = dma_request_channel(mask, has_name, memcpy_channel);
	return chan ?: ERR_PTR(-ENODEV);
}

static struct engine *engine_create(void)
{
	struct engine *engine;

	engine = kzalloc_obj(*engine, GFP_KERNEL);
	if (!engine)
		return NULL;

	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->jobs);
	INIT_LIST_HEAD(&engine->transfers);
	INIT_WORK(&engine->work, memcpy_work);
	init_completion(&engine->copied);
	return engine;
}

static int engine_register(struct engine *engine, struct device *node)
{
	if (!engine->chan->device->device_terminate_all)
		return dev_err_probe(node, -EOPNOTSUPP,
				     "%s cannot be terminated\n",
				     dma_chan_name(engine->chan));

	engine->dev = dmaengine_get_dma_device(engine->chan);
	return dev_fwnode(node) ? engine_register_slave(engine, node) :
				  engine_register_memcpy(engine);
}

static int engine_probe(struct platform_device *pdev)
{
	struct device *node = &pdev->dev;
	struct engine *engine;
	int ret;

	engine = engine_create();
	if (!engine)
		return -ENOMEM;
	platform_set_drvdata(pdev, engine);

	engine->chan = dev_fwnode(node) ? dma_request_chan(node, "rx") :
					  request_memcpy_channel();
	if (IS_ERR(engine->chan)) {
		ret = dev_err_probe(node, PTR_ERR(engine->chan), "no channel\n");
		goto err_free_engine;
	}

	ret = engine_register(engine, node);
	if (ret)
		goto err_release_channel;
	return 0;

err_release_channel:
	dma_release_channel(engine->chan);
err_free_engine:
	kfree(engine);
	return ret;
}

static void engine_remove(struct platform_device *pdev)
{
	struct engine *engine = platform_get_drvdata(pdev);

	dmawire_device_unregister(engine->capture);
	if (engine->wedged)
		return; /* the controller still reads the source, and calls back */
	if (engine->source)
		dma_free_noncoherent(engine->dev, ENGINE_MAX_FRAME,
				     engine->source, engine->source_address,
				     DMA_TO_DEVICE);
	dma_release_channel(engine->chan);
	kfree(engine);
}

static const struct of_device_id engine_of_match[] = {
	{ .compatible = "dmawire,dmaengine" },
	{ }
};
MODULE_DEVICE_TABLE(of, engine_of_match);

static struct platform_driver engine_driver = {
	.driver = {
		.name = ENGINE_NAME,
		.of_match_table = engine_of_match,
	},
	.probe = engine_probe,
	.remove = engine_remove,
};

/* Stands for the channel that copies memory, which no device tree knows. */
static struct platform_device *memcpy_device;

static int __init engine_init(void)
{
	int ret;

	ret = platform_driver_register(&engine_driver);
	if (ret || !strcmp(memcpy_channel, "none"))
		return ret;

	memcpy_device = platform_device_register_simple(ENGINE_NAME,
							PLATFORM_DEVID_NONE,
							NULL, 0);
	if (!IS_ERR(memcpy_device))
		return 0;

	platform_driver_unregister(&engine_driver);
	return PTR_ERR(memcpy_device);
}

static void __exit engine_exit(void)
{
	platform_device_unregister(memcpy_device);
	platform_driver_unregister(&engine_driver);
}

module_init(engine_init);
module_exit(engine_exit);

MODULE_DESCRIPTION("dmawire: DMA controllers that Linux drives");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
