/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * /dev/dmawire_importer: each open file imports one dma-buf. pread(2) and
 * pwrite(2) access its memory by DMA address, as a device would; the file offset
 * is that in the dma-buf.
 */
#ifndef DMAWIRE_TESTS_IMPORTER_H
#define DMAWIRE_TESTS_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct importer_import - ioctl(IMPORTER_IMPORT)
 * @fd: the dma-buf
 * @direction: enum dma_data_direction, to map it with
 * @offset: where the imported range begins
 * @length: its bytes; the scatter-gather list is trimmed to it in place until the
 *	file is closed, as ib_umem_dmabuf_map_pages() does
 */
struct importer_import {
	__s32 fd;
	__u32 direction;
	__u64 offset;
	__u64 length;
};

#define IMPORTER_IMPORT _IOW('i', 0, struct importer_import)
/* Adds a write fence to the imported dma-buf's reservation object, or signals it. */
#define IMPORTER_FENCE _IO('i', 1)
#define IMPORTER_SIGNAL _IO('i', 2)

#endif /* DMAWIRE_TESTS_IMPORTER_H */
