// SPDX-License-Identifier: GPL-2.0
/* alloc_contig_range() with flags, and not a migratetype. */
#include <linux/gfp.h>

int probe(unsigned long start, unsigned long end);

int probe(unsigned long start, unsigned long end)
{
	return alloc_contig_range(start, end, ACR_FLAGS_NONE, GFP_KERNEL);
}
