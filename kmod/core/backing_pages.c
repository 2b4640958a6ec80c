// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `pages`: the largest blocks the page allocator has at hand, split so
 * that each page has its own reference count and can be mapped, pinned, sent and
 * freed by itself. Or, if asked for, folios of one size, whose pages share a count
 * in which each of them has its reference.
 */
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"

#define DMAWIRE_PAGES_GFP (GFP_HIGHUSER | __GFP_ZERO | __GFP_ACCOUNT | __GFP_NOWARN)

/* Large blocks are a bonus: take what is free, and disturb nobody for more. */
#define DMAWIRE_BLOCK_GFP ((DMAWIRE_PAGES_GFP | __GFP_NORETRY) & ~__GFP_RECLAIM)

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

static struct page *alloc_single_pages(const struct dmawire_buffer_params *params,
				       int order)
{
	gfp_t gfp = order ? DMAWIRE_BLOCK_GFP : DMAWIRE_SINGLE_GFP;
	struct page *page = dmawire_pages_alloc_block(params, gfp, order);

	if (page && order)
		split_page(page, order);
	return page;
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

/* Whoever else holds one keeps it. */
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

/* They come zeroed. With @folios, as many as possible are of folios, first. */
int dmawire_pages_alloc(struct dmawire_buffer *buffer,
			const struct dmawire_buffer_params *params)
{
	unsigned long nr_pages = buffer->nr_pages, done = 0;
	struct page **pages = buffer->pages;
	int order = MAX_PAGE_ORDER;
	struct page *page;
	int ret;

	if (params->folios)
		done = alloc_folios(pages, nr_pages, params);

	while (done < nr_pages) {
		ret = -EINTR;
		if (fatal_signal_pending(current))
			goto err_free_pages;

		order = min(order, ilog2(nr_pages - done));
		page = alloc_single_pages(params, order);
		if (page) {
			for (unsigned long i = 0; i < 1UL << order; i++)
				pages[done++] = page + i;
		} else {
			ret = -ENOMEM;
			if (!order)
				goto err_free_pages;
			/* Not to be tried again: it would fail again. */
			order--;
		}
		cond_resched();
	}
	return 0;

err_free_pages:
	dmawire_pages_free(pages, done);
	return ret;
}

static void dmawire_backing_pages_free(struct dmawire_buffer *buffer)
{
	dmawire_pages_free(buffer->pages, buffer->nr_pages);
}

vm_fault_t dmawire_pages_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct dmawire_buffer *buffer = vma->vm_private_data;
	unsigned long nr_pages;
	int ret;

	if (vmf->pgoff >= buffer->nr_pages)
		return VM_FAULT_SIGBUS;

	nr_pages = min3(DMAWIRE_FAULT_BATCH, buffer->nr_pages - vmf->pgoff,
			(vma->vm_end - vmf->address) >> PAGE_SHIFT);
	ret = vm_insert_pages(vma, vmf->address, buffer->pages + vmf->pgoff,
			      &nr_pages);
	switch (ret) {
	case 0:
	case -EBUSY: /* one of them is mapped already, which is as good */
		return VM_FAULT_NOPAGE;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
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
	/* VM_MIXEDMAP is what vm_insert_pages() wants, and cannot set itself. */
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
