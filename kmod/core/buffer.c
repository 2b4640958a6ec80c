// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers: made of pages of some backing, charged to an open file.
 */
#include <linux/array_size.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "reclaim.h"
#include "quota.h"

/*
 * A buffer and its array of pages are charged to the caller's memory cgroup, as the
 * pages are, and must not invoke an OOM killer.
 */
#define DMAWIRE_ARRAY_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static bool node_is_valid(int node)
{
	return node == NUMA_NO_NODE ||
	       (node >= 0 && node < MAX_NUMNODES && node_online(node));
}

/**
 * dmawire_buffer_set_length - for backings: how long a buffer is
 * @buffer: is being created
 * @length: as asked for, at least 1
 * @granule: a power of 2; @length is rounded up to a multiple of it
 *
 * Return: 0, or -EOVERFLOW if it cannot be rounded up.
 */
int dmawire_buffer_set_length(struct dmawire_buffer *buffer, u64 length,
			      size_t granule)
{
	if (length > SIZE_MAX - (granule - 1))
		return -EOVERFLOW;

	buffer->length = ALIGN(length, granule);
	buffer->nr_pages = buffer->length >> PAGE_SHIFT;
	return 0;
}

static int dmawire_buffer_init(struct dmawire_buffer *buffer,
			       const struct dmawire_buffer_params *params)
{
	static_assert(DMAWIRE_BIDIRECTIONAL == (int)DMA_BIDIRECTIONAL);
	static_assert(DMAWIRE_TO_DEVICE == (int)DMA_TO_DEVICE);
	static_assert(DMAWIRE_FROM_DEVICE == (int)DMA_FROM_DEVICE);

	buffer->backing = dmawire_backing_find(params->backing);
	if (!buffer->backing || params->direction > DMAWIRE_FROM_DEVICE ||
	    !node_is_valid(params->node) || !params->length ||
	    (params->cma && params->backing != DMAWIRE_BACKING_CONTIG))
		return -EINVAL;
	buffer->granule = PAGE_SIZE;
	buffer->node = params->node;
	buffer->direction = params->direction;
	return buffer->backing->init(buffer, params);
}

static int dmawire_buffer_alloc(struct dmawire_buffer *buffer,
				const struct dmawire_buffer_params *params)
{
	unsigned long nr = ((buffer->skip + buffer->nr_pages - 1) >> buffer->order) + 1;
	int ret;

	buffer->pages = kvmalloc_array(nr, sizeof(*buffer->pages), DMAWIRE_ARRAY_GFP);
	if (!buffer->pages)
		return -ENOMEM;

	ret = buffer->backing->alloc(buffer, params);
	if (ret)
		kvfree(buffer->pages);
	return ret;
}

/* Looks at each folio once, since a huge page is made of very many pages. */
static unsigned long count_folios(const struct dmawire_buffer *buffer)
{
	unsigned long count = 0, step;

	for (unsigned long i = 0; i < buffer->nr_pages; i += step) {
		struct page *page = dmawire_buffer_page(buffer, i);
		struct folio *folio = page_folio(page);

		step = folio_nr_pages(folio) - folio_page_idx(folio, page);
		step = min(step, buffer->nr_pages - i);
		if (dmawire_buffer_page(buffer, i + step - 1) != page + step - 1)
			step = 1;
		else if (step << PAGE_SHIFT == DMAWIRE_FOLIO_SIZE &&
			 folio_size(folio) == DMAWIRE_FOLIO_SIZE)
			count++;
		cond_resched();
	}
	return count;
}

/**
 * dmawire_buffer_survey - count the physically contiguous runs of a buffer
 * @buffer: the buffer
 * @survey: the result
 *
 * The result is constant, but takes about as long as pinning huge pages: it is
 * computed on demand.
 */
void dmawire_buffer_survey(const struct dmawire_buffer *buffer,
			   struct dmawire_survey *survey)
{
	size_t run, size_class;

	*survey = (struct dmawire_survey){};
	if (buffer->pages)
		survey->nr_folios = count_folios(buffer);
	for (size_t at = 0; at < buffer->length; at += run) {
		run = dmawire_buffer_contiguous(buffer, at, buffer->length - at);
		size_class = ilog2(max(run >> PAGE_SHIFT, 1UL));
		size_class = min(size_class, ARRAY_SIZE(survey->nr_runs_of) - 1);
		survey->nr_runs_of[size_class]++;
		survey->nr_runs++;
		survey->largest_run = max(survey->largest_run, run);
		cond_resched();
	}
}

static void release(struct dmawire_buffer *buffer)
{
	if (buffer->file)
		fput(buffer->file);
	iput(buffer->inode);
	kfree(buffer);
}

static u64 bytes_held(const struct dmawire_buffer *buffer)
{
	return (u64)buffer->nr_pages << PAGE_SHIFT;
}

/**
 * dmawire_buffer_create - charge and allocate a buffer
 * @quota: of the open file that asks; the buffer keeps its own reference
 * @params: the request, straight from user space
 *
 * Return: the buffer, which the caller owns, or an ERR_PTR: -EINVAL, -EOVERFLOW,
 * -EDQUOT, -ENOMEM or an errno of the backing; nothing stays charged then.
 */
struct dmawire_buffer *
dmawire_buffer_create(struct dmawire_quota *quota,
		      const struct dmawire_buffer_params *params)
{
	struct dmawire_buffer *buffer;
	int ret;

	buffer = kzalloc_obj(*buffer, DMAWIRE_ARRAY_GFP);
	if (!buffer)
		return ERR_PTR(-ENOMEM);

	ret = dmawire_buffer_init(buffer, params);
	if (ret)
		goto err_release;

	ret = dmawire_quota_charge(quota, bytes_held(buffer));
	if (ret)
		goto err_release;
	buffer->quota = quota;

	ret = dmawire_buffer_alloc(buffer, params);
	if (ret)
		goto err_uncharge;

	return buffer;

err_uncharge:
	dmawire_quota_uncharge(quota, bytes_held(buffer));
err_release:
	release(buffer);
	return ERR_PTR(ret);
}

bool dmawire_buffer_is_whole_pages(const struct dmawire_buffer *buffer)
{
	return !buffer->offset && PAGE_ALIGNED(buffer->length);
}

/**
 * dmawire_buffer_page - one of the pages of a buffer
 * @buffer: one that has pages
 * @index: which of them, less than @nr_pages
 */
struct page *dmawire_buffer_page(const struct dmawire_buffer *buffer,
				 unsigned long index)
{
	index += buffer->skip;
	return buffer->pages[index >> buffer->order] +
	       (index & ((1UL << buffer->order) - 1));
}

/**
 * dmawire_buffer_vmap - map all of a buffer for the kernel
 * @buffer: one that has pages
 *
 * Return: where its first byte is, or NULL. dmawire_buffer_vunmap() ends it.
 */
void *dmawire_buffer_vmap(const struct dmawire_buffer *buffer)
{
	struct page **pages = buffer->pages;
	void *vaddr;

	if (buffer->order) {
		pages = kvmalloc_array(buffer->nr_pages, sizeof(*pages),
				       DMAWIRE_ARRAY_GFP);
		if (!pages)
			return NULL;
		for (unsigned long i = 0; i < buffer->nr_pages; i++) {
			pages[i] = dmawire_buffer_page(buffer, i);
			dmawire_relax(i);
		}
	}
	vaddr = vmap(pages, buffer->nr_pages, VM_MAP, PAGE_KERNEL);
	if (pages != buffer->pages)
		kvfree(pages);
	return vaddr ? vaddr + buffer->offset : NULL;
}

void dmawire_buffer_vunmap(const struct dmawire_buffer *buffer, void *vaddr)
{
	vunmap(vaddr - buffer->offset);
}

/* With one array of struct page this is the same as page_to_pfn(). */
static bool follows(const struct page *next, const struct page *page, unsigned long nr)
{
	if (IS_ENABLED(CONFIG_SPARSEMEM) && !IS_ENABLED(CONFIG_SPARSEMEM_VMEMMAP))
		return page_to_pfn(next) == page_to_pfn(page) + nr;
	return next == page + nr;
}

/**
 * dmawire_buffer_contiguous - how far a buffer is contiguous in memory
 * @buffer: the buffer
 * @start: a byte of it
 * @most: how many bytes from @start on are of interest, at least 1
 *
 * Return: bytes from @start on, at most @most.
 */
size_t dmawire_buffer_contiguous(const struct dmawire_buffer *buffer,
				 size_t start, size_t most)
{
	const unsigned long nr = 1UL << buffer->order;
	const size_t unit = nr << PAGE_SHIFT;
	size_t begin = (buffer->skip << PAGE_SHIFT) + buffer->offset + start;
	size_t length = unit - (begin & (unit - 1));
	struct page **page;

	/* Coherent memory: contiguous for its device, never mapped for another. */
	if (!buffer->pages)
		return most;

	page = buffer->pages + (begin >> PAGE_SHIFT >> buffer->order);
	for (unsigned long i = 0; length < most; length += unit, i++) {
		if (!follows(page[i + 1], page[i], nr))
			break;
		dmawire_relax(i + 1);
	}
	return min(length, most);
}

/**
 * dmawire_buffer_destroy - have done with a buffer
 * @buffer: no mapping, attachment or vmap of it is left
 *
 * It is freed at once, or, if all its pages must be free for that, when they are.
 */
void dmawire_buffer_destroy(struct dmawire_buffer *buffer)
{
	if (buffer->cma)
		dmawire_reclaim_add(buffer);
	else
		dmawire_buffer_free(buffer);
}

void dmawire_buffer_free(struct dmawire_buffer *buffer)
{
	buffer->backing->free(buffer);
	kvfree(buffer->pages);
	dmawire_quota_uncharge(buffer->quota, bytes_held(buffer));
	release(buffer);
}
