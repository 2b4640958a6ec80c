// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `coherent`: memory that a device and the CPU see alike without syncing.
 *
 * For a cache-coherent device that reaches all memory, any pages will do: it gets
 * the pages of backing `pages`. Other devices get memory from dma_alloc_coherent().
 * That memory is freed with the device, has no struct page to take references on,
 * and cannot be mapped for another device.
 */
#include <linux/cc_platform.h>
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/numa.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "memlock.h"
#include "reach.h"

/* An effort, but no process is worth killing for it. */
#define DMAWIRE_COHERENT_GFP (GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

#define DMAWIRE_COHERENT_TABLE_GFP (DMAWIRE_COHERENT_GFP | __GFP_ACCOUNT)

/* Pages mapped by one fault. */
#define DMAWIRE_COHERENT_BATCH 512UL

/*
 * Protects the list, and the memory of each buffer in it from being freed: a page
 * fault holds it while it inserts the PFNs.
 */
static DEFINE_MUTEX(coherent_lock);
/* Buffers with memory that is a device's. */
static LIST_HEAD(coherent_buffers);

static int dmawire_backing_coherent_init(struct dmawire_buffer *buffer,
					 const struct dmawire_buffer_params *params)
{
	if (params->folios || params->start || params->memfd ||
	    params->node != NUMA_NO_NODE)
		return -EINVAL;
	return dmawire_buffer_set_length(buffer, params->length, PAGE_SIZE);
}

/* 1 if @dev sees the buffer's pages as the CPU does, 0 or an error. Found by trying. */
static int dev_maps_coherently(struct device *dev,
			       const struct dmawire_buffer *buffer)
{
	const size_t max_segment = min_t(size_t, dma_get_max_seg_size(dev),
					 dma_max_mapping_size(dev));
	struct sg_table sgt;
	int ret;

	if (max_segment < PAGE_SIZE || !dmawire_reach_covers(dev, buffer))
		return 0;
	ret = sg_alloc_table_from_pages_segment(&sgt, buffer->pages, buffer->nr_pages, 0,
						buffer->length, max_segment,
						DMAWIRE_COHERENT_TABLE_GFP);
	if (ret)
		return ret;

	ret = dma_map_sgtable(dev, &sgt, DMA_BIDIRECTIONAL, 0);
	if (!ret) {
		ret = !dmawire_reach_needs_sync(dev, &sgt);
		dma_unmap_sgtable(dev, &sgt, DMA_BIDIRECTIONAL, 0);
	} else if (ret != -ENOMEM) {
		/* It does not see them at all. */
		ret = 0;
	}
	sg_free_table(&sgt);
	return ret;
}

static int alloc_from_device(struct dmawire_buffer *buffer, struct device *dev,
			     const void *owner)
{
	int ret;

	/* Memory that is not encrypted it would be there, and mapped as if it was. */
	if (!dev->coherent_dma_mask || cc_platform_has(CC_ATTR_MEM_ENCRYPT))
		return -EOPNOTSUPP;

	/* dma_alloc_coherent() charges no memory cgroup. */
	ret = dmawire_memlock_charge(&buffer->memlock, buffer->nr_pages);
	if (ret)
		return ret;

	buffer->vaddr = dma_alloc_coherent(dev, buffer->length, &buffer->address,
					   DMAWIRE_COHERENT_GFP);
	if (!buffer->vaddr) {
		dmawire_memlock_uncharge(&buffer->memlock);
		return -ENOMEM;
	}

	kvfree(buffer->pages);
	buffer->pages = NULL;
	buffer->owner = owner;
	buffer->dev = dev;
	buffer->is_cached = dev_is_dma_coherent(dev);
	mutex_lock(&coherent_lock);
	list_add_tail(&buffer->link, &coherent_buffers);
	mutex_unlock(&coherent_lock);
	return 0;
}

static int dmawire_backing_coherent_alloc(struct dmawire_buffer *buffer,
					  const struct dmawire_buffer_params *params)
{
	struct device *dev = params->dev;
	int ret;

	if (IS_ERR(dev))
		return PTR_ERR(dev);

	if (dev_is_dma_coherent(dev)) {
		ret = dmawire_pages_alloc(buffer, params);
		if (ret)
			return ret;
		ret = dev_maps_coherently(dev, buffer);
		if (ret > 0)
			return 0;
		dmawire_pages_free(buffer->pages, buffer->nr_pages);
		if (ret)
			return ret;
	}
	return alloc_from_device(buffer, dev, params->owner);
}

static void free_to_device(struct dmawire_buffer *buffer)
{
	lockdep_assert_held(&coherent_lock);

	dma_free_coherent(buffer->dev, buffer->length, buffer->vaddr,
			  buffer->address);
	dmawire_memlock_uncharge(&buffer->memlock);
	buffer->vaddr = NULL;
	list_del(&buffer->link);
}

static void dmawire_backing_coherent_free(struct dmawire_buffer *buffer)
{
	if (buffer->pages) {
		dmawire_pages_free(buffer->pages, buffer->nr_pages);
		return;
	}
	mutex_lock(&coherent_lock);
	if (buffer->vaddr)
		free_to_device(buffer);
	mutex_unlock(&coherent_lock);
}

/**
 * dmawire_coherent_revoke - give a device its memory back
 * @owner: owner of the buffers, as passed to their creation
 *
 * Called when no attachment maps the buffers and no new attachment can be created.
 * An access to a mapping of a revoked buffer is SIGBUS from now on.
 */
void dmawire_coherent_revoke(const void *owner)
{
	struct dmawire_buffer *buffer, *next;
	struct inode *inode;

	mutex_lock(&coherent_lock);
	list_for_each_entry_safe(buffer, next, &coherent_buffers, link) {
		if (buffer->owner != owner)
			continue;
		/*
		 * NULL before the export, and then nothing has it mapped. The struct
		 * file may be gone: a descriptor opened with O_PATH keeps only the
		 * dentry, and with that the dma-buf.
		 */
		inode = READ_ONCE(buffer->inode);
		if (inode)
			unmap_mapping_range(inode->i_mapping, 0, 0, 1);
		free_to_device(buffer);
	}
	mutex_unlock(&coherent_lock);
}

static unsigned long pfn_of(const void *vaddr)
{
	return is_vmalloc_addr(vaddr) ? vmalloc_to_pfn(vaddr) :
					PHYS_PFN(virt_to_phys((void *)vaddr));
}

static vm_fault_t dmawire_backing_coherent_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct dmawire_buffer *buffer = vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	unsigned long nr_pages;

	if (vmf->pgoff >= buffer->nr_pages)
		return VM_FAULT_SIGBUS;

	nr_pages = min3(DMAWIRE_COHERENT_BATCH, buffer->nr_pages - vmf->pgoff,
			(vma->vm_end - vmf->address) >> PAGE_SHIFT);
	mutex_lock(&coherent_lock);
	for (unsigned long i = 0; buffer->vaddr && i < nr_pages; i++) {
		ret = vmf_insert_pfn(vma, vmf->address + i * PAGE_SIZE,
				     pfn_of(buffer->vaddr +
					    (vmf->pgoff + i) * PAGE_SIZE));
		if (ret != VM_FAULT_NOPAGE) {
			/* The page that is wanted is there, if not all. */
			ret = i ? VM_FAULT_NOPAGE : ret;
			break;
		}
	}
	mutex_unlock(&coherent_lock);
	return ret;
}

static const struct vm_operations_struct dmawire_backing_coherent_vm_ops = {
	.fault = dmawire_backing_coherent_fault,
};

static int dmawire_backing_coherent_mmap(struct dmawire_buffer *buffer,
					 struct vm_area_struct *vma)
{
	if (buffer->pages)
		return dmawire_pages_mmap(buffer, vma);

	/* By address: there is nothing to take a reference to. */
	vm_flags_set(vma, VM_IO | VM_PFNMAP);
	if (!buffer->is_cached)
		vma->vm_page_prot = pgprot_dmacoherent(vma->vm_page_prot);
	vma->vm_ops = &dmawire_backing_coherent_vm_ops;
	/* Lives as long as vma->vm_file, which is the dma-buf's. */
	vma->vm_private_data = buffer;
	return 0;
}

const struct dmawire_backing_ops dmawire_backing_coherent = {
	.id = DMAWIRE_BACKING_COHERENT,
	.init = dmawire_backing_coherent_init,
	.alloc = dmawire_backing_coherent_alloc,
	.free = dmawire_backing_coherent_free,
	.mmap = dmawire_backing_coherent_mmap,
};
