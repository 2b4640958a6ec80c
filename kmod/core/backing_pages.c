// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `pages`: the largest blocks the page allocator has at hand, split so
 * that each page has its own reference count and can be mapped, pinned, sent and
 * freed by itself. Or, on request, folios of one size: the pages of a folio share
 * its reference count, in which each page has one reference.
 */
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"

#define DMAWIRE_PAGES_GFP (GFP_HIGHUSER | __GFP_ZERO | __GFP_ACCOUNT | __GFP_NOWARN)

/* Large blocks are a bonus: allocate free ones, do not reclaim or compact. */
#define DMAWIRE_BLOCK_GFP ((DMAWIRE_PAGES_GFP | __GFP_NORETRY) & ~__GFP_RECLAIM)

/* Of one node alone, single pages too: there are others before any are reclaimed. */
#define DMAWIRE_LOCAL_GFP (DMAWIRE_BLOCK_GFP | __GFP_THISNODE)

/*
 * Folios were asked for, so make room for them, once: it is no use to write back
 * half the page cache for a block that may never come together.
 */
#define DMAWIRE_FOLIO_GFP (DMAWIRE_PAGES_GFP | __GFP_COMP | __GFP_NORETRY)

/*
 * Single pages are worth reclaiming for, but no process is worth killing for a
 * buffer: __GFP_RETRY_MAYFAIL fails where the OOM killer, the machine's or the
 * memory cgroup's, would wake up.
 */
#define DMAWIRE_SINGLE_GFP (DMAWIRE_PAGES_GFP | __GFP_RETRY_MAYFAIL)

/* How many pages are freed between two chances for others to run. */
#define DMAWIRE_FREE_BATCH 512UL

/* Pages mapped by one fault; the rest of them would fault soon anyway. */
#define DMAWIRE_FAULT_BATCH 64UL

/* A block of the node, and of the zone, that were asked for. */
struct page *dmawire_pages_alloc_block(const struct dmawire_buffer_params *params,
				       gfp_t gfp, int order)
{
	gfp = dmawire_gfp_of_zone(gfp, params->zone);
	/* alloc_pages() obeys the caller's memory policy, the other does not. */
	if (params->node == NUMA_NO_NODE)
		return alloc_pages(gfp, order);
	return alloc_pages_node(params->node, gfp, order);
}

static struct page *alloc_anywhere(const struct dmawire_buffer_params *params,
				   int order)
{
	return dmawire_pages_alloc_block(params, order ? DMAWIRE_BLOCK_GFP :
							 DMAWIRE_SINGLE_GFP, order);
}

static struct page *alloc_local(const struct dmawire_buffer_params *params, int order)
{
	const int node = params->node == NUMA_NO_NODE ? numa_mem_id() : params->node;

	return alloc_pages_node(node, dmawire_gfp_of_zone(DMAWIRE_LOCAL_GFP, params->zone),
				order);
}

/* Whether there is a node to be preferred: a task's memory policy may name others. */
static bool has_local(const struct dmawire_buffer_params *params)
{
	return num_node_state(N_MEMORY) > 1 &&
	       (params->node != NUMA_NO_NODE || !dmawire_compat_has_mempolicy());
}

/*
 * Fills @pages with blocks of falling size, split into pages that stand alone, until
 * not even a single page is to be had. Returns how many pages that made.
 */
static unsigned long
alloc_blocks(struct page **pages, unsigned long nr_pages,
	     const struct dmawire_buffer_params *params,
	     struct page *(*alloc)(const struct dmawire_buffer_params *params, int order))
{
	int order = MAX_PAGE_ORDER;
	unsigned long done = 0;
	struct page *page;

	while (done < nr_pages && order >= 0 && !fatal_signal_pending(current)) {
		order = min(order, ilog2(nr_pages - done));
		page = alloc(params, order);
		if (page) {
			if (order)
				split_page(page, order);
			for (unsigned long i = 0; i < 1UL << order; i++)
				pages[done++] = page + i;
		} else {
			/* Not to be tried again: it would fail again. */
			order--;
		}
		cond_resched();
	}
	return done;
}

/* Fills @pages with whole folios and returns how many pages that made. */
static unsigned long alloc_folios(struct page **pages, unsigned long nr_pages,
				  const struct dmawire_buffer_params *params)
{
	const int order = get_order(DMAWIRE_FOLIO_SIZE);
	const unsigned long size = 1UL << order;
	unsigned long done = 0;

	while (nr_pages - done >= size && !fatal_signal_pending(current)) {
		struct page *page = dmawire_pages_alloc_block(params, DMAWIRE_FOLIO_GFP,
							      order);

		if (!page)
			break;
		/* One for each page, so that they are freed like any others. */
		page_ref_add(page, size - 1);
		for (unsigned long i = 0; i < size; i++)
			pages[done++] = page + i;
		cond_resched();
	}
	return done;
}

/* A page with other references is freed with the last of them. */
void dmawire_pages_free(struct page **pages, unsigned long nr_pages)
{
	while (nr_pages) {
		unsigned long batch = min(nr_pages, DMAWIRE_FREE_BATCH);

		release_pages(pages, batch);
		pages += batch;
		nr_pages -= batch;
		cond_resched();
	}
}

static int dmawire_backing_pages_init(struct dmawire_buffer *buffer,
				      const struct dmawire_buffer_params *params)
{
	size_t granule = params->folios ? max(DMAWIRE_FOLIO_SIZE, PAGE_SIZE) :
					  PAGE_SIZE;

	if (params->start || params->memfd)
		return -EINVAL;
	return dmawire_buffer_set_length(buffer, params->length, granule);
}

/*
 * They come zeroed. With @folios, as many as possible are of folios, first. The rest
 * is of the preferred node, down to single pages, before it is of others.
 */
int dmawire_pages_alloc(struct dmawire_buffer *buffer,
			const struct dmawire_buffer_params *params)
{
	unsigned long nr_pages = buffer->nr_pages, done = 0;
	struct page **pages = buffer->pages;

	if (params->folios)
		done = alloc_folios(pages, nr_pages, params);
	if (has_local(params))
		done += alloc_blocks(pages + done, nr_pages - done, params, alloc_local);
	done += alloc_blocks(pages + done, nr_pages - done, params, alloc_anywhere);
	if (done == nr_pages)
		return 0;

	dmawire_pages_free(pages, done);
	return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
}

static void dmawire_backing_pages_free(struct dmawire_buffer *buffer)
{
	dmawire_pages_free(buffer->pages, buffer->nr_pages);
}

vm_fault_t dmawire_pages_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct dmawire_buffer *buffer = vma->vm_private_data;
	unsigned long nr_pages, left;
	int ret;

	if (vmf->pgoff >= buffer->nr_pages)
		return VM_FAULT_SIGBUS;

	nr_pages = min3(DMAWIRE_FAULT_BATCH, buffer->nr_pages - vmf->pgoff,
			(vma->vm_end - vmf->address) >> PAGE_SHIFT);
	left = nr_pages;
	ret = vm_insert_pages(vma, vmf->address, buffer->pages + vmf->pgoff, &left);
	/* -EBUSY: another thread has mapped a page of the batch meanwhile. */
	if (left < nr_pages || ret == -EBUSY)
		return VM_FAULT_NOPAGE;
	/*
	 * -ENOMEM, or -EFAULT if a page table of a higher level could not be
	 * allocated. The fault is retried.
	 */
	return VM_FAULT_OOM;
}

/*
 * Pages with a struct page, reference-counted: no VM_IO, no VM_PFNMAP and no
 * page_mkwrite, each of which would forbid pinning them for long.
 */
static const struct vm_operations_struct dmawire_pages_vm_ops = {
	.fault = dmawire_pages_fault,
};

int dmawire_pages_mmap(struct dmawire_buffer *buffer, struct vm_area_struct *vma)
{
	/* vm_insert_pages() needs VM_MIXEDMAP and cannot set it itself. */
	vm_flags_set(vma, VM_MIXEDMAP);
	vma->vm_ops = &dmawire_pages_vm_ops;
	/* Lives as long as vma->vm_file, which is the dma-buf's. */
	vma->vm_private_data = buffer;
	return 0;
}

const struct dmawire_backing_ops dmawire_backing_pages = {
	.id = DMAWIRE_BACKING_PAGES,
	.init = dmawire_backing_pages_init,
	.alloc = dmawire_pages_alloc,
	.free = dmawire_backing_pages_free,
	.mmap = dmawire_pages_mmap,
};
