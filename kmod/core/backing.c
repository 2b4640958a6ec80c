// SPDX-License-Identifier: GPL-2.0
/*
 * The table of backings. Each has a file of its own, backing_*.c.
 */
#include <linux/array_size.h>
#include <linux/bits.h>

#include "backing.h"

static const struct dmawire_backing_ops *const backings[] = {
	&dmawire_backing_pages,
	&dmawire_backing_memfd,
	&dmawire_backing_user,
	&dmawire_backing_contig,
	&dmawire_backing_coherent,
};

/**
 * dmawire_backing_find - look a backing up by its number in the ABI
 * @id: enum dmawire_backing, from user space and not checked yet
 *
 * Return: the backing, or NULL if @id is unknown.
 */
const struct dmawire_backing_ops *dmawire_backing_find(u32 id)
{
	for (size_t i = 0; i < ARRAY_SIZE(backings); i++)
		if (backings[i]->id == id)
			return backings[i];
	return NULL;
}

u32 dmawire_backing_mask(void)
{
	u32 mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(backings); i++)
		mask |= BIT(backings[i]->id);
	return mask;
}
