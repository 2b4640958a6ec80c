// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `user`: memory of the calling process, wherever it begins and ends,
 * pinned.
 *
 * It stays mapped where it is, and nowhere else: the kernel has no way to map
 * anonymous memory of a process a second time.
 */
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "memlock.h"

/* Pages pinned or unpinned between two calls of cond_resched(). */
#define DMAWIRE_PIN_BATCH 4096UL

static int dmawire_backing_user_init(struct dmawire_buffer *buffer,
				     const struct dmawire_buffer_params *params)
{
	u64 last;

	if (params->folios || params->node != NUMA_NO_NODE || params->memfd)
		return -EINVAL;
	/* And the end of its last page can be told, too. */
	if (check_add_overflow(params->start, params->length - 1, &last) ||
	    last >= ULONG_MAX - PAGE_SIZE)
		return -EOVERFLOW;

	/* find_vma() does not know tags; pinning ignores them. */
	buffer->start = untagged_addr((unsigned long)params->start);
	buffer->offset = offset_in_page(params->start);
	buffer->length = params->length;
	buffer->nr_pages = PAGE_ALIGN(buffer->offset + buffer->length) >> PAGE_SHIFT;
	buffer->granule = 0;
	buffer->read_only = !params->writable;
	return 0;
}

/* Translates an errno of the memory manager to one of DMAWIRE_IOC_CREATE. */
static int translate(int error)
{
	switch (error) {
	case -ENOMEM:
		return -ENOMEM;
	case -EINTR:
	case -ERESTARTSYS:
		return -EINTR;
	default:
		return -EFAULT;
	}
}

static void unpin(struct dmawire_buffer *buffer, unsigned long nr_pages)
{
	unsigned long batch;

	for (unsigned long i = 0; i < nr_pages; i += batch) {
		batch = min(DMAWIRE_PIN_BATCH, nr_pages - i);
		unpin_user_pages_dirty_lock(buffer->pages + i, batch,
					    !buffer->read_only);
		cond_resched();
	}
}

static int pin(struct dmawire_buffer *buffer)
{
	const unsigned int flags = FOLL_LONGTERM | (buffer->read_only ? 0 : FOLL_WRITE);
	unsigned long done = 0;
	int nr;

	while (done < buffer->nr_pages) {
		nr = fatal_signal_pending(current) ? -EINTR :
			pin_user_pages_fast(buffer->start + (done << PAGE_SHIFT),
					    min(DMAWIRE_PIN_BATCH, buffer->nr_pages - done),
					    flags, buffer->pages + done);
		if (nr <= 0) {
			unpin(buffer, done);
			return translate(nr);
		}
		done += nr;
		cond_resched();
	}
	return 0;
}

/*
 * Memory of a CMA area that would be pinned for reading: nothing but a signal would
 * end that. For writing the kernel refuses it itself.
 */
static bool range_has_cma(const struct dmawire_buffer *buffer)
{
	const u64 end = buffer->start + buffer->length;
	struct vm_area_struct *vma;
	bool found = false;

	mmap_read_lock(current->mm);
	for (vma = find_vma(current->mm, buffer->start);
	     vma && vma->vm_start < end && !found;
	     vma = find_vma(current->mm, vma->vm_end))
		found = dmawire_backing_contig_is_cma(vma);
	mmap_read_unlock(current->mm);
	return found;
}

static int dmawire_backing_user_alloc(struct dmawire_buffer *buffer,
				      const struct dmawire_buffer_params *params)
{
	int ret;

	ret = dmawire_memlock_charge(&buffer->memlock, buffer->nr_pages);
	if (ret)
		return ret;

	ret = buffer->read_only && range_has_cma(buffer) ? -EFAULT : pin(buffer);
	if (ret)
		dmawire_memlock_uncharge(&buffer->memlock);
	return ret;
}

static void dmawire_backing_user_free(struct dmawire_buffer *buffer)
{
	unpin(buffer, buffer->nr_pages);
	dmawire_memlock_uncharge(&buffer->memlock);
}

const struct dmawire_backing_ops dmawire_backing_user = {
	.id = DMAWIRE_BACKING_USER,
	.init = dmawire_backing_user_init,
	.alloc = dmawire_backing_user_alloc,
	.free = dmawire_backing_user_free,
};
