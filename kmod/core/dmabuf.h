/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_DMABUF_H
#define DMAWIRE_DMABUF_H

#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dmawire_buffer;

struct dma_buf *dmawire_dmabuf_export(struct dmawire_buffer *buffer,
				      bool writable);
struct dma_buf *dmawire_dmabuf_get(int fd);

struct dma_buf_attachment *dmawire_dmabuf_attach_own(struct dma_buf *dmabuf,
						     struct device *dev);
enum dma_data_direction
dmawire_dmabuf_own_direction(const struct dma_buf_attachment *attach);

int dmawire_dmabuf_sync(struct dma_buf *dmabuf, u64 offset, u64 length,
			enum dma_data_direction access, bool end);

struct dmawire_buffer *dmawire_dmabuf_buffer(struct dma_buf *dmabuf);
bool dmawire_dmabuf_is_writable(const struct dma_buf *dmabuf);

#endif /* DMAWIRE_DMABUF_H */
