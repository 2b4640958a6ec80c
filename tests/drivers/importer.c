// SPDX-License-Identifier: GPL-2.0
/*
 * An importer for tests: a bus master made of software behind which a file stands
 * (importer.h). It trims the scatter-gather list that it is given, in place.
 */
#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "importer.h"

static unsigned long boundary;
module_param(boundary, ulong, 0444);
MODULE_PARM_DESC(boundary, "dma_set_seg_boundary() of the device; a dma-buf with a segment across it is refused with EDOM (default 0: none is set)");

static struct platform_device *importer_parent;

/**
 * struct importer - an open file
 * @lock: protects the rest
 * @attach: of the dma-buf, or NULL
 * @sgt: its mapping
 * @direction: of @sgt
 * @offset: in the dma-buf, of the first byte of @first
 * @first: first segment of the range, trimmed; its address and length before
 * @first_address: see @first
 * @first_length: see @first
 * @last: last segment of the range, trimmed; its length before
 * @last_length: see @last
 * @fence: added to the dma-buf and not signaled, or NULL
 */
struct importer {
	struct mutex lock; /* see above */
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	enum dma_data_direction direction;
	u64 offset;
	struct scatterlist *first;
	dma_addr_t first_address;
	unsigned int first_length;
	struct scatterlist *last;
	unsigned int last_length;
	struct dma_fence *fence;
};

static const char *importer_fence_name(struct dma_fence *fence)
{
	return "dmawire_importer";
}

static const struct dma_fence_ops importer_fence_ops = {
	.get_driver_name = importer_fence_name,
	.get_timeline_name = importer_fence_name,
};

/* Protects fences; outlives each file. */
static DEFINE_SPINLOCK(importer_fence_lock);

static bool importer_can_reach(const struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (boundary && (sg_dma_address(sg) & boundary) + sg_dma_len(sg) - 1 > boundary)
			return false;
	return true;
}

static void importer_trim(struct importer *importer, u64 offset, u64 end)
{
	struct scatterlist *sg;
	u64 start = 0, next;
	unsigned int i;

	for_each_sgtable_dma_sg(importer->sgt, sg, i) {
		next = start + sg_dma_len(sg);
		if (!importer->first && offset < next) {
			importer->first = sg;
			importer->first_address = sg_dma_address(sg);
			importer->first_length = sg_dma_len(sg);
			sg_dma_address(sg) += offset - start;
			sg_dma_len(sg) -= offset - start;
		}
		if (end <= next) {
			importer->last = sg;
			importer->last_length = sg_dma_len(sg);
			sg_dma_len(sg) -= next - end;
			return;
		}
		start = next;
	}
}

static void importer_untrim(struct importer *importer)
{
	sg_dma_len(importer->last) = importer->last_length;
	sg_dma_len(importer->first) = importer->first_length;
	sg_dma_address(importer->first) = importer->first_address;
}

static int importer_import(struct importer *importer,
			   const struct importer_import __user *argument)
{
	struct device *dev = &importer_parent->dev;
	struct importer_import request;
	struct dma_buf *dmabuf;
	int ret;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (importer->attach || request.direction > DMA_FROM_DEVICE)
		return -EINVAL;
	dmabuf = dma_buf_get(request.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = -EINVAL;
	if (!request.length || request.offset >= dmabuf->size ||
	    request.length > dmabuf->size - request.offset)
		goto err_put;
	importer->attach = dma_buf_attach(dmabuf, dev);
	ret = PTR_ERR_OR_ZERO(importer->attach);
	if (ret)
		goto err_forget;
	importer->direction = request.direction;
	importer->sgt = dma_buf_map_attachment_unlocked(importer->attach,
							importer->direction);
	ret = PTR_ERR_OR_ZERO(importer->sgt);
	if (ret)
		goto err_detach;
	ret = -EDOM;
	if (!importer_can_reach(importer->sgt))
		goto err_unmap;

	importer->offset = request.offset;
	importer->first = NULL;
	importer_trim(importer, request.offset, request.offset + request.length);
	return 0;

err_unmap:
	dma_buf_unmap_attachment_unlocked(importer->attach, importer->sgt,
					  importer->direction);
err_detach:
	dma_buf_detach(dmabuf, importer->attach);
err_forget:
	importer->attach = NULL;
err_put:
	dma_buf_put(dmabuf);
	return ret;
}

static int importer_add_fence(struct importer *importer)
{
	struct dma_resv *resv = importer->attach->dmabuf->resv;
	struct dma_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	int ret;

	if (!fence)
		return -ENOMEM;
	dma_fence_init(fence, &importer_fence_ops, &importer_fence_lock,
		       dma_fence_context_alloc(1), 1);

	dma_resv_lock(resv, NULL);
	ret = dma_resv_reserve_fences(resv, 1);
	if (!ret)
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_WRITE);
	dma_resv_unlock(resv);
	if (ret) {
		dma_fence_signal(fence);
		dma_fence_put(fence);
		return ret;
	}
	importer->fence = fence;
	return 0;
}

static void importer_signal(struct importer *importer)
{
	if (!importer->fence)
		return;
	dma_fence_signal(importer->fence);
	dma_fence_put(importer->fence);
	importer->fence = NULL;
}

static long importer_ioctl(struct file *file, unsigned int cmd,
			   unsigned long argument)
{
	struct importer *importer = file->private_data;

	guard(mutex)(&importer->lock);
	if (cmd == IMPORTER_IMPORT)
		return importer_import(importer, (void __user *)argument);
	if (!importer->attach)
		return -EINVAL;
	if (cmd == IMPORTER_FENCE)
		return importer->fence ? -EBUSY : importer_add_fence(importer);
	if (cmd != IMPORTER_SIGNAL)
		return -ENOTTY;
	importer_signal(importer);
	return 0;
}

/* Between the trimmed segments at *@position and user space, one way or the other. */
static ssize_t importer_access(struct importer *importer, char __user *user,
			       size_t count, loff_t *position, bool write)
{
	struct device *dev = &importer_parent->dev;
	u64 start, at = *position, end = at + count;
	struct scatterlist *sg;

	guard(mutex)(&importer->lock);
	if (!importer->attach || at < importer->offset)
		return -EINVAL;
	start = importer->offset;
	for (sg = importer->first; at < end; sg = sg_next(sg)) {
		u64 next = start + sg_dma_len(sg);

		if (at < next) {
			phys_addr_t phys = dma_to_phys(dev, sg_dma_address(sg));
			void *memory = phys_to_virt(phys) + (at - start);
			size_t length = min(next, end) - at;

			if (write ? copy_from_user(memory, user, length) :
				    copy_to_user(user, memory, length))
				return -EFAULT;
			user += length;
			at += length;
		}
		if (sg == importer->last)
			break;
		start = next;
	}
	count = at - *position;
	*position = at;
	return count;
}

static ssize_t importer_read(struct file *file, char __user *user, size_t count,
			     loff_t *position)
{
	return importer_access(file->private_data, user, count, position, false);
}

static ssize_t importer_write(struct file *file, const char __user *user,
			      size_t count, loff_t *position)
{
	return importer_access(file->private_data, (char __user *)user, count,
			       position, true);
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *importer = kzalloc(sizeof(*importer), GFP_KERNEL);

	if (!importer)
		return -ENOMEM;
	mutex_init(&importer->lock);
	file->private_data = importer;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *importer = file->private_data;
	struct dma_buf_attachment *attach = importer->attach;

	importer_signal(importer);
	if (attach) {
		struct dma_buf *dmabuf = attach->dmabuf;

		importer_untrim(importer);
		dma_buf_unmap_attachment_unlocked(attach, importer->sgt,
						  importer->direction);
		dma_buf_detach(dmabuf, attach);
		dma_buf_put(dmabuf);
	}
	mutex_destroy(&importer->lock);
	kfree(importer);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.unlocked_ioctl = importer_ioctl,
	.read = importer_read,
	.write = importer_write,
};

static struct miscdevice importer_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmawire_importer",
	.fops = &importer_fops,
};

static int __init importer_init(void)
{
	const struct platform_device_info parent = {
		.name = "dmawire_importer",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int ret;

	importer_parent = platform_device_register_full(&parent);
	if (IS_ERR(importer_parent))
		return PTR_ERR(importer_parent);
	if (boundary)
		dma_set_seg_boundary(&importer_parent->dev, boundary);

	/* Software does not see memory through an IOMMU. */
	ret = device_iommu_mapped(&importer_parent->dev) ? -ENODEV :
							   misc_register(&importer_misc);
	if (ret)
		platform_device_unregister(importer_parent);
	return ret;
}

static void __exit importer_exit(void)
{
	misc_deregister(&importer_misc);
	platform_device_unregister(importer_parent);
}

module_init(importer_init);
module_exit(importer_exit);

MODULE_DESCRIPTION("dmawire: an importer of dma-bufs for tests");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
/* MODULE_IMPORT_NS() takes a word before 6.13, a string since. */
MODULE_INFO(import_ns, "DMA_BUF");
