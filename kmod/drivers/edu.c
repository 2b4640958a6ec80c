// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's teaching device: a bus master with an interrupt that copies between the
 * machine's memory and a window of 4 KiB that it has itself.
 *
 * There is nothing to be captured in it. So the CPU makes up a frame, and the
 * device fetches it into its window piece by piece and writes each piece to where
 * the transfer wants it. A copy takes it 100 ms and cannot be called off, so all
 * of this is done by a work item that waits for one copy after the other.
 */
#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <dmawire/device.h>

#include "frame.h"

#define EDU_ID 0x00
#define EDU_ID_MASK 0xff
#define EDU_ID_VALUE 0xed
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_ACK 0x64
#define EDU_IRQ_COPIED 0x100
#define EDU_COPY_FROM 0x80
#define EDU_COPY_TO 0x88
#define EDU_COPY_COUNT 0x90
#define EDU_COPY_COMMAND 0x98
#define EDU_COPY_START BIT(0)
#define EDU_COPY_TO_MEMORY BIT(1)
#define EDU_COPY_IRQ BIT(2)

/* In the device's own address space. */
#define EDU_WINDOW 0x40000
#define EDU_WINDOW_SIZE SZ_4K

/* Longest frame; with segments of a page it takes 3 seconds. */
#define EDU_MAX_FRAME SZ_64K

/* Ten times as long as a copy. */
#define EDU_TIMEOUT (1 * HZ)

static unsigned int dma_bits = 28;
module_param(dma_bits, uint, 0444);
MODULE_PARM_DESC(dma_bits, "Bits of an address that the device has: those of its property dma_mask (default 28)");

/**
 * struct edu - a device
 * @dev: the PCI device
 * @regs: its registers
 * @capture: the device registered with dmawire
 * @work: fills @transfers
 * @copied: the device says that it has copied
 * @lock: protects @transfers and @running
 * @transfers: transfers that wait for @work
 * @running: between start and stop; else @work shall end
 * @sequence: number of the next frame; @work's
 * @source: the frame as the CPU made it; @work's
 * @source_address: the same for the device
 */
struct edu {
	struct pci_dev *dev;
	void __iomem *regs;
	struct dmawire_device *capture;
	struct work_struct work;
	struct completion copied;
	spinlock_t lock; /* see above */
	struct list_head transfers;
	bool running;
	u64 sequence;
	void *source;
	dma_addr_t source_address;
};

static irqreturn_t edu_irq(int irq, void *data)
{
	struct edu *edu = data;
	u32 status = readl(edu->regs + EDU_IRQ_STATUS);

	/* Reads from a removed PCI device return all ones. */
	if (!status || status == U32_MAX)
		return IRQ_NONE;

	writel(status, edu->regs + EDU_IRQ_ACK);
	if (status & EDU_IRQ_COPIED)
		complete(&edu->copied);
	return IRQ_HANDLED;
}

static int edu_copy(struct edu *edu, u64 from, u64 to, size_t count,
		    u32 command)
{
	/* It neither takes a second copy nor is there, if it is all ones. */
	if (readl(edu->regs + EDU_COPY_COMMAND) & EDU_COPY_START)
		return -EIO;

	reinit_completion(&edu->copied);
	writeq(from, edu->regs + EDU_COPY_FROM);
	writeq(to, edu->regs + EDU_COPY_TO);
	writeq(count, edu->regs + EDU_COPY_COUNT);
	writel(command | EDU_COPY_START | EDU_COPY_IRQ,
	       edu->regs + EDU_COPY_COMMAND);
	if (!wait_for_completion_timeout(&edu->copied, EDU_TIMEOUT))
		return -ETIMEDOUT;
	return 0;
}

static bool edu_is_running(struct edu *edu)
{
	bool running;

	spin_lock(&edu->lock);
	running = edu->running;
	spin_unlock(&edu->lock);
	return running;
}

static int edu_fill_segment(struct edu *edu, dma_addr_t source,
			    const struct dmawire_segment *segment)
{
	size_t count;
	int ret;

	for (size_t done = 0; done < segment->length; done += count) {
		if (!edu_is_running(edu))
			return -ECANCELED;

		count = min_t(size_t, segment->length - done, EDU_WINDOW_SIZE);
		ret = edu_copy(edu, source + done, EDU_WINDOW, count, 0);
		if (!ret)
			ret = edu_copy(edu, EDU_WINDOW, segment->address + done,
				       count, EDU_COPY_TO_MEMORY);
		if (ret)
			return ret;
	}
	return 0;
}

static int edu_fill(struct edu *edu, struct dmawire_transfer *transfer,
		    size_t length)
{
	struct dmawire_segment segment;
	int ret;

	dmawire_frame_make(edu->source, length, length, edu->sequence);
	for (size_t done = 0, i = 0; done < length; done += segment.length) {
		segment = dmawire_transfer_segment(transfer, i++);
		segment.length = min(segment.length, length - done);
		ret = edu_fill_segment(edu, edu->source_address + done,
				       &segment);
		if (ret)
			return ret;
	}
	return 0;
}

static void edu_capture(struct edu *edu, struct dmawire_transfer *transfer)
{
	struct dmawire_frame frame = {
		.length = min_t(size_t, transfer->length, EDU_MAX_FRAME),
	};
	int ret;

	ret = edu_fill(edu, transfer, frame.length);
	if (ret == -ECANCELED)
		return; /* the core takes it back */
	if (ret) {
		dev_err(&edu->dev->dev, "no answer: %d\n", ret);
		/* No DMA of the device reaches memory until the next start. */
		pci_clear_master(edu->dev);
		scoped_guard(spinlock, &edu->lock)
			edu->running = false;
		dmawire_device_failed(edu->capture);
		return;
	}

	frame.sequence = edu->sequence++;
	frame.timestamp = ktime_get_ns();
	dmawire_transfer_done(transfer, &frame);
}

static struct dmawire_transfer *edu_next_transfer(struct edu *edu)
{
	struct dmawire_transfer *transfer;

	spin_lock(&edu->lock);
	transfer = list_first_entry_or_null(&edu->transfers,
					    struct dmawire_transfer, node);
	if (transfer)
		list_del(&transfer->node);
	spin_unlock(&edu->lock);
	return transfer;
}

static void edu_work(struct work_struct *work)
{
	struct edu *edu = container_of(work, struct edu, work);
	struct dmawire_transfer *transfer;

	while ((transfer = edu_next_transfer(edu)))
		edu_capture(edu, transfer);
}

static int edu_start(struct dmawire_device *device, u32 rate)
{
	struct edu *edu = dmawire_device_priv(device);

	/* The node may be used before its registration has returned. */
	edu->capture = device;
	pci_set_master(edu->dev);
	edu->sequence = 0;
	scoped_guard(spinlock, &edu->lock)
		edu->running = true;
	return 0;
}

static void edu_stop(struct dmawire_device *device)
{
	struct edu *edu = dmawire_device_priv(device);

	scoped_guard(spinlock, &edu->lock) {
		edu->running = false;
		INIT_LIST_HEAD(&edu->transfers);
	}
	cancel_work_sync(&edu->work);
	/* In case that it gave no answer and is copying still. */
	pci_clear_master(edu->dev);
}

static int edu_submit(struct dmawire_device *device,
		      struct dmawire_transfer *transfer)
{
	struct edu *edu = dmawire_device_priv(device);

	if (transfer->length < sizeof(struct dmawire_frame_header))
		return -EINVAL;

	scoped_guard(spinlock, &edu->lock)
		list_add_tail(&transfer->node, &edu->transfers);
	queue_work(system_long_wq, &edu->work);
	return 0;
}

static const struct dmawire_device_ops edu_ops = {
	.start = edu_start,
	.stop = edu_stop,
	.submit = edu_submit,
};

static int edu_register(struct edu *edu)
{
	const struct dmawire_device_params params = {
		.name = "edu",
		.ops = &edu_ops,
		.priv = edu,
		.frame_headers = true,
	};

	edu->capture = dmawire_device_register(&edu->dev->dev, &params);
	return PTR_ERR_OR_ZERO(edu->capture);
}

/* devres releases all of it, in reverse order. */
static int edu_init_hardware(struct edu *edu)
{
	struct device *dev = &edu->dev->dev;
	int ret;

	ret = pcim_enable_device(edu->dev);
	if (ret)
		return ret;

	edu->regs = pcim_iomap_region(edu->dev, 0, "dmawire_edu");
	if (IS_ERR(edu->regs))
		return PTR_ERR(edu->regs);
	if ((readl(edu->regs + EDU_ID) & EDU_ID_MASK) != EDU_ID_VALUE)
		return -ENODEV;

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(dma_bits));
	if (ret)
		return ret;
	dma_set_max_seg_size(dev, UINT_MAX);

	edu->source = dmam_alloc_coherent(dev, EDU_MAX_FRAME,
					  &edu->source_address, GFP_KERNEL);
	if (!edu->source)
		return -ENOMEM;

	ret = pci_alloc_irq_vectors(edu->dev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		return ret;
	return devm_request_irq(dev, pci_irq_vector(edu->dev, 0), edu_irq,
				IRQF_SHARED, "dmawire_edu", edu);
}

static int edu_probe(struct pci_dev *dev, const struct pci_device_id *id)
{
	struct edu *edu;
	int ret;

	edu = devm_kzalloc(&dev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;

	edu->dev = dev;
	INIT_WORK(&edu->work, edu_work);
	init_completion(&edu->copied);
	spin_lock_init(&edu->lock);
	INIT_LIST_HEAD(&edu->transfers);
	pci_set_drvdata(dev, edu);

	ret = edu_init_hardware(edu);
	if (ret)
		return ret;
	return edu_register(edu);
}

static void edu_remove(struct pci_dev *dev)
{
	struct edu *edu = pci_get_drvdata(dev);

	dmawire_device_unregister(edu->capture);
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "dmawire_edu",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("dmawire: QEMU's teaching device");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
