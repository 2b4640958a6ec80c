// SPDX-License-Identifier: GPL-2.0
/*
 * Whether a device's DMA mask covers a buffer, and its mappings need syncs. The DMA
 * core WARNs if memory beyond the mask is mapped with neither an IOMMU nor a bounce
 * buffer below the mask.
 */
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu-dma.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/swiotlb.h>

#include "buffer.h"
#include "reach.h"

static bool is_below_mask(struct device *dev, dma_addr_t address, size_t length)
{
	const u64 mask = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);

	return address != DMA_MAPPING_ERROR && address <= mask &&
	       length - 1 <= mask - address;
}

static bool can_bounce(struct device *dev)
{
	const struct io_tlb_pool *pool = dmawire_compat_swiotlb_pool(dev);

	return pool && is_below_mask(dev, phys_to_dma_unencrypted(dev, pool->start),
				     pool->end - pool->start);
}

/**
 * dmawire_reach_covers - whether a buffer can be mapped for a device
 * @dev: the device
 * @buffer: one that has pages
 *
 * Return: true if dma_map_sgtable() finds for each page an address that @dev has
 * bits for: its own, a bounce buffer's or one of an IOMMU.
 */
bool dmawire_reach_covers(struct device *dev, const struct dmawire_buffer *buffer)
{
	size_t length;

	if (!dev->dma_mask)
		return false;
	/* The IOMMU has addresses below the mask. */
	if (get_dma_ops(dev) || use_dma_iommu(dev))
		return true;
	if (!dma_addressing_limited(dev) || can_bounce(dev))
		return true;
	if (is_swiotlb_force_bounce(dev))
		return false;

	for (size_t at = 0; at < buffer->length; at += length) {
		const size_t begin = buffer->offset + at;
		struct page *page = dmawire_buffer_page(buffer, begin >> PAGE_SHIFT);

		length = dmawire_buffer_contiguous(buffer, at, buffer->length - at);
		if (!is_below_mask(dev, phys_to_dma(dev, page_to_phys(page)),
				   offset_in_page(begin) + length))
			return false;
	}
	return true;
}

/**
 * dmawire_reach_needs_sync - whether a device and the CPU may see different data
 * @dev: the device
 * @sgt: memory that is mapped for it
 */
bool dmawire_reach_needs_sync(struct device *dev, const struct sg_table *sgt)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (dma_need_sync(dev, sg_dma_address(sg)))
			return true;
	return false;
}
