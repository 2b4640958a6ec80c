// SPDX-License-Identifier: GPL-2.0
/*
 * The dma_buf_ops of buffers: attach, map, mmap, vmap, CPU access.
 *
 * There is one lock, the dma-buf's reservation lock. The dma-buf core holds it
 * around map, unmap, vmap and vunmap and whenever it changes the list of
 * attachments; we take it where CPU accesses walk that list.
 */
#include <linux/align.h>
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "backing.h"
#include "buffer.h"
#include "dmabuf.h"
#include "reach.h"

/* Charged to the process that attaches. */
#define DMAWIRE_TABLE_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* dma_buf_export() charges inode, dentry and file. */
#define DMAWIRE_EXPORT_SIZE (2 * SZ_1K)

/**
 * struct dmawire_attachment - a device attached to a buffer
 * @sgt: the buffer in pieces that suit the device; mapped, synced and unmapped
 * @copy: @sgt as the importer gets it, which may trim it (ib_umem_dmabuf does);
 *	empty for our own attachments
 * @direction: DMA_NONE, or how @sgt is mapped; protected by the reservation lock
 */
struct dmawire_attachment {
	struct sg_table sgt;
	struct sg_table copy;
	enum dma_data_direction direction;
};

/**
 * struct dmawire_segment_limits - limits of one segment of a device
 * @length: most bytes, at least PAGE_SIZE
 * @boundary: dma_get_seg_boundary(), a mask of at least a page
 */
struct dmawire_segment_limits {
	size_t length;
	unsigned long boundary;
};

/* Marks attachments of our capture queues. */
static const char dmawire_dmabuf_own;

static bool is_own(const struct dma_buf_attachment *attach)
{
	return attach->importer_priv == &dmawire_dmabuf_own;
}

/*
 * The address by which segments are cut before the buffer is mapped. The DMA address
 * differs by a multiple of the boundary, or the IOMMU pads so that no segment
 * crosses it.
 */
static u64 segment_address(const struct dmawire_buffer *buffer, size_t start)
{
	size_t begin = buffer->offset + start;

	if (!buffer->pages)
		return buffer->address + start;
	return page_to_phys(dmawire_buffer_page(buffer, begin >> PAGE_SHIFT)) +
	       offset_in_page(begin);
}

/* How long a segment is that begins there. It ends where a page does. */
static size_t segment_length(const struct dmawire_buffer *buffer, size_t start,
			     const struct dmawire_segment_limits *limits)
{
	size_t most = ALIGN_DOWN(limits->length, PAGE_SIZE) -
		      offset_in_page(buffer->offset + start);
	size_t to_boundary = limits->boundary -
			     (segment_address(buffer, start) & limits->boundary);

	most = min(most, buffer->length - start);
	if (to_boundary < most)
		most = to_boundary + 1;
	return dmawire_buffer_contiguous(buffer, start, most);
}

static int make_table(struct sg_table *sgt, const struct dmawire_buffer *buffer,
		      const struct dmawire_segment_limits *limits)
{
	unsigned int nr = 0;
	struct scatterlist *sg;
	size_t at, length;
	int ret, i;

	for (at = 0; at < buffer->length; at += segment_length(buffer, at, limits))
		dmawire_relax(nr++);
	ret = sg_alloc_table(sgt, nr, DMAWIRE_TABLE_GFP);
	if (ret)
		return ret;

	at = 0;
	for_each_sgtable_sg(sgt, sg, i) {
		const size_t begin = buffer->offset + at;

		length = segment_length(buffer, at, limits);
		if (buffer->pages) {
			sg_set_page(sg, dmawire_buffer_page(buffer, begin >> PAGE_SHIFT),
				    length, offset_in_page(begin));
		} else {
			/* Memory that is a device's is mapped for it already. */
			sg_dma_address(sg) = buffer->address + at;
			sg_dma_len(sg) = length;
		}
		at += length;
		dmawire_relax(i);
	}
	return 0;
}

static int dmawire_dmabuf_attach(struct dma_buf *dmabuf,
				 struct dma_buf_attachment *attach)
{
	struct dmawire_segment_limits limits = {
		.length = dma_get_max_seg_size(attach->dev),
		.boundary = dma_get_seg_boundary(attach->dev),
	};
	struct dmawire_buffer *buffer = dmabuf->priv;
	struct dmawire_attachment *a;
	int ret;

	/* Bounce buffers hold less than a segment may have otherwise. */
	if (buffer->pages)
		limits.length = min(limits.length, dma_max_mapping_size(attach->dev));
	/* Its scatter-gather entries cannot hold the pages we are made of. */
	if (limits.length < PAGE_SIZE || limits.boundary < PAGE_SIZE - 1)
		return -EINVAL;
	/* Importers take it for granted that a dma-buf is one of whole pages. */
	if (!is_own(attach) &&
	    (!buffer->pages || !dmawire_buffer_is_whole_pages(buffer)))
		return -EOPNOTSUPP;

	a = kzalloc_obj(*a, DMAWIRE_TABLE_GFP);
	if (!a)
		return -ENOMEM;

	ret = make_table(&a->sgt, buffer, &limits);
	if (ret)
		goto err_free;
	if (!is_own(attach))
		ret = make_table(&a->copy, buffer, &limits);
	if (ret)
		goto err_free_table;

	a->direction = DMA_NONE;
	attach->priv = a;
	return 0;

err_free_table:
	sg_free_table(&a->sgt);
err_free:
	kfree(a);
	return ret;
}

static void dmawire_dmabuf_detach(struct dma_buf *dmabuf,
				  struct dma_buf_attachment *attach)
{
	struct dmawire_attachment *a = attach->priv;

	sg_free_table(&a->copy);
	sg_free_table(&a->sgt);
	kfree(a);
}

/*
 * Cache maintenance works on whole lines: on a non-coherent device it would corrupt
 * CPU data that shares a line with the buffer, or device data in that line.
 */
static bool shares_cache_lines(const struct dmawire_buffer *buffer,
			       struct device *dev)
{
	size_t begin = buffer->offset, end = begin + buffer->length;

	return !dev_is_dma_coherent(dev) &&
	       !IS_ALIGNED(begin | end, dma_get_cache_alignment());
}

/* Own attachments are synced by range, at ENQUEUE and at completion (attachment.c). */
static unsigned long map_attrs(const struct dma_buf_attachment *attach)
{
	return is_own(attach) ? DMA_ATTR_SKIP_CPU_SYNC : 0;
}

static bool crosses_boundary(struct device *dev, const struct sg_table *sgt)
{
	const unsigned long boundary = dma_get_seg_boundary(dev);
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (boundary - (sg_dma_address(sg) & boundary) < sg_dma_len(sg) - 1)
			return true;
	return false;
}

static int map_table(struct dma_buf_attachment *attach,
		     enum dma_data_direction direction)
{
	struct dmawire_attachment *a = attach->priv;
	int ret;

	ret = dma_map_sgtable(attach->dev, &a->sgt, direction, map_attrs(attach));
	if (ret)
		return ret;
	a->direction = direction;
	return 0;
}

static void unmap_table(struct dma_buf_attachment *attach)
{
	struct dmawire_attachment *a = attach->priv;

	dma_unmap_sgtable(attach->dev, &a->sgt, a->direction, map_attrs(attach));
	a->direction = DMA_NONE;
}

/*
 * A device may write less than the whole range, and the rest must keep the CPU's
 * data. A sync for the device in direction FROM_DEVICE invalidates the CPU's dirty
 * cache lines on some machines (arm32), and leaves old data in a bounce buffer; in
 * direction BIDIRECTIONAL it writes back, or copies. Where neither is needed the
 * IOMMU mapping does not let the device read.
 */
static int map_pages(struct dma_buf_attachment *attach,
		     enum dma_data_direction direction)
{
	struct dmawire_attachment *a = attach->priv;
	int ret;

	ret = map_table(attach, direction);
	if (ret)
		return ret;
	if (is_own(attach) && direction == DMA_FROM_DEVICE &&
	    dmawire_reach_needs_sync(attach->dev, &a->sgt)) {
		unmap_table(attach);
		ret = map_table(attach, DMA_BIDIRECTIONAL);
		if (ret)
			return ret;
	}
	if (crosses_boundary(attach->dev, &a->sgt)) {
		unmap_table(attach);
		return -EIO;
	}
	return 0;
}

static struct sg_table *copy_for_importer(struct dmawire_attachment *a)
{
	struct scatterlist *from = a->sgt.sgl, *to;
	int i;

	/* Both tables were made alike, so that links between entries are as well. */
	for_each_sgtable_sg(&a->copy, to, i) {
		*to = *from;
		from = sg_next(from);
	}
	a->copy.nents = a->sgt.nents;
	return &a->copy;
}

static struct sg_table *dmawire_dmabuf_map(struct dma_buf_attachment *attach,
					   enum dma_data_direction direction)
{
	struct dmawire_buffer *buffer = attach->dmabuf->priv;
	struct dmawire_attachment *a = attach->priv;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (buffer->read_only && direction != DMA_TO_DEVICE)
		return ERR_PTR(-EACCES);
	if (direction != DMA_TO_DEVICE && shares_cache_lines(buffer, attach->dev))
		return ERR_PTR(-EOPNOTSUPP);
	/* The DMA core would WARN. */
	if (buffer->pages && !dmawire_reach_covers(attach->dev, buffer))
		return ERR_PTR(-EIO);
	/* An sg_table holds one mapping. */
	if (a->direction != DMA_NONE)
		return ERR_PTR(-EBUSY);

	/* Memory that is a device's own is mapped, and only we import it. */
	if (!buffer->pages) {
		a->direction = direction;
		return &a->sgt;
	}
	ret = map_pages(attach, direction);
	if (ret)
		return ERR_PTR(ret);
	return is_own(attach) ? &a->sgt : copy_for_importer(a);
}

static void dmawire_dmabuf_unmap(struct dma_buf_attachment *attach,
				 struct sg_table *sgt,
				 enum dma_data_direction direction)
{
	const struct dmawire_buffer *buffer = attach->dmabuf->priv;
	struct dmawire_attachment *a = attach->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (buffer->pages)
		unmap_table(attach);
	else
		a->direction = DMA_NONE;
}

typedef void dmawire_dmabuf_sync_fn(struct device *dev, dma_addr_t address,
				    size_t length,
				    enum dma_data_direction direction);

/* A segment contiguous for the device may not be so in memory: one sync per run. */
static void sync_part(struct dma_buf_attachment *attach,
		      const struct dmawire_range *range,
		      enum dma_data_direction direction,
		      dmawire_dmabuf_sync_fn *sync)
{
	const struct dmawire_buffer *buffer = attach->dmabuf->priv;
	struct dmawire_attachment *a = attach->priv;
	const size_t range_end = range->offset + range->length;
	size_t start = 0, length;
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(&a->sgt, sg, i) {
		size_t end = min(start + sg_dma_len(sg), range_end);

		for (size_t at = max(start, range->offset); at < end; at += length) {
			length = dmawire_buffer_contiguous(buffer, at, end - at);
			sync(attach->dev, sg_dma_address(sg) + (at - start),
			     length, direction);
		}
		start += sg_dma_len(sg);
		if (start >= range_end)
			break;
	}
}

static bool is_all(const struct dma_buf *dmabuf, const struct dmawire_range *range)
{
	const struct dmawire_buffer *buffer = dmabuf->priv;

	return range->length == buffer->length;
}

/* Memory that is a device's is coherent, and is for no other. */
static bool needs_no_sync(const struct dma_buf *dmabuf)
{
	const struct dmawire_buffer *buffer = dmabuf->priv;

	return !buffer->pages;
}

/* Own attachments are synced by range, at ENQUEUE and at completion. */
static bool is_synced(const struct dma_buf_attachment *attach)
{
	const struct dmawire_attachment *a = attach->priv;

	return !is_own(attach) && a->direction != DMA_NONE;
}

/*
 * Syncs a range for the CPU for every importer that has it mapped. Always in the
 * mapping's own direction, even if the CPU will only write: it may write part of a
 * cache line or of a bounce buffer, and the rest must then be the device's data.
 */
static void sync_for_cpu(struct dma_buf *dmabuf, const struct dmawire_range *range)
{
	struct dma_buf_attachment *attach;

	if (needs_no_sync(dmabuf))
		return;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		struct dmawire_attachment *a = attach->priv;

		if (!is_synced(attach))
			continue;
		if (is_all(dmabuf, range))
			dma_sync_sgtable_for_cpu(attach->dev, &a->sgt,
						 a->direction);
		else
			sync_part(attach, range, a->direction,
				  dma_sync_single_for_cpu);
	}
	/* Not invalidated: an importer may have written through the vmap. */
	if (dmabuf->vmapping_counter)
		flush_kernel_vmap_range(dmabuf->vmap_ptr.vaddr + range->offset,
					range->length);
	dma_resv_unlock(dmabuf->resv);
}

/*
 * Syncs a range for the importers. After a CPU read of a buffer that is mapped both
 * ways there is nothing to write back, and a copy to the bounce buffer would
 * overwrite data that a device has written next to the part that was read.
 */
static void sync_for_device(struct dma_buf *dmabuf,
			    const struct dmawire_range *range,
			    enum dma_data_direction access)
{
	struct dma_buf_attachment *attach;

	if (needs_no_sync(dmabuf))
		return;

	dma_resv_lock(dmabuf->resv, NULL);
	if (dmabuf->vmapping_counter)
		flush_kernel_vmap_range(dmabuf->vmap_ptr.vaddr + range->offset,
					range->length);
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		struct dmawire_attachment *a = attach->priv;
		enum dma_data_direction direction = a->direction;

		if (!is_synced(attach))
			continue;
		if (direction == DMA_BIDIRECTIONAL)
			direction = access;
		if (is_all(dmabuf, range))
			dma_sync_sgtable_for_device(attach->dev, &a->sgt,
						    direction);
		else
			sync_part(attach, range, direction,
				  dma_sync_single_for_device);
	}
	dma_resv_unlock(dmabuf->resv);
}

static int dmawire_dmabuf_begin_cpu_access(struct dma_buf *dmabuf,
					   enum dma_data_direction access)
{
	const struct dmawire_buffer *buffer = dmabuf->priv;
	const struct dmawire_range all = { 0, buffer->length };
	const bool write = access != DMA_FROM_DEVICE;
	long ret;

	/* The core waits after this, when it would be too late for the sync. */
	ret = dma_resv_wait_timeout(dmabuf->resv, dma_resv_usage_rw(write), true,
				    MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		return ret;
	sync_for_cpu(dmabuf, &all);
	return 0;
}

static int dmawire_dmabuf_end_cpu_access(struct dma_buf *dmabuf,
					 enum dma_data_direction access)
{
	const struct dmawire_buffer *buffer = dmabuf->priv;
	const struct dmawire_range all = { 0, buffer->length };

	sync_for_device(dmabuf, &all, access);
	return 0;
}

/* The dma-buf core has checked offset and length. */
static int dmawire_dmabuf_mmap(struct dma_buf *dmabuf,
			       struct vm_area_struct *vma)
{
	struct dmawire_buffer *buffer = dmabuf->priv;

	if (!buffer->backing->mmap)
		return -EOPNOTSUPP;
	/* Not VM_SHARED: a shared mapping of a read-only file lacks that. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	/* An importer may pass on a mapping of its own, writable file. */
	if (!dmawire_dmabuf_is_writable(dmabuf)) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}

	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	return buffer->backing->mmap(buffer, vma);
}

/* Called for the first of nested vmaps only; the dma-buf core counts them. */
static int dmawire_dmabuf_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dmawire_buffer *buffer = dmabuf->priv;
	void *vaddr;

	dma_resv_assert_held(dmabuf->resv);

	vaddr = dmawire_buffer_vmap(buffer);
	if (!vaddr)
		return -ENOMEM;

	iosys_map_set_vaddr(map, vaddr);
	return 0;
}

static void dmawire_dmabuf_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	const struct dmawire_buffer *buffer = dmabuf->priv;

	dma_resv_assert_held(dmabuf->resv);

	dmawire_buffer_vunmap(buffer, map->vaddr);
	iosys_map_clear(map);
}

static void dmawire_dmabuf_release(struct dma_buf *dmabuf)
{
	dmawire_buffer_destroy(dmabuf->priv);
}

static const struct dma_buf_ops dmawire_dmabuf_ops = {
	.attach = dmawire_dmabuf_attach,
	.detach = dmawire_dmabuf_detach,
	.map_dma_buf = dmawire_dmabuf_map,
	.unmap_dma_buf = dmawire_dmabuf_unmap,
	.begin_cpu_access = dmawire_dmabuf_begin_cpu_access,
	.end_cpu_access = dmawire_dmabuf_end_cpu_access,
	.mmap = dmawire_dmabuf_mmap,
	.vmap = dmawire_dmabuf_vmap,
	.vunmap = dmawire_dmabuf_vunmap,
	.release = dmawire_dmabuf_release,
};

/*
 * The core WARNs if .vmap fails, and returns EINVAL if it is NULL. Coherent memory
 * of a device could not be revoked from a vmap; a vmap of a read-only buffer does
 * not say whether it is for reading.
 */
static const struct dma_buf_ops dmawire_dmabuf_ops_without_vmap = {
	.attach = dmawire_dmabuf_attach,
	.detach = dmawire_dmabuf_detach,
	.map_dma_buf = dmawire_dmabuf_map,
	.unmap_dma_buf = dmawire_dmabuf_unmap,
	.begin_cpu_access = dmawire_dmabuf_begin_cpu_access,
	.end_cpu_access = dmawire_dmabuf_end_cpu_access,
	.mmap = dmawire_dmabuf_mmap,
	.release = dmawire_dmabuf_release,
};

static bool is_ours(const struct dma_buf *dmabuf)
{
	return dmabuf->ops == &dmawire_dmabuf_ops ||
	       dmabuf->ops == &dmawire_dmabuf_ops_without_vmap;
}

/*
 * dma_buf_export() charges the caller's memory cgroup with plain GFP_KERNEL, which
 * invokes the OOM killer at the limit. So the same amount is charged and uncharged
 * first, and a failure is ENOMEM. If other tasks use up the rest of the limit in
 * between, PF_MEMALLOC lets the export exceed it. If memory runs out, the export
 * uses a few pages of the reserves or fails with -ENOMEM.
 */
static struct dma_buf *export_without_oom(const struct dma_buf_export_info *info)
{
	void *trial = kmalloc(DMAWIRE_EXPORT_SIZE, DMAWIRE_TABLE_GFP);
	struct dma_buf *dmabuf;
	unsigned int flags;

	if (!trial)
		return ERR_PTR(-ENOMEM);
	kfree(trial);

	flags = memalloc_noreclaim_save();
	dmabuf = dma_buf_export(info);
	memalloc_noreclaim_restore(flags);
	return dmabuf;
}

/**
 * dmawire_dmabuf_export - make a dma-buf of a buffer
 * @buffer: belongs to the dma-buf from now on, if this succeeds
 * @writable: whether the dma-buf's descriptors may be mapped for writing
 *
 * Return: the dma-buf, with a reference for the caller, or an ERR_PTR.
 */
struct dma_buf *dmawire_dmabuf_export(struct dmawire_buffer *buffer,
				      bool writable)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.ops = buffer->pages && !buffer->read_only ?
			   &dmawire_dmabuf_ops : &dmawire_dmabuf_ops_without_vmap;
	info.size = buffer->length;
	info.flags = writable ? O_RDWR : O_RDONLY;
	info.priv = buffer;
	dmabuf = export_without_oom(&info);
	if (IS_ERR(dmabuf))
		return dmabuf;

	ihold(file_inode(dmabuf->file));
	WRITE_ONCE(buffer->inode, file_inode(dmabuf->file));
	return dmabuf;
}

/**
 * dmawire_dmabuf_get - get the dma-buf behind a descriptor
 * @fd: any number
 *
 * Return: a dma-buf of ours, to be released with dma_buf_put(), or an ERR_PTR:
 * -EBADF, -EINVAL if it is no dma-buf, -EXDEV if it is someone else's.
 */
struct dma_buf *dmawire_dmabuf_get(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	if (IS_ERR(dmabuf) || is_ours(dmabuf))
		return dmabuf;

	dma_buf_put(dmabuf);
	return ERR_PTR(-EXDEV);
}

/**
 * dmawire_dmabuf_sync - bracket CPU access to part of a dma-buf
 * @dmabuf: of ours
 * @offset: where the part begins
 * @length: bytes; 0 means to the end
 * @access: direction of the CPU's access
 * @end: the access has ended; else it begins
 *
 * Return: 0, or -EINVAL if the part exceeds the dma-buf.
 */
int dmawire_dmabuf_sync(struct dma_buf *dmabuf, u64 offset, u64 length,
			enum dma_data_direction access, bool end)
{
	const struct dmawire_buffer *buffer = dmabuf->priv;
	struct dmawire_range range;

	if (offset >= buffer->length || length > buffer->length - offset)
		return -EINVAL;

	/* Rounded to pages: caches and bounce buffers are synced in whole pages. */
	range.offset = ALIGN_DOWN(offset, PAGE_SIZE);
	range.length = length ? min(ALIGN(offset + length, PAGE_SIZE), buffer->length) :
				buffer->length;
	range.length -= range.offset;
	if (end)
		sync_for_device(dmabuf, &range, access);
	else
		sync_for_cpu(dmabuf, &range);
	return 0;
}

/**
 * dmawire_dmabuf_attach_own - attach a dma-buf to a device of dmawire's
 * @dmabuf: of ours
 * @dev: the device
 *
 * Unlike other importers it gets buffers that begin or end within a page.
 *
 * Return: the attachment, for dma_buf_detach(), or an ERR_PTR.
 */
struct dma_buf_attachment *dmawire_dmabuf_attach_own(struct dma_buf *dmabuf,
						     struct device *dev)
{
	return dma_buf_dynamic_attach(dmabuf, dev, NULL, (void *)&dmawire_dmabuf_own);
}

/* How an own attachment is mapped, which is how it has to be synced. */
enum dma_data_direction
dmawire_dmabuf_own_direction(const struct dma_buf_attachment *attach)
{
	const struct dmawire_attachment *a = attach->priv;

	return a->direction;
}

/* @dmabuf is one of ours; the buffer lives as long as it does. */
struct dmawire_buffer *dmawire_dmabuf_buffer(struct dma_buf *dmabuf)
{
	return dmabuf->priv;
}

bool dmawire_dmabuf_is_writable(const struct dma_buf *dmabuf)
{
	return dmabuf->file->f_mode & FMODE_WRITE;
}
