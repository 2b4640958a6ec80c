// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `contig`: one piece of physical memory, for devices that cannot gather
 * theirs from several. Its pages stand alone as those of `pages` do; if it is of a
 * CMA area they all go back there together.
 */
#include <linux/cma.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/topology.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "limbo.h"

/* No other memory will do, so it is worth an effort, but never the OOM killer. */
#define DMAWIRE_CONTIG_GFP \
	(GFP_HIGHUSER | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static int dmawire_backing_contig_init(struct dmawire_buffer *buffer,
				       const struct dmawire_buffer_params *params)
{
	if (params->folios || params->start || params->memfd ||
	    (params->cma && params->node != NUMA_NO_NODE))
		return -EINVAL;
	return dmawire_buffer_set_length(buffer, params->length, PAGE_SIZE);
}

/* The page allocator's blocks are powers of 2: what is too much is given back. */
static struct page *alloc_block(unsigned long nr_pages,
				const struct dmawire_buffer_params *params)
{
	const int order = order_base_2(nr_pages);
	struct page *page;

	if (order > MAX_PAGE_ORDER)
		return NULL;
	page = dmawire_pages_alloc_block(params, DMAWIRE_CONTIG_GFP | __GFP_ACCOUNT,
					 order);
	if (!page || !order)
		return page;

	split_page(page, order);
	for (unsigned long i = nr_pages; i < 1UL << order; i++)
		__free_page(page + i);
	return page;
}

/* Moves away what stands in the way. The memory cgroup is not charged. */
static struct page *alloc_range(unsigned long nr_pages,
				const struct dmawire_buffer_params *params)
{
	const int node = params->node == NUMA_NO_NODE ? numa_mem_id() : params->node;

	return alloc_contig_pages(nr_pages,
				  dmawire_gfp_of_zone(DMAWIRE_CONTIG_GFP, params->zone),
				  node, NULL);
}

static struct page *alloc_from_cma(struct cma *cma, unsigned long nr_pages)
{
	struct page *page = cma_alloc(cma, nr_pages, 0, true);

	if (!page) {
		/* The area is small, and may be full of what is on its way back. */
		dmawire_limbo_flush();
		page = cma_alloc(cma, nr_pages, 0, true);
	}
	if (!page)
		return NULL;

	for (unsigned long i = 0; i < nr_pages; i++) {
		clear_highpage(page + i);
		cond_resched();
	}
	return page;
}

static int dmawire_backing_contig_alloc(struct dmawire_buffer *buffer,
					const struct dmawire_buffer_params *params)
{
	const unsigned long nr_pages = buffer->nr_pages;
	struct page *page;

	if (params->cma) {
		if (!params->cma_area)
			return -EOPNOTSUPP;
		page = alloc_from_cma(params->cma_area, nr_pages);
		buffer->cma = params->cma_area;
	} else {
		page = alloc_block(nr_pages, params);
		if (!page && !DMAWIRE_COMPAT_HAS_ALLOC_CONTIG_PAGES &&
		    nr_pages > MAX_ORDER_NR_PAGES)
			return -EOPNOTSUPP;
		if (!page)
			page = alloc_range(nr_pages, params);
	}
	if (!page)
		return -ENOMEM;

	for (unsigned long i = 0; i < nr_pages; i++)
		buffer->pages[i] = page + i;
	return 0;
}

static void dmawire_backing_contig_free(struct dmawire_buffer *buffer)
{
	if (buffer->cma)
		cma_release(buffer->cma, buffer->pages[0], buffer->nr_pages);
	else
		dmawire_pages_free(buffer->pages, buffer->nr_pages);
}

static vm_fault_t dmawire_backing_contig_mkwrite(struct vm_fault *vmf)
{
	lock_page(vmf->page);
	return VM_FAULT_LOCKED;
}

/*
 * The kernel moves memory of a CMA area out of there before it pins it for long,
 * and tries so forever with pages that cannot be moved. Mappings that want to know
 * of writes it does not pin for long at all: EFAULT, before it has tried.
 */
static const struct vm_operations_struct dmawire_backing_contig_cma_vm_ops = {
	.fault = dmawire_pages_fault,
	.page_mkwrite = dmawire_backing_contig_mkwrite,
};

static int dmawire_backing_contig_mmap(struct dmawire_buffer *buffer,
				       struct vm_area_struct *vma)
{
	int ret = dmawire_pages_mmap(buffer, vma);

	if (buffer->cma)
		vma->vm_ops = &dmawire_backing_contig_cma_vm_ops;
	return ret;
}

/* Whether it is a mapping of memory of a CMA area that we have exported. */
bool dmawire_backing_contig_is_cma(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &dmawire_backing_contig_cma_vm_ops;
}

const struct dmawire_backing_ops dmawire_backing_contig = {
	.id = DMAWIRE_BACKING_CONTIG,
	.init = dmawire_backing_contig_init,
	.alloc = dmawire_backing_contig_alloc,
	.free = dmawire_backing_contig_free,
	.mmap = dmawire_backing_contig_mmap,
};
