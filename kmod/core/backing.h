/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_BACKING_H
#define DMAWIRE_BACKING_H

#include <linux/sizes.h>
#include <linux/types.h>

struct page;

/* What DMAWIRE_CREATE_FOLIOS_64K promises. */
#define DMAWIRE_FOLIO_SIZE SZ_64K

/**
 * struct dmawire_backing_ops - one way to come by the pages of a buffer
 * @id: enum dmawire_backing of the ABI
 * @alloc: fills @pages with @nr_pages pages that are zero, hold one reference
 *	each and can be freed in any order; all or none. @node is preferred,
 *	NUMA_NO_NODE leaves it to the caller's memory policy. With @folios, as
 *	many as possible are of folios of DMAWIRE_FOLIO_SIZE, at the beginning.
 *	May sleep. Returns 0, -ENOMEM, or -EINTR if the caller was killed.
 * @free: gives back the reference of each page. Whoever else holds one, a
 *	network card for instance, keeps that page. May sleep.
 */
struct dmawire_backing_ops {
	u32 id;
	int (*alloc)(struct page **pages, unsigned long nr_pages, int node,
		     bool folios);
	void (*free)(struct page **pages, unsigned long nr_pages);
};

extern const struct dmawire_backing_ops dmawire_backing_pages;

const struct dmawire_backing_ops *dmawire_backing_find(u32 id);
u32 dmawire_backing_mask(void);

#endif /* DMAWIRE_BACKING_H */
