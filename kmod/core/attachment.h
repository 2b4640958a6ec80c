/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_ATTACHMENT_H
#define DMAWIRE_ATTACHMENT_H

#include <linux/dma-direction.h>
#include <linux/list.h>
#include <linux/types.h>

#include "buffer.h"

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dmawire_fence;
struct dmawire_segment;
struct sg_table;
struct spinlock;

/**
 * struct dmawire_span - part of a dma-buf as the device sees it
 * @address: of its first byte
 * @start: how many bytes of the dma-buf lie before it
 * @length: bytes
 */
struct dmawire_span {
	dma_addr_t address;
	size_t start;
	size_t length;
};

/**
 * struct dmawire_spans - all of a dma-buf, in the order of its bytes
 * @span: the spans
 * @nr: how many
 */
struct dmawire_spans {
	struct dmawire_span *span;
	unsigned int nr;
};

/**
 * struct dmawire_attachment - a dma-buf of ours that a device writes to
 * @dmabuf: holds a reference
 * @lock: the queue's
 * @dev: does the DMA; NULL if the CPU fills it
 * @attach: of @dev
 * @sgt: the mapping for @dev
 * @direction: of that mapping
 * @vaddr: the mapping for the CPU, if that fills it
 * @segments: spans that are contiguous for the device
 * @runs: the same, cut further so that each is also contiguous in memory: the
 *	unit of cache maintenance
 * @needs_sync: whether CPU and device can see different data
 * @serial: names the attachment, see struct dmawire_attachment_id
 * @is_published: userspace has been told the index; protected by @lock
 * @has_fences: ranges that are submitted to the device get a fence
 * @context: of the fences
 * @seqno: of the newest fence; protected by the reservation lock
 * @fence: the newest, if it has not signaled; protected by @lock
 * @node: in the queue's list of wedged attachments
 * @nr_queued: ranges that are the device's; protected by @lock
 * @pages: bit i: the PAGE_SIZE bytes at offset i * PAGE_SIZE are queued; protected
 *	by @lock
 */
struct dmawire_attachment {
	struct dma_buf *dmabuf;
	struct spinlock *lock;
	struct device *dev;
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	enum dma_data_direction direction;
	void *vaddr;
	struct dmawire_spans segments;
	struct dmawire_spans runs;
	bool needs_sync;
	u64 serial;
	bool is_published;
	bool has_fences;
	u64 context;
	u64 seqno;
	struct dmawire_fence *fence;
	struct list_head node;
	unsigned int nr_queued;
	unsigned long *pages;
};

struct dmawire_attachment *dmawire_attachment_create(struct dma_buf *dmabuf,
						     struct device *dev,
						     struct spinlock *lock);
void dmawire_attachment_destroy(struct dmawire_attachment *attachment);

bool dmawire_attachment_has(const struct dmawire_attachment *attachment,
			    const struct dmawire_range *range);
bool dmawire_attachment_is_aligned(const struct dmawire_attachment *attachment,
				   const struct dmawire_range *range,
				   unsigned int alignment);
bool dmawire_attachment_claim(struct dmawire_attachment *attachment,
			      const struct dmawire_range *range);
void dmawire_attachment_release(struct dmawire_attachment *attachment,
				const struct dmawire_range *range);
void dmawire_attachment_release_all(struct dmawire_attachment *attachment);

unsigned int dmawire_attachment_segments(const struct dmawire_attachment *attachment,
					 const struct dmawire_range *range,
					 unsigned int *first);
struct dmawire_segment
dmawire_attachment_segment(const struct dmawire_attachment *attachment,
			   const struct dmawire_range *range, unsigned int index);

void dmawire_attachment_sync_for_device(const struct dmawire_attachment *attachment,
					const struct dmawire_range *range);
void dmawire_attachment_sync_for_cpu(const struct dmawire_attachment *attachment,
				     const struct dmawire_range *range,
				     size_t written);

#endif /* DMAWIRE_ATTACHMENT_H */
