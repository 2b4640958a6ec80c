// SPDX-License-Identifier: GPL-2.0
/*
 * Backing `memfd`: a range of a memfd of the caller's, of small pages or of huge
 * ones, pinned.
 *
 * Its pages stay the memfd's, and mappings of the dma-buf are mappings of the memfd's
 * page cache: pages inserted into any other mapping would stay there when a hole is
 * punched, which the kernel reports as a bug, and huge pages cannot be inserted.
 *
 * The file of such a mapping is not the memfd, but one of our own with the memfd's
 * inode. remap_file_pages(2) and MADV_REMOVE act on the file of a mapping: on the
 * memfd they would reach the pages outside the buffer, and its f_mode, not the
 * dma-buf's, would decide whether the mapping becomes writable.
 */
#include <linux/align.h>
#include <linux/array_size.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "memlock.h"

/* Folios pinned between two chances for others to run. */
#define DMAWIRE_PIN_BATCH 32

static int dmawire_backing_memfd_init(struct dmawire_buffer *buffer,
				      const struct dmawire_buffer_params *params)
{
	int ret;

	if (params->folios || params->node != NUMA_NO_NODE ||
	    !PAGE_ALIGNED(params->start))
		return -EINVAL;

	ret = dmawire_buffer_set_length(buffer, params->length, PAGE_SIZE);
	if (ret)
		return ret;
	if (params->start > LLONG_MAX || buffer->length > LLONG_MAX - params->start)
		return -EINVAL;
	buffer->file = fget(params->memfd);
	if (!buffer->file)
		return -EBADF;
	buffer->start = params->start;
	buffer->read_only = !params->writable;
	if (is_file_hugepages(buffer->file)) {
		buffer->granule = file_inode(buffer->file)->i_sb->s_blocksize;
		buffer->order = ilog2(buffer->granule >> PAGE_SHIFT);
		buffer->skip = (buffer->start & (buffer->granule - 1)) >> PAGE_SHIFT;
	}
	return 0;
}

/* F_SEAL_* bits, or -EINVAL if the file is no memfd. */
static int get_seals(struct file *file)
{
	if (shmem_file(file))
		return SHMEM_I(file_inode(file))->seals;
	if (is_file_hugepages(file))
		return HUGETLBFS_I(file_inode(file))->seals;
	return -EINVAL;
}

static int check_file(struct file *file, bool writable)
{
	const fmode_t mode = writable ? FMODE_READ | FMODE_WRITE : FMODE_READ;
	int seals = get_seals(file);

	/* F_ADD_SEALS waits until the buffer counts as a writable mapping. */
	lockdep_assert_held(&file_inode(file)->i_rwsem);

	if (seals < 0)
		return seals;
	if ((file->f_mode & mode) != mode ||
	    (writable && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return -EACCES;
	/* A truncated memfd would raise SIGBUS in processes that map the dma-buf. */
	return seals & F_SEAL_SHRINK ? 0 : -EPERM;
}

/*
 * Pinning would allocate the huge pages that are missing, and 6.12 then miscounts
 * the reserved ones: further mappings of the memfd would fail. Kernels that do not
 * clear huge pages leave PG_uptodate unset. The inode lock keeps present pages in
 * place.
 */
static bool lacks_huge_pages(const struct dmawire_buffer *buffer, struct file *file)
{
	const u64 size = file_inode(file)->i_sb->s_blocksize;
	struct folio *folio;
	bool is_there = true;

	for (u64 at = ALIGN_DOWN(buffer->start, size);
	     is_there && at < buffer->start + buffer->length; at += size) {
		folio = filemap_get_folio(file->f_mapping, at >> PAGE_SHIFT);
		if (IS_ERR(folio))
			return true;
		is_there = folio_test_uptodate(folio);
		folio_put(folio);
	}
	return !is_there;
}

/* The first page of the folio after the one that page @i is in. */
static unsigned long next_folio(const struct dmawire_buffer *buffer, unsigned long i)
{
	struct page *page = dmawire_buffer_page(buffer, i);
	struct folio *folio = page_folio(page);

	return i + folio_nr_pages(folio) - folio_page_idx(folio, page);
}

/* Each folio has one pin, however many of its pages are ours. */
static void unpin(struct dmawire_buffer *buffer, unsigned long nr_pages)
{
	unsigned long next;

	for (unsigned long i = 0; i < nr_pages; i = next) {
		struct page *page = dmawire_buffer_page(buffer, i);

		next = next_folio(buffer, i);
		unpin_user_pages_dirty_lock(&page, 1, !buffer->read_only);
		cond_resched();
	}
}

static unsigned long add_folio(struct dmawire_buffer *buffer, unsigned long done,
			       struct folio *folio, unsigned long first)
{
	unsigned long end = min(buffer->nr_pages,
				done + folio_nr_pages(folio) - first);

	if (buffer->order)
		buffer->pages[(buffer->skip + done) >> buffer->order] =
			folio_page(folio, 0);
	else
		for (unsigned long i = done; i < end; i++)
			buffer->pages[i] = folio_page(folio, first++);
	return end;
}

static int pin(struct dmawire_buffer *buffer, struct file *file)
{
	const loff_t end = buffer->start + buffer->length - 1;
	struct folio *folios[DMAWIRE_PIN_BATCH];
	unsigned long done = 0;
	pgoff_t offset;
	long nr;

	while (done < buffer->nr_pages) {
		nr = fatal_signal_pending(current) ? -EINTR :
			memfd_pin_folios(file, buffer->start + ((loff_t)done << PAGE_SHIFT),
					 end, folios, ARRAY_SIZE(folios), &offset);
		if (nr <= 0) {
			unpin(buffer, done);
			/* The file system is full. */
			return nr && nr != -ENOSPC ? nr : -ENOMEM;
		}
		for (long i = 0; i < nr; i++) {
			done = add_folio(buffer, done, folios[i],
					 offset >> PAGE_SHIFT);
			offset = 0;
		}
		cond_resched();
	}
	return 0;
}

/*
 * fallocate(2) leaves PG_uptodate of shmem pages unset: they hold stale memory, and
 * the first page fault would clear them together with the data a device has written
 * by then. Reading them clears them now, and sets PG_uptodate for good: they are
 * pinned, and the inode lock keeps fallocate(2) from undoing or replacing them.
 */
static int make_uptodate(struct dmawire_buffer *buffer, struct file *file)
{
	const pgoff_t start = buffer->start >> PAGE_SHIFT;
	struct folio *folio;

	for (unsigned long i = 0; i < buffer->nr_pages; i = next_folio(buffer, i)) {
		cond_resched();
		if (folio_test_uptodate(page_folio(dmawire_buffer_page(buffer, i))))
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		folio = shmem_read_folio(file->f_mapping, start + i);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		folio_put(folio);
	}
	return 0;
}

static int check_range(struct dmawire_buffer *buffer, struct file *file)
{
	int ret;

	ret = check_file(file, !buffer->read_only);
	if (ret)
		return ret;
	if (buffer->start + buffer->length > i_size_read(file_inode(file)))
		return -EINVAL;
	if (is_file_hugepages(file) && lacks_huge_pages(buffer, file))
		return -ENOMEM;
	return 0;
}

/*
 * A writable buffer counts as a writable mapping of the memfd. Pins alone do not keep
 * F_SEAL_WRITE away: pages that a hole was punched over have left the memfd.
 */
static int map_writable(struct dmawire_buffer *buffer)
{
	if (buffer->read_only)
		return 0;
	return mapping_map_writable(buffer->file->f_mapping) ? -EACCES : 0;
}

static void unmap_writable(struct dmawire_buffer *buffer)
{
	if (!buffer->read_only)
		mapping_unmap_writable(buffer->file->f_mapping);
}

static int pin_range(struct dmawire_buffer *buffer, struct file *file)
{
	int ret;

	ret = pin(buffer, file);
	if (ret || is_file_hugepages(file))
		return ret;

	ret = make_uptodate(buffer, file);
	if (ret)
		unpin(buffer, buffer->nr_pages);
	return ret;
}

static int pin_file(struct dmawire_buffer *buffer)
{
	struct file *file = buffer->file;
	int ret;

	inode_lock_shared(file_inode(file));
	ret = check_range(buffer, file);
	if (ret)
		goto out_unlock;
	ret = map_writable(buffer);
	if (ret)
		goto out_unlock;
	ret = pin_range(buffer, file);
	if (ret)
		unmap_writable(buffer);
out_unlock:
	inode_unlock_shared(file_inode(file));
	return ret;
}

static int dmawire_backing_memfd_alloc(struct dmawire_buffer *buffer,
				       const struct dmawire_buffer_params *params)
{
	int ret;

	ret = dmawire_memlock_charge(&buffer->memlock, buffer->nr_pages);
	if (ret)
		return ret;

	ret = pin_file(buffer);
	if (ret)
		dmawire_memlock_uncharge(&buffer->memlock);
	return ret;
}

static void dmawire_backing_memfd_free(struct dmawire_buffer *buffer)
{
	unpin(buffer, buffer->nr_pages);
	unmap_writable(buffer);
	dmawire_memlock_uncharge(&buffer->memlock);
}

static int memfd_file_release(struct inode *inode, struct file *file)
{
	struct file *dmabuf_file = file->private_data;

	fput(dmabuf_file);
	return 0;
}

/* No .mmap: remap_file_pages(2) fails. No .fallocate: MADV_REMOVE fails. */
static const struct file_operations memfd_file_ops = {
	.owner = THIS_MODULE,
	.release = memfd_file_release,
};

/*
 * The file of one mapping. The mapping holds the file, the file the dma-buf, and the
 * dma-buf the memfd: no reference cycle. The final fput() drops the reference on
 * memfd_file_ops.owner that alloc_file_pseudo() does not take.
 */
static struct file *memfd_file_create(struct file *memfd, struct file *dmabuf_file)
{
	const int flags = dmabuf_file->f_mode & FMODE_WRITE ? O_RDWR : O_RDONLY;
	struct inode *inode = file_inode(memfd);
	struct file *file;

	ihold(inode);
	__module_get(THIS_MODULE);
	file = alloc_file_pseudo(inode, memfd->f_path.mnt, "dmawire", flags,
				 &memfd_file_ops);
	if (IS_ERR(file)) {
		module_put(THIS_MODULE);
		iput(inode);
		return file;
	}
	file->private_data = get_file(dmabuf_file);
	return file;
}

static int dmawire_backing_memfd_mmap(struct dmawire_buffer *buffer,
				      struct vm_area_struct *vma)
{
	u64 offset = buffer->start + ((u64)vma->vm_pgoff << PAGE_SHIFT);
	struct file *file;

	/* Of huge pages only whole ones can be mapped. */
	if (!IS_ALIGNED(vma->vm_start | vma->vm_end | offset, buffer->granule))
		return -EINVAL;

	/* Added since the buffer was created: mmap(2) of the memfd does the same. */
	if (get_seals(buffer->file) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {
		if (vma->vm_flags & VM_WRITE)
			return -EPERM;
		vm_flags_clear(vma, VM_MAYWRITE);
	}

	/* An importer that passes a mapping on has set its file to the dma-buf's. */
	file = memfd_file_create(buffer->file, vma->vm_file);
	if (IS_ERR(file))
		return PTR_ERR(file);

	vma->vm_pgoff = offset >> PAGE_SHIFT;
	vma_set_file(vma, file);
	fput(file);
	return vfs_mmap(buffer->file, vma);
}

const struct dmawire_backing_ops dmawire_backing_memfd = {
	.id = DMAWIRE_BACKING_MEMFD,
	.init = dmawire_backing_memfd_init,
	.alloc = dmawire_backing_memfd_alloc,
	.free = dmawire_backing_memfd_free,
	.mmap = dmawire_backing_memfd_mmap,
};
