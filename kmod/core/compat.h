/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything that differs between the kernels we build for, and nothing else.
 * Kbuild includes this file before every source file: the sources are written for
 * the newest kernel.
 */
#ifndef DMAWIRE_COMPAT_H
#define DMAWIRE_COMPAT_H

#include <linux/bits.h>
#include <linux/cma.h>
#include <linux/dma-map-ops.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/io_uring/cmd.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

/* Its argument was a bare word before 6.13 and has been a string since. */
#undef MODULE_IMPORT_NS
#define MODULE_IMPORT_NS(ns) MODULE_INFO(import_ns, ns)

/* New in 7.0; the stable trees took it over in different releases. */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp) kzalloc(sizeof(typeof(obj)), gfp)
#endif

/*
 * Buffers of a driver in an io_uring's table. 6.15 to 7.1 have functions of these
 * names that take something else; Kbuild finds out which it is by compiling.
 */
#ifdef DMAWIRE_HAVE_REGISTER_BVEC
#define DMAWIRE_COMPAT_HAS_REGISTER_BVEC true
#else
#define DMAWIRE_COMPAT_HAS_REGISTER_BVEC false
#define IO_BUF_DEST BIT(ITER_DEST)
#define IO_BUF_SOURCE BIT(ITER_SOURCE)
#define io_buffer_register_bvec dmawire_compat_unsupported
#define io_buffer_unregister dmawire_compat_unsupported
static inline int dmawire_compat_unsupported(struct io_uring_cmd *cmd, ...)
{
	return -EOPNOTSUPP;
}
#endif

/*
 * DMAWIRE_URING_WORK(work, function) defines the callback @work that
 * io_uring_cmd_do_in_task_lazy() takes, around function(struct io_uring_cmd *cmd,
 * unsigned int issue_flags).
 */
#ifdef DMAWIRE_HAVE_URING_TASK_WORK
#define DMAWIRE_URING_WORK(work, function)				\
	static void work(struct io_tw_req tw_req, io_tw_token_t tw)	\
	{								\
		function(io_uring_cmd_from_tw(tw_req),			\
			 IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);		\
	}
#else
#define DMAWIRE_URING_WORK(work, function)				\
	static void work(struct io_uring_cmd *cmd,			\
			 unsigned int issue_flags)			\
	{								\
		function(cmd, issue_flags);				\
	}
#endif

#ifndef DMAWIRE_HAVE_URING_CMD_DONE
#define io_uring_cmd_done(cmd, result, issue_flags)                            \
	io_uring_cmd_done(cmd, result, 0, issue_flags)
#endif

#ifndef DMAWIRE_HAVE_VFS_MMAP
#define vfs_mmap(file, vma) call_mmap(file, vma)
#endif

/* Contiguous memory beyond the page allocator's blocks: not always for modules. */
#ifdef DMAWIRE_HAVE_CONTIG_RANGE
#define DMAWIRE_COMPAT_HAS_CONTIG_RANGE true
#define dmawire_compat_contig_range(start, end, gfp) \
	alloc_contig_range(start, end, ACR_FLAGS_NONE, gfp)
#else
#define DMAWIRE_COMPAT_HAS_CONTIG_RANGE false
#undef pfn_to_online_page
#define pfn_to_online_page dmawire_compat_no_online_page
static inline struct page *dmawire_compat_no_online_page(unsigned long pfn)
{
	return NULL;
}

static inline int dmawire_compat_contig_range(unsigned long start,
					      unsigned long end, gfp_t gfp)
{
	return -EOPNOTSUPP;
}
#endif

/* A task has no memory policy where there is only one node. */
#ifdef CONFIG_NUMA
#define dmawire_compat_has_mempolicy() (!!current->mempolicy)
#else
#define dmawire_compat_has_mempolicy() false
#endif

/* The pool of bounce buffers that mappings take from first, or NULL. */
static inline const struct io_tlb_pool *
dmawire_compat_swiotlb_pool(const struct device *dev)
{
#ifdef CONFIG_SWIOTLB
	const struct io_tlb_mem *mem = dev->dma_io_tlb_mem;

	return mem && mem->nslabs ? &mem->defpool : NULL;
#else
	return NULL;
#endif
}

/* The same of memory that was set aside, which not every kernel has. */
#ifndef DMAWIRE_HAVE_CMA
#define dev_get_cma_area dmawire_compat_no_cma_area
#define cma_alloc dmawire_compat_no_cma_alloc
#define cma_release dmawire_compat_no_cma_release
static inline struct cma *dmawire_compat_no_cma_area(struct device *dev)
{
	return NULL;
}

static inline struct page *dmawire_compat_no_cma_alloc(struct cma *cma,
						       unsigned long count,
						       unsigned int align,
						       bool no_warn)
{
	return NULL;
}

static inline bool dmawire_compat_no_cma_release(struct cma *cma,
						 const struct page *pages,
						 unsigned long count)
{
	return false;
}
#endif

/* Where there are no huge pages no file has any, and this is never evaluated. */
#ifndef CONFIG_HUGETLBFS
#define HUGETLBFS_I(inode) SHMEM_I(inode)
#endif

/* sparse 0.6.4 cannot compute an assertion of newer headers; it needs no modinfo. */
#ifdef __CHECKER__
#undef MODULE_INFO
#define MODULE_INFO(tag, info) static_assert(sizeof(#tag "=" info) > 1)
#endif

#endif /* DMAWIRE_COMPAT_H */
