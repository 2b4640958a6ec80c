// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers as dma-bufs: what importing devices, mappings and the kernel do with
 * them.
 *
 * There is one lock, the dma-buf's reservation lock. The dma-buf core holds it
 * around map, unmap, vmap and vunmap and whenever it changes the list of
 * attachments; we take it where CPU accesses walk that list.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "backing.h"
#include "buffer.h"
#include "dmabuf.h"

/**
 * struct dmawire_attachment - a device attached to a buffer
 * @sgt: the buffer in pieces that suit the device
 * @direction: DMA_NONE, or how @sgt is mapped; protected by the reservation lock
 */
struct dmawire_attachment {
	struct sg_table sgt;
	enum dma_data_direction direction;
};

static int dmawire_dmabuf_attach(struct dma_buf *dmabuf,
				 struct dma_buf_attachment *attach)
{
	/* Bounce buffers hold less than a segment may have otherwise. */
	size_t max_segment = min_t(size_t, dma_get_max_seg_size(attach->dev),
				   dma_max_mapping_size(attach->dev));
	struct dmawire_buffer *buffer = dmabuf->priv;
	struct dmawire_attachment *a;
	int ret;

	/* Its scatter-gather entries cannot hold the pages we are made of. */
	if (max_segment < PAGE_SIZE)
		return -EINVAL;

	a = kzalloc_obj(*a, GFP_KERNEL);
	if (!a)
		return -ENOMEM;

	ret = sg_alloc_table_from_pages_segment(&a->sgt, buffer->pages,
						buffer->nr_pages, 0,
						buffer->length, max_segment,
						GFP_KERNEL);
	if (ret) {
		kfree(a);
		return ret;
	}

	a->direction = DMA_NONE;
	attach->priv = a;
	return 0;
}

static void dmawire_dmabuf_detach(struct dma_buf *dmabuf,
				  struct dma_buf_attachment *attach)
{
	struct dmawire_attachment *a = attach->priv;

	sg_free_table(&a->sgt);
	kfree(a);
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
	/* An sg_table holds one mapping. */
	if (a->direction != DMA_NONE)
		return ERR_PTR(-EBUSY);

	ret = dma_map_sgtable(attach->dev, &a->sgt, direction, 0);
	if (ret)
		return ERR_PTR(ret);

	a->direction = direction;
	return &a->sgt;
}

static void dmawire_dmabuf_unmap(struct dma_buf_attachment *attach,
				 struct sg_table *sgt,
				 enum dma_data_direction direction)
{
	struct dmawire_attachment *a = attach->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	dma_unmap_sgtable(attach->dev, sgt, direction, 0);
	a->direction = DMA_NONE;
}

/*
 * The CPU takes the buffer over from every device that has it mapped. Always in
 * the mapping's own direction, even if the CPU says it will only write: it may
 * write part of a cache line, or of a bounce buffer, and the rest must then be
 * what the device wrote.
 */
static int dmawire_dmabuf_begin_cpu_access(struct dma_buf *dmabuf,
					   enum dma_data_direction access)
{
	struct dmawire_buffer *buffer = dmabuf->priv;
	struct dma_buf_attachment *attach;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		struct dmawire_attachment *a = attach->priv;

		if (a->direction != DMA_NONE)
			dma_sync_sgtable_for_cpu(attach->dev, &a->sgt,
						 a->direction);
	}
	if (dmabuf->vmapping_counter)
		invalidate_kernel_vmap_range(dmabuf->vmap_ptr.vaddr,
					     buffer->length);
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

/*
 * The CPU hands the buffer back. If it only read a buffer that is mapped both
 * ways there is nothing to carry over, and a bounce buffer must not be copied
 * back over what a device has written next to the part that was read.
 */
static int dmawire_dmabuf_end_cpu_access(struct dma_buf *dmabuf,
					 enum dma_data_direction access)
{
	struct dmawire_buffer *buffer = dmabuf->priv;
	struct dma_buf_attachment *attach;

	dma_resv_lock(dmabuf->resv, NULL);
	if (dmabuf->vmapping_counter)
		flush_kernel_vmap_range(dmabuf->vmap_ptr.vaddr, buffer->length);
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		struct dmawire_attachment *a = attach->priv;

		if (a->direction == DMA_BIDIRECTIONAL)
			dma_sync_sgtable_for_device(attach->dev, &a->sgt,
						    access);
		else if (a->direction != DMA_NONE)
			dma_sync_sgtable_for_device(attach->dev, &a->sgt,
						    a->direction);
	}
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

/* The dma-buf core has checked offset and length. */
static int dmawire_dmabuf_mmap(struct dma_buf *dmabuf,
			       struct vm_area_struct *vma)
{
	struct dmawire_buffer *buffer = dmabuf->priv;

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

	/* Who only reads it does not say so. */
	if (buffer->read_only)
		return -EACCES;

	vaddr = vmap(buffer->pages, buffer->nr_pages, VM_MAP, PAGE_KERNEL);
	if (!vaddr)
		return -ENOMEM;

	iosys_map_set_vaddr(map, vaddr);
	return 0;
}

static void dmawire_dmabuf_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	dma_resv_assert_held(dmabuf->resv);

	vunmap(map->vaddr);
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

	info.ops = &dmawire_dmabuf_ops;
	info.size = buffer->length;
	info.flags = writable ? O_RDWR : O_RDONLY;
	info.priv = buffer;
	return dma_buf_export(&info);
}

/**
 * dmawire_dmabuf_get - get the dma-buf behind a descriptor
 * @fd: any number
 *
 * Return: a dma-buf of ours, to be given back with dma_buf_put(), or an ERR_PTR:
 * -EBADF, -EINVAL if it is no dma-buf, -EXDEV if it is someone else's.
 */
struct dma_buf *dmawire_dmabuf_get(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	if (IS_ERR(dmabuf) || dmabuf->ops == &dmawire_dmabuf_ops)
		return dmabuf;

	dma_buf_put(dmabuf);
	return ERR_PTR(-EXDEV);
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
