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

static struct page *alloc_on_node(gfp_t gfp, int order, int node)
{
	/* alloc_pages() obeys the caller's memory policy, the other does not. */
	if (node == NUMA_NO_NODE)
		return alloc_pages(gfp, order);
	return alloc_pages_node(node, gfp, order);
}

static struct page *alloc_block(int order, int node)
{
	gfp_t gfp = order ? DMAWIRE_BLOCK_GFP : DMAWIRE_SINGLE_GFP;
	struct page *page = alloc_on_node(gfp, order, node);

	if (page && order)
		split_page(page, order);
	return page;
}

/* Fills @pages with whole folios and returns how many pages that made. */
static unsigned long alloc_folios(struct page **pages, unsigned long nr_pages,
				  int node)
{
	const int order = get_order(DMAWIRE_FOLIO_SIZE);
	const unsigned long size = 1UL << order;
	unsigned long done = 0;

	while (nr_pages - done >= size && !fatal_signal_pending(current)) {
		struct page *page = alloc_on_node(DMAWIRE_FOLIO_GFP, order, node);

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

static void dmawire_backing_pages_free(struct page **pages,
				       unsigned long nr_pages)
{
	while (nr_pages) {
		unsigned long batch = min(nr_pages, DMAWIRE_FREE_BATCH);

		release_pages(pages, batch);
		pages += batch;
		nr_pages -= batch;
		cond_resched();
	}
}

static int dmawire_backing_pages_alloc(struct page **pages,
				       unsigned long nr_pages, int node,
				       bool folios)
{
	int order = MAX_PAGE_ORDER;
	unsigned long done = 0;
	struct page *page;
	int ret;

	if (folios)
		done = alloc_folios(pages, nr_pages, node);

	while (done < nr_pages) {
		ret = -EINTR;
		if (fatal_signal_pending(current))
			goto err_free_pages;

		order = min(order, ilog2(nr_pages - done));
		page = alloc_block(order, node);
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
	dmawire_backing_pages_free(pages, done);
	return ret;
}

const struct dmawire_backing_ops dmawire_backing_pages = {
	.id = DMAWIRE_BACKING_PAGES,
	.alloc = dmawire_backing_pages_alloc,
	.free = dmawire_backing_pages_free,
};
