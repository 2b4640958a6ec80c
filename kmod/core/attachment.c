// SPDX-License-Identifier: GPL-2.0
/*
 * Attachments of a capture queue: dma-bufs that its device writes to. Each is mapped
 * once and queued range by range.
 *
 * The device imports the dma-buf like any other importer, but only this file syncs
 * it: a range for the device at ENQUEUE, the written bytes for the CPU at
 * completion. A sync of anything else, by DMA_BUF_IOCTL_SYNC or on unmap, would
 * overwrite data of the CPU in ranges that are not queued.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <dmawire/device.h>

#include "buffer.h"
#include "dmabuf.h"
#include "attachment.h"

#define DMAWIRE_ATTACHMENT_GFP \
	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static int spans_alloc(struct dmawire_spans *spans, unsigned int nr)
{
	spans->span =
		kvmalloc_array(nr, sizeof(*spans->span), DMAWIRE_ATTACHMENT_GFP);
	return spans->span ? 0 : -ENOMEM;
}

static void spans_add(struct dmawire_spans *spans, dma_addr_t address, size_t start,
		      size_t length)
{
	spans->span[spans->nr++] = (struct dmawire_span){
		.address = address,
		.start = start,
		.length = length,
	};
}

static int make_segments(struct dmawire_attachment *attachment)
{
	struct scatterlist *sg;
	size_t start = 0;
	unsigned int i;

	if (spans_alloc(&attachment->segments, attachment->sgt->nents))
		return -ENOMEM;

	for_each_sgtable_dma_sg(attachment->sgt, sg, i) {
		spans_add(&attachment->segments, sg_dma_address(sg), start,
			  sg_dma_len(sg));
		start += sg_dma_len(sg);
	}
	return 0;
}

static int make_runs(struct dmawire_attachment *attachment)
{
	struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(attachment->dmabuf);
	struct dmawire_survey survey;

	/* Each border is one of a segment or one between runs of pages. */
	dmawire_buffer_survey(buffer, &survey);
	if (spans_alloc(&attachment->runs, attachment->segments.nr + survey.nr_runs))
		return -ENOMEM;

	for (unsigned int i = 0; i < attachment->segments.nr; i++) {
		const struct dmawire_span *span = &attachment->segments.span[i];
		size_t length;

		for (size_t done = 0; done < span->length; done += length) {
			length = dmawire_buffer_contiguous(buffer,
							   span->start + done,
							   span->length - done);
			spans_add(&attachment->runs, span->address + done,
				  span->start + done, length);
			if (buffer->pages &&
			    dma_need_sync(attachment->dev, span->address + done))
				attachment->needs_sync = true;
		}
	}
	return 0;
}

static int map_for_device(struct dmawire_attachment *attachment)
{
	const struct dmawire_buffer *buffer =
		dmawire_dmabuf_buffer(attachment->dmabuf);
	int ret;

	attachment->attach =
		dmawire_dmabuf_attach_own(attachment->dmabuf, attachment->dev);
	if (IS_ERR(attachment->attach))
		return PTR_ERR(attachment->attach);

	attachment->sgt = dma_buf_map_attachment_unlocked(attachment->attach,
							  buffer->direction);
	if (IS_ERR(attachment->sgt)) {
		ret = PTR_ERR(attachment->sgt);
		goto err_detach;
	}
	attachment->direction = dmawire_dmabuf_own_direction(attachment->attach);

	ret = make_segments(attachment);
	if (!ret)
		ret = make_runs(attachment);
	if (ret)
		goto err_unmap;
	return 0;

err_unmap:
	kvfree(attachment->runs.span);
	kvfree(attachment->segments.span);
	dma_buf_unmap_attachment_unlocked(attachment->attach, attachment->sgt,
					  attachment->direction);
err_detach:
	dma_buf_detach(attachment->dmabuf, attachment->attach);
	return ret;
}

/* Not through the dma-buf core, which warns if there is no memory for it. */
static int map_for_cpu(struct dmawire_attachment *attachment)
{
	attachment->vaddr =
		dmawire_buffer_vmap(dmawire_dmabuf_buffer(attachment->dmabuf));
	return attachment->vaddr ? 0 : -ENOMEM;
}

static void unmap(struct dmawire_attachment *attachment)
{
	if (!attachment->dev) {
		dmawire_buffer_vunmap(dmawire_dmabuf_buffer(attachment->dmabuf),
				      attachment->vaddr);
		return;
	}
	kvfree(attachment->runs.span);
	kvfree(attachment->segments.span);
	dma_buf_unmap_attachment_unlocked(attachment->attach, attachment->sgt,
					  attachment->direction);
	dma_buf_detach(attachment->dmabuf, attachment->attach);
}

/**
 * dmawire_attachment_create - map a dma-buf for a device to write to
 * @dmabuf: of ours; the attachment takes over the caller's reference if this succeeds
 * @dev: the device, or NULL if the CPU is to write
 * @lock: protects the fields of the attachment that change
 *
 * Return: the attachment, or an ERR_PTR: -EINVAL if @dmabuf is not for writing, -EBUSY
 * if it is an attachment already, -ENOMEM, -EIO if the device cannot reach the memory.
 */
struct dmawire_attachment *dmawire_attachment_create(struct dma_buf *dmabuf,
						     struct device *dev,
						     struct spinlock *lock)
{
	struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(dmabuf);
	struct dmawire_attachment *attachment;
	int ret;

	if (buffer->direction == DMA_TO_DEVICE)
		return ERR_PTR(-EINVAL);
	/* There is one map of which pages are a device's. */
	if (test_and_set_bit(0, &buffer->is_attached))
		return ERR_PTR(-EBUSY);

	ret = -ENOMEM;
	attachment = kzalloc_obj(*attachment, GFP_KERNEL_ACCOUNT);
	if (!attachment)
		goto err_clear_attachment;

	attachment->pages = kvcalloc(BITS_TO_LONGS(buffer->nr_pages), sizeof(long),
				     DMAWIRE_ATTACHMENT_GFP);
	if (!attachment->pages)
		goto err_free_attachment;

	attachment->dmabuf = dmabuf;
	attachment->lock = lock;
	attachment->dev = dev;
	attachment->context = dma_fence_context_alloc(1);
	if (dev)
		ret = map_for_device(attachment);
	else
		ret = map_for_cpu(attachment);
	if (ret)
		goto err_free_pages;
	return attachment;

err_free_pages:
	kvfree(attachment->pages);
err_free_attachment:
	kfree(attachment);
err_clear_attachment:
	clear_bit(0, &buffer->is_attached);
	return ERR_PTR(ret);
}

/* No range of it is queued. */
void dmawire_attachment_destroy(struct dmawire_attachment *attachment)
{
	WARN_ON(attachment->nr_queued || attachment->fence);
	unmap(attachment);
	clear_bit(0, &dmawire_dmabuf_buffer(attachment->dmabuf)->is_attached);
	dma_buf_put(attachment->dmabuf);
	kvfree(attachment->pages);
	kfree(attachment);
}

/* Whether @range is one of the dma-buf's; its numbers may be anything. */
bool dmawire_attachment_has(const struct dmawire_attachment *attachment,
			    const struct dmawire_range *range)
{
	size_t size = attachment->dmabuf->size;

	return PAGE_ALIGNED(range->offset) && range->offset < size &&
	       range->length && range->length <= size - range->offset;
}

/* Whether @range, one of the dma-buf's, begins and ends in steps of @alignment. */
bool dmawire_attachment_is_aligned(const struct dmawire_attachment *attachment,
				   const struct dmawire_range *range,
				   unsigned int alignment)
{
	size_t begin =
		dmawire_dmabuf_buffer(attachment->dmabuf)->offset + range->offset;

	return IS_ALIGNED(begin | range->length, alignment);
}

/* False if some of it is the device's already. */
bool dmawire_attachment_claim(struct dmawire_attachment *attachment,
			      const struct dmawire_range *range)
{
	unsigned long first = range->offset >> PAGE_SHIFT;
	unsigned long end = first + (PAGE_ALIGN(range->length) >> PAGE_SHIFT);

	lockdep_assert_held(attachment->lock);

	if (find_next_bit(attachment->pages, end, first) < end)
		return false;
	bitmap_set(attachment->pages, first, end - first);
	attachment->nr_queued++;
	return true;
}

void dmawire_attachment_release(struct dmawire_attachment *attachment,
				const struct dmawire_range *range)
{
	unsigned long first = range->offset >> PAGE_SHIFT;
	unsigned long end = first + (PAGE_ALIGN(range->length) >> PAGE_SHIFT);

	lockdep_assert_held(attachment->lock);

	WARN_ON_ONCE(find_next_zero_bit(attachment->pages, end, first) < end);
	bitmap_clear(attachment->pages, first, end - first);
	attachment->nr_queued--;
}

/* The device was wedged with some of its pages and has been stopped. */
void dmawire_attachment_release_all(struct dmawire_attachment *attachment)
{
	lockdep_assert_held(attachment->lock);

	bitmap_zero(attachment->pages,
		    dmawire_dmabuf_buffer(attachment->dmabuf)->nr_pages);
	attachment->nr_queued = 0;
}

/* The span that the byte at @offset lies in. */
static unsigned int find_span(const struct dmawire_spans *spans, size_t offset)
{
	unsigned int low = 0, high = spans->nr - 1;

	while (low < high) {
		unsigned int middle = (low + high + 1) / 2;

		if (spans->span[middle].start <= offset)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* The part of span @index that lies in @range. */
static struct dmawire_segment cut(const struct dmawire_spans *spans,
				  unsigned int index,
				  const struct dmawire_range *range)
{
	const struct dmawire_span *span = &spans->span[index];
	size_t begin = max(span->start, range->offset);
	size_t end = min(span->start + span->length, range->offset + range->length);

	return (struct dmawire_segment){
		.address = span->address + (begin - span->start),
		.length = end - begin,
	};
}

/* How many segments @range has; @first is the first one's index. */
unsigned int dmawire_attachment_segments(const struct dmawire_attachment *attachment,
					 const struct dmawire_range *range,
					 unsigned int *first)
{
	*first = 0;
	if (!attachment->dev)
		return 0;
	*first = find_span(&attachment->segments, range->offset);
	return find_span(&attachment->segments, range->offset + range->length - 1) -
	       *first + 1;
}

struct dmawire_segment
dmawire_attachment_segment(const struct dmawire_attachment *attachment,
			   const struct dmawire_range *range, unsigned int index)
{
	return cut(&attachment->segments, index, range);
}

typedef void dmawire_attachment_sync_fn(struct device *dev, dma_addr_t address,
					size_t length,
					enum dma_data_direction direction);

/* The first @length bytes of @range. */
static void sync_range(const struct dmawire_attachment *attachment,
		       const struct dmawire_range *range, size_t length,
		       dmawire_attachment_sync_fn *sync)
{
	const struct dmawire_range part = { range->offset, length };
	size_t done = 0;

	if (!attachment->needs_sync)
		return;
	for (unsigned int i = find_span(&attachment->runs, part.offset);
	     done < part.length; i++) {
		struct dmawire_segment run = cut(&attachment->runs, i, &part);

		sync(attachment->dev, run.address, run.length,
		     attachment->direction);
		done += run.length;
	}
}

/* The device is about to write; bytes that it leaves out keep the CPU's data. */
void dmawire_attachment_sync_for_device(const struct dmawire_attachment *attachment,
					const struct dmawire_range *range)
{
	sync_range(attachment, range, range->length, dma_sync_single_for_device);
}

/**
 * dmawire_attachment_sync_for_cpu - make the bytes the device wrote visible
 * @attachment: the dma-buf
 * @range: the range that was queued
 * @written: bytes that the device has written, from the start of the range
 */
void dmawire_attachment_sync_for_cpu(const struct dmawire_attachment *attachment,
				     const struct dmawire_range *range,
				     size_t written)
{
	/* All of it: a dirty line of the vmap could be written back later. */
	if (!attachment->dev)
		flush_kernel_vmap_range(attachment->vaddr + range->offset,
					range->length);
	sync_range(attachment, range, written, dma_sync_single_for_cpu);
}
