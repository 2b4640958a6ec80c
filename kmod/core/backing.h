/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_BACKING_H
#define DMAWIRE_BACKING_H

#include <linux/gfp_types.h>
#include <linux/mm_types.h>
#include <linux/sizes.h>
#include <linux/types.h>

struct dmawire_buffer;
struct dmawire_buffer_params;
struct vm_area_struct;
struct vm_fault;

/* The folio size of DMAWIRE_CREATE_FOLIOS_64K. */
#define DMAWIRE_FOLIO_SIZE SZ_64K

/**
 * struct dmawire_backing_ops - one source of the pages of a buffer
 * @id: enum dmawire_backing of the ABI
 * @init: checks the parameters of this backing, and sets length and page size of the
 *	buffer. Returns 0, -EINVAL, -EOVERFLOW or -EBADF.
 * @alloc: fills the buffer's array of pages completely or not at all, with one
 *	reference on each page until @free. Frees the array if the memory has no
 *	pages. May sleep. Returns 0 or a negative errno of DMAWIRE_IOC_CREATE.
 * @free: drops the reference on each page; a page with other references, for
 *	instance of an skb, lives on. Pages of a CMA area have no other references by
 *	then. May sleep.
 * @mmap: maps the buffer for user space. The caller has checked access and VM flags,
 *	and @vma lies within the buffer. Returns 0 or a negative errno. NULL if the
 *	kernel has no way to map it.
 */
struct dmawire_backing_ops {
	u32 id;
	int (*init)(struct dmawire_buffer *buffer,
		    const struct dmawire_buffer_params *params);
	int (*alloc)(struct dmawire_buffer *buffer,
		     const struct dmawire_buffer_params *params);
	void (*free)(struct dmawire_buffer *buffer);
	int (*mmap)(struct dmawire_buffer *buffer, struct vm_area_struct *vma);
};

extern const struct dmawire_backing_ops dmawire_backing_pages;
extern const struct dmawire_backing_ops dmawire_backing_memfd;
extern const struct dmawire_backing_ops dmawire_backing_user;
extern const struct dmawire_backing_ops dmawire_backing_contig;
extern const struct dmawire_backing_ops dmawire_backing_coherent;

const struct dmawire_backing_ops *dmawire_backing_find(u32 id);
u32 dmawire_backing_mask(void);

/* @gfp for memory of a zone, if not 0, and not of any. */
static inline gfp_t dmawire_gfp_of_zone(gfp_t gfp, gfp_t zone)
{
	return zone ? (gfp & ~GFP_ZONEMASK) | zone : gfp;
}

/* For backings that allocate single pages. */
struct page *dmawire_pages_alloc_block(const struct dmawire_buffer_params *params,
				       gfp_t gfp, int order);
int dmawire_pages_alloc(struct dmawire_buffer *buffer,
			const struct dmawire_buffer_params *params);
void dmawire_pages_free(struct page **pages, unsigned long nr_pages);
vm_fault_t dmawire_pages_fault(struct vm_fault *vmf);
int dmawire_pages_mmap(struct dmawire_buffer *buffer, struct vm_area_struct *vma);

bool dmawire_backing_contig_is_cma(const struct vm_area_struct *vma);
void dmawire_coherent_revoke(const void *owner);

#endif /* DMAWIRE_BACKING_H */
