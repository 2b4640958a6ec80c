// SPDX-License-Identifier: GPL-2.0
/*
 * Dma-bufs that a device writes to: mapped for it once, lent to it range by range.
 *
 * The device imports the dma-buf as any other device would, but is synced here
 * alone: what is given before the device gets it, what was written when it comes
 * back. A sync of anything else, by DMA_BUF_IOCTL_SYNC or on unmap, would overwrite
 * what the CPU wrote to memory that is its own.
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
#include "target.h"

#define DMAWIRE_TARGET_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static int spans_alloc(struct dmawire_spans *spans, unsigned int nr)
{
	spans->span = kvmalloc_array(nr, sizeof(*spans->span), DMAWIRE_TARGET_GFP);
	return spans->span ? 0 : -ENOMEM;
}

static void spans_add(struct dmawire_spans *spans, dma_addr_t address,
		      size_t start, size_t length)
{
	spans->span[spans->nr++] = (struct dmawire_span) {
		.address = address,
		.start = start,
		.length = length,
	};
}

static int make_segments(struct dmawire_target *target)
{
	struct scatterlist *sg;
	size_t start = 0;
	unsigned int i;

	if (spans_alloc(&target->segments, target->sgt->nents))
		return -ENOMEM;

	for_each_sgtable_dma_sg(target->sgt, sg, i) {
		spans_add(&target->segments, sg_dma_address(sg), start,
			  sg_dma_len(sg));
		start += sg_dma_len(sg);
	}
	return 0;
}

static int make_runs(struct dmawire_target *target)
{
	struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(target->dmabuf);
	struct dmawire_survey survey;

	/* Each border is one of a segment or one between runs of pages. */
	dmawire_buffer_survey(buffer, &survey);
	if (spans_alloc(&target->runs, target->segments.nr + survey.nr_runs))
		return -ENOMEM;

	for (unsigned int i = 0; i < target->segments.nr; i++) {
		const struct dmawire_span *span = &target->segments.span[i];
		size_t length;

		for (size_t done = 0; done < span->length; done += length) {
			length = dmawire_buffer_contiguous(buffer,
							   span->start + done,
							   span->length - done);
			spans_add(&target->runs, span->address + done,
				  span->start + done, length);
			if (buffer->pages &&
			    dma_need_sync(target->dev, span->address + done))
				target->needs_sync = true;
		}
	}
	return 0;
}

static int map_for_device(struct dmawire_target *target)
{
	const struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(target->dmabuf);
	int ret;

	target->attach = dmawire_dmabuf_attach_own(target->dmabuf, target->dev);
	if (IS_ERR(target->attach))
		return PTR_ERR(target->attach);

	target->sgt = dma_buf_map_attachment_unlocked(target->attach,
						      buffer->direction);
	if (IS_ERR(target->sgt)) {
		ret = PTR_ERR(target->sgt);
		goto err_detach;
	}
	target->direction = dmawire_dmabuf_own_direction(target->attach);

	ret = make_segments(target);
	if (!ret)
		ret = make_runs(target);
	if (ret)
		goto err_unmap;
	return 0;

err_unmap:
	kvfree(target->runs.span);
	kvfree(target->segments.span);
	dma_buf_unmap_attachment_unlocked(target->attach, target->sgt,
					  target->direction);
err_detach:
	dma_buf_detach(target->dmabuf, target->attach);
	return ret;
}

/* Not through the dma-buf core, which warns if there is no memory for it. */
static int map_for_cpu(struct dmawire_target *target)
{
	target->vaddr = dmawire_buffer_vmap(dmawire_dmabuf_buffer(target->dmabuf));
	return target->vaddr ? 0 : -ENOMEM;
}

static void unmap(struct dmawire_target *target)
{
	if (!target->dev) {
		dmawire_buffer_vunmap(dmawire_dmabuf_buffer(target->dmabuf), target->vaddr);
		return;
	}
	kvfree(target->runs.span);
	kvfree(target->segments.span);
	dma_buf_unmap_attachment_unlocked(target->attach, target->sgt,
					  target->direction);
	dma_buf_detach(target->dmabuf, target->attach);
}

/**
 * dmawire_target_create - map a dma-buf for a device to write to
 * @dmabuf: of ours; the target takes over the caller's reference if this succeeds
 * @dev: the device, or NULL if the CPU is to write
 * @lock: protects what of the target changes
 *
 * Return: the target, or an ERR_PTR: -EINVAL if @dmabuf is not for writing, -EBUSY
 * if it is a target already, -ENOMEM, -EIO if the device cannot reach the memory.
 */
struct dmawire_target *dmawire_target_create(struct dma_buf *dmabuf,
					     struct device *dev,
					     struct spinlock *lock)
{
	struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(dmabuf);
	struct dmawire_target *target;
	int ret;

	if (buffer->direction == DMA_TO_DEVICE)
		return ERR_PTR(-EINVAL);
	/* There is one map of which pages are a device's. */
	if (test_and_set_bit(0, &buffer->is_target))
		return ERR_PTR(-EBUSY);

	ret = -ENOMEM;
	target = kzalloc_obj(*target, GFP_KERNEL_ACCOUNT);
	if (!target)
		goto err_clear_target;

	target->pages = kvcalloc(BITS_TO_LONGS(buffer->nr_pages),
				 sizeof(long), DMAWIRE_TARGET_GFP);
	if (!target->pages)
		goto err_free_target;

	target->dmabuf = dmabuf;
	target->lock = lock;
	target->dev = dev;
	target->context = dma_fence_context_alloc(1);
	if (dev)
		ret = map_for_device(target);
	else
		ret = map_for_cpu(target);
	if (ret)
		goto err_free_pages;
	return target;

err_free_pages:
	kvfree(target->pages);
err_free_target:
	kfree(target);
err_clear_target:
	clear_bit(0, &buffer->is_target);
	return ERR_PTR(ret);
}

/* Nothing of it is the device's any more. */
void dmawire_target_destroy(struct dmawire_target *target)
{
	WARN_ON(target->given || target->fence);
	unmap(target);
	clear_bit(0, &dmawire_dmabuf_buffer(target->dmabuf)->is_target);
	dma_buf_put(target->dmabuf);
	kvfree(target->pages);
	kfree(target);
}

/* Whether @range is one of the dma-buf's; its numbers may be anything. */
bool dmawire_target_has(const struct dmawire_target *target,
			const struct dmawire_range *range)
{
	size_t size = target->dmabuf->size;

	return PAGE_ALIGNED(range->offset) && range->offset < size &&
	       range->length && range->length <= size - range->offset;
}

/* Whether @range, one of the dma-buf's, begins and ends in steps of @alignment. */
bool dmawire_target_is_aligned(const struct dmawire_target *target,
			       const struct dmawire_range *range,
			       unsigned int alignment)
{
	size_t begin = dmawire_dmabuf_buffer(target->dmabuf)->offset + range->offset;

	return IS_ALIGNED(begin | range->length, alignment);
}

/* False if some of it is the device's already. */
bool dmawire_target_claim(struct dmawire_target *target,
			  const struct dmawire_range *range)
{
	unsigned long first = range->offset >> PAGE_SHIFT;
	unsigned long end = first + (PAGE_ALIGN(range->length) >> PAGE_SHIFT);

	lockdep_assert_held(target->lock);

	if (find_next_bit(target->pages, end, first) < end)
		return false;
	bitmap_set(target->pages, first, end - first);
	target->given++;
	return true;
}

void dmawire_target_release(struct dmawire_target *target,
			    const struct dmawire_range *range)
{
	unsigned long first = range->offset >> PAGE_SHIFT;
	unsigned long end = first + (PAGE_ALIGN(range->length) >> PAGE_SHIFT);

	lockdep_assert_held(target->lock);

	WARN_ON_ONCE(find_next_zero_bit(target->pages, end, first) < end);
	bitmap_clear(target->pages, first, end - first);
	target->given--;
}

/* The device was wedged with some of its pages and has been stopped. */
void dmawire_target_release_all(struct dmawire_target *target)
{
	lockdep_assert_held(target->lock);

	bitmap_zero(target->pages,
		    dmawire_dmabuf_buffer(target->dmabuf)->nr_pages);
	target->given = 0;
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

/* What of span @index lies in @range. */
static struct dmawire_segment cut(const struct dmawire_spans *spans,
				  unsigned int index,
				  const struct dmawire_range *range)
{
	const struct dmawire_span *span = &spans->span[index];
	size_t begin = max(span->start, range->offset);
	size_t end = min(span->start + span->length,
			 range->offset + range->length);

	return (struct dmawire_segment) {
		.address = span->address + (begin - span->start),
		.length = end - begin,
	};
}

/* How many segments @range has; @first is the first one's index. */
unsigned int dmawire_target_segments(const struct dmawire_target *target,
				     const struct dmawire_range *range,
				     unsigned int *first)
{
	*first = 0;
	if (!target->dev)
		return 0;
	*first = find_span(&target->segments, range->offset);
	return find_span(&target->segments,
			 range->offset + range->length - 1) - *first + 1;
}

struct dmawire_segment
dmawire_target_segment(const struct dmawire_target *target,
		       const struct dmawire_range *range, unsigned int index)
{
	return cut(&target->segments, index, range);
}

typedef void dmawire_target_sync_fn(struct device *dev, dma_addr_t address,
				    size_t length,
				    enum dma_data_direction direction);

/* The first @length bytes of @range. */
static void sync_range(const struct dmawire_target *target,
		       const struct dmawire_range *range, size_t length,
		       dmawire_target_sync_fn *sync)
{
	const struct dmawire_range part = { range->offset, length };
	size_t done = 0;

	if (!target->needs_sync)
		return;
	for (unsigned int i = find_span(&target->runs, part.offset);
	     done < part.length; i++) {
		struct dmawire_segment run = cut(&target->runs, i, &part);

		sync(target->dev, run.address, run.length, target->direction);
		done += run.length;
	}
}

/* The device is about to write; what it leaves out stays what the CPU wrote. */
void dmawire_target_sync_for_device(const struct dmawire_target *target,
				    const struct dmawire_range *range)
{
	sync_range(target, range, range->length, dma_sync_single_for_device);
}

/**
 * dmawire_target_sync_for_cpu - make what the device wrote visible to everyone
 * @target: the dma-buf
 * @range: what was given
 * @written: how many bytes of it the device has written, from the beginning on
 */
void dmawire_target_sync_for_cpu(const struct dmawire_target *target,
				 const struct dmawire_range *range, size_t written)
{
	/* All of it, lest a line of the vmap overwrites what is written after. */
	if (!target->dev)
		flush_kernel_vmap_range(target->vaddr + range->offset,
					range->length);
	sync_range(target, range, written, dma_sync_single_for_cpu);
}
