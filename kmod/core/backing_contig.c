// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `contig`: physically contiguous memory, for devices without
 * scatter-gather. Each page has its own reference count, as in backing `pages`;
 * pages of a CMA area are released together.
 *
 * A block of the page allocator is charged to the memory cgroup. Ranges from
 * alloc_contig_range() and CMA cannot be charged, so they count against
 * RLIMIT_MEMLOCK. A length that the page allocator has blocks for is never allocated
 * from a range or CMA: that would bypass a full cgroup.
 */
#include <linux/cma.h>
#include <linux/align.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/page_ref.h>
#include <linux/pageblock-flags.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "reclaim.h"
#include "memlock.h"

/* No other memory will do, so it is worth an effort, but never the OOM killer. */
#define DMAWIRE_CONTIG_GFP (GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)
#define DMAWIRE_CONTIG_BLOCK_GFP (DMAWIRE_CONTIG_GFP | __GFP_ZERO | __GFP_ACCOUNT)

static int dmawire_backing_contig_init(struct dmawire_buffer *buffer,
				       const struct dmawire_buffer_params *params)
{
	if (params->folios || params->start || params->memfd ||
	    (params->cma && params->node != NUMA_NO_NODE))
		return -EINVAL;
	return dmawire_buffer_set_length(buffer, params->length, PAGE_SIZE);
}

/* Blocks of the page allocator are powers of 2: the pages in excess are freed. */
static struct page *alloc_block(unsigned long nr_pages,
				const struct dmawire_buffer_params *params)
{
	const int order = order_base_2(nr_pages);
	struct page *page;

	page = dmawire_pages_alloc_block(params, DMAWIRE_CONTIG_BLOCK_GFP, order);
	if (!page || !order)
		return page;

	split_page(page, order);
	for (unsigned long i = nr_pages; i < 1UL << order; i++)
		__free_page(page + i);
	return page;
}

/*
 * A guess without locks, so that alloc_contig_range(), which drains the lists of all
 * CPUs, is called for promising ranges only: the page is free or on an LRU list.
 */
static bool may_migrate(struct page *page)
{
	page = compound_head(page);
	if (PageReserved(page))
		return false;
	if (PageBuddy(page) || PageLRU(page))
		return true;
	return !page_ref_count(page) && !page_has_type(page);
}

/* The first page from @pfn on, before @end, that may not be migratable; or @end. */
static unsigned long find_obstacle(struct zone *zone, unsigned long pfn,
				   unsigned long end)
{
	for (; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || page_zone(page) != zone || !may_migrate(page))
			break;
		dmawire_relax(pfn);
	}
	return pfn;
}

/*
 * Not alloc_contig_pages(), which goes on to the next range, to the end of memory,
 * when it was a fatal signal that ended the search of one.
 */
static int alloc_from_zone(struct zone *zone, unsigned long nr_pages,
			   struct page **page)
{
	unsigned long pfn = ALIGN(zone->zone_start_pfn, pageblock_nr_pages);
	unsigned long obstacle;
	int ret;

	for (; zone_spans_pfn(zone, pfn + nr_pages - 1);
	     pfn = ALIGN(obstacle + 1, pageblock_nr_pages)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		obstacle = find_obstacle(zone, pfn, pfn + nr_pages);
		if (obstacle < pfn + nr_pages)
			continue;
		ret = dmawire_compat_contig_range(pfn, pfn + nr_pages,
						  DMAWIRE_CONTIG_GFP);
		if (!ret)
			*page = pfn_to_page(pfn);
		if (ret != -EBUSY)
			return ret;
		obstacle = pfn + nr_pages - 1;
		cond_resched();
	}
	return -EBUSY;
}

static int alloc_from_node(int node, gfp_t gfp, unsigned long nr_pages,
			   struct page **page)
{
	int ret = -EBUSY;

	for (int i = gfp_zone(gfp); i >= 0 && ret == -EBUSY; i--) {
		struct zone *zone = NODE_DATA(node)->node_zones + i;

		if (populated_zone(zone))
			ret = alloc_from_zone(zone, nr_pages, page);
	}
	return ret;
}

static void clear_pages_of(struct page *page, unsigned long nr_pages)
{
	for (unsigned long i = 0; i < nr_pages; i++) {
		clear_highpage(page + i);
		cond_resched();
	}
}

/* Allocates a range by migrating its pages, on the preferred node first. */
static int alloc_range(unsigned long nr_pages,
		       const struct dmawire_buffer_params *params,
		       struct page **page)
{
	const int preferred = params->node == NUMA_NO_NODE ? numa_mem_id() : params->node;
	const gfp_t gfp = dmawire_gfp_of_zone(DMAWIRE_CONTIG_GFP, params->zone);
	int ret, node;

	ret = alloc_from_node(preferred, gfp, nr_pages, page);
	for_each_node_state(node, N_MEMORY)
		if (ret == -EBUSY && node != preferred)
			ret = alloc_from_node(node, gfp, nr_pages, page);
	if (!ret)
		clear_pages_of(*page, nr_pages);
	return ret == -EBUSY ? -ENOMEM : ret;
}

static int alloc_from_cma(struct cma *cma, unsigned long nr_pages,
			  struct page **page)
{
	*page = cma_alloc(cma, nr_pages, 0, true);
	if (!*page && !fatal_signal_pending(current)) {
		/* The area is small: buffers that wait for reclaim may fill it. */
		dmawire_reclaim_flush();
		*page = cma_alloc(cma, nr_pages, 0, true);
	}
	if (!*page)
		return fatal_signal_pending(current) ? -EINTR : -ENOMEM;

	clear_pages_of(*page, nr_pages);
	return 0;
}

/* Memory of no cgroup. */
static int alloc_locked(struct dmawire_buffer *buffer,
			const struct dmawire_buffer_params *params,
			struct page **page)
{
	int ret;

	if (params->cma ? !params->cma_area : !DMAWIRE_COMPAT_HAS_CONTIG_RANGE)
		return -EOPNOTSUPP;

	ret = dmawire_memlock_charge(&buffer->memlock, buffer->nr_pages);
	if (ret)
		return ret;

	if (params->cma)
		ret = alloc_from_cma(params->cma_area, buffer->nr_pages, page);
	else
		ret = alloc_range(buffer->nr_pages, params, page);
	if (ret)
		dmawire_memlock_uncharge(&buffer->memlock);
	return ret;
}

static int dmawire_backing_contig_alloc(struct dmawire_buffer *buffer,
					const struct dmawire_buffer_params *params)
{
	const unsigned long nr_pages = buffer->nr_pages;
	struct page *page;
	int ret = 0;

	if (params->cma || nr_pages > MAX_ORDER_NR_PAGES) {
		ret = alloc_locked(buffer, params, &page);
	} else {
		page = alloc_block(nr_pages, params);
		if (!page)
			ret = -ENOMEM;
	}
	if (ret)
		return ret;

	buffer->cma = params->cma ? params->cma_area : NULL;
	for (unsigned long i = 0; i < nr_pages; i++) {
		buffer->pages[i] = page + i;
		dmawire_relax(i);
	}
	return 0;
}

static void dmawire_backing_contig_free(struct dmawire_buffer *buffer)
{
	if (buffer->cma)
		cma_release(buffer->cma, buffer->pages[0], buffer->nr_pages);
	else
		dmawire_pages_free(buffer->pages, buffer->nr_pages);
	dmawire_memlock_uncharge(&buffer->memlock);
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
