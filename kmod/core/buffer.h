/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_BUFFER_H
#define DMAWIRE_BUFFER_H

#include <linux/dma-direction.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/types.h>

#include "memlock.h"

struct cma;
struct device;
struct dmawire_backing_ops;
struct dmawire_quota;
struct file;
struct inode;
struct page;

/**
 * struct dmawire_buffer - memory as an array of pages, or of huge pages
 * @length: bytes
 * @offset: how many bytes of the first page lie before the buffer
 * @nr_pages: pages that the buffer covers, wholly or in part
 * @pages: the first page of each block of 2^@order pages; we hold one reference on
 *	each. NULL for memory without pages, see @dev. See dmawire_buffer_page()
 * @order: of the blocks in @pages
 * @skip: how many pages of the first of @pages lie before the buffer
 * @backing: where @pages came from and go back to
 * @quota: charged with @nr_pages
 * @granule: bytes that the ends of a mapping must be multiples of; 0 if it cannot
 *	be mapped
 * @node: NUMA node asked for, or NUMA_NO_NODE
 * @direction: of the data, seen from the device
 * @read_only: neither CPU nor device may write it: the creator may not
 * @file: the file that @pages belong to, or NULL; holds a reference
 * @start: offset in @file, or address in the process that owns the memory
 * @memlock: for memory that is pinned, or that no memory cgroup is charged for
 * @cma: the area that @pages are of, or NULL. They are released together, when no
 *	page has another reference
 * @dev: the device whose coherent memory it is, or NULL. Then it has no @pages
 * @owner: names the owner of @dev; never dereferenced
 * @vaddr: that memory; NULL once it was revoked. Protected by the lock of the
 *	backing
 * @address: the same, for @dev
 * @is_cached: @dev is cache-coherent
 * @inode: of the dma-buf: its mappings are revoked through it. Holds a reference,
 *	since the dma-buf may outlive its struct file. NULL before the export
 * @link: in the backing's list of buffers with @dev, or in the list of reclaim
 * @is_attached: bit 0: a capture queue has it attached; changes atomically
 *
 * Nothing else in here changes between creation and destruction, so it needs no
 * lock. It belongs to one dma-buf, which destroys it.
 */
struct dmawire_buffer {
	size_t length;
	size_t offset;
	unsigned long nr_pages;
	struct page **pages;
	unsigned int order;
	unsigned long skip;
	const struct dmawire_backing_ops *backing;
	struct dmawire_quota *quota;
	size_t granule;
	int node;
	enum dma_data_direction direction;
	bool read_only;
	struct file *file;
	u64 start;
	struct dmawire_memlock memlock;
	struct cma *cma;
	struct device *dev;
	const void *owner;
	void *vaddr;
	dma_addr_t address;
	bool is_cached;
	struct inode *inode;
	struct list_head link;
	unsigned long is_attached;
};

/**
 * struct dmawire_survey - the physically contiguous runs of a buffer
 * @largest_run: bytes in the longest physically contiguous run
 * @nr_runs: number of runs
 * @nr_runs_of: how many of them have 2^i pages and less than twice as many; the last
 *	entry counts longer ones too
 * @nr_folios: number of folios of DMAWIRE_FOLIO_SIZE
 */
struct dmawire_survey {
	size_t largest_run;
	unsigned long nr_runs;
	u32 nr_runs_of[16];
	unsigned long nr_folios;
};

/**
 * struct dmawire_range - part of a buffer
 * @offset: of its first byte, a multiple of PAGE_SIZE
 * @length: bytes
 */
struct dmawire_range {
	size_t offset;
	size_t length;
};

/**
 * struct dmawire_buffer_params - a request for a buffer; no field is checked yet
 * @length: bytes
 * @backing: enum dmawire_backing
 * @direction: enum dmawire_direction
 * @node: NUMA node or NUMA_NO_NODE
 * @zone: where memory is that the device reaches, as GFP_DMA32; 0 for all of it
 * @folios: as DMAWIRE_CREATE_FOLIOS_64K
 * @cma: as DMAWIRE_CREATE_CMA
 * @cma_area: the area to allocate from, or NULL
 * @writable: whether CPU or device is to write it
 * @dev: the device that does the DMA, or an ERR_PTR that says why it is missing;
 *	only for backings that want one, and until the buffer is exported
 * @owner: names the owner of @dev
 * @start: where memory that is there already begins
 * @memfd: in which file
 */
struct dmawire_buffer_params {
	u64 length;
	u32 backing;
	u32 direction;
	s32 node;
	gfp_t zone;
	bool folios;
	bool cma;
	struct cma *cma_area;
	struct device *dev;
	const void *owner;
	bool writable;
	u64 start;
	s32 memfd;
};

/* Pages between two chances for others to run, in loops over pages. */
#define DMAWIRE_RELAX_BATCH 1024UL

/* For the end of the body of a loop over pages, the @i-th time. */
static inline void dmawire_relax(unsigned long i)
{
	if (!(i % DMAWIRE_RELAX_BATCH))
		cond_resched();
}

int dmawire_buffer_set_length(struct dmawire_buffer *buffer, u64 length,
			      size_t granule);

struct dmawire_buffer *
dmawire_buffer_create(struct dmawire_quota *quota,
		      const struct dmawire_buffer_params *params);
void dmawire_buffer_destroy(struct dmawire_buffer *buffer);
void dmawire_buffer_free(struct dmawire_buffer *buffer);

void dmawire_buffer_survey(const struct dmawire_buffer *buffer,
			   struct dmawire_survey *survey);
bool dmawire_buffer_is_whole_pages(const struct dmawire_buffer *buffer);
struct page *dmawire_buffer_page(const struct dmawire_buffer *buffer,
				 unsigned long index);
void *dmawire_buffer_vmap(const struct dmawire_buffer *buffer);
void dmawire_buffer_vunmap(const struct dmawire_buffer *buffer, void *vaddr);
size_t dmawire_buffer_contiguous(const struct dmawire_buffer *buffer,
				 size_t start, size_t most);

#endif /* DMAWIRE_BUFFER_H */
