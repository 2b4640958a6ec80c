/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmawire for drivers: how a device that captures comes to a /dev/dmawireN.
 *
 * A driver registers its device with three callbacks and reports the frames it has
 * captured. Everything else is the core's: the node and its ABI (uapi.h),
 * memory, mapping for the device, cache and bounce buffer maintenance,
 * ownership, fences, io_uring, counts and tracepoints.
 *
 *	probe:	dmawire_device_register()
 *	remove:	dmawire_device_unregister()
 *
 *	start()		begin to capture; the transfers follow
 *	submit()	here is room for one frame: program the hardware, or keep
 *			it in a list until the hardware has time
 *	stop()		the hardware touches no memory when this returns; if it
 *			cannot be stopped, dmawire_device_wedged()
 *
 *	dmawire_transfer_done()		a frame is complete
 *	dmawire_transfer_failed()	this frame went wrong
 *	dmawire_device_failed()		the device has stopped capturing
 *
 * OWNERSHIP. A transfer is the driver's from submit() until it calls one of the
 * first two, or stop() returns: then the core takes back the rest. Before
 * submit() the memory has been synced for the device; done() syncs the bytes of the
 * frame for the CPU, and no others, so the device must have written its last byte by
 * then.
 * Drivers do no DMA mapping and no syncing of their own.
 *
 * CONTEXT. start() and stop() may sleep. submit() is atomic: it is called under a
 * spinlock, with interrupts enabled, and orders transfers. The functions that a
 * driver calls back may be called with the driver's own locks held, from process,
 * softirq and interrupt context; on PREEMPT_RT, where the core's locks sleep, not
 * under a raw spinlock and not from a handler that is not threaded.
 *
 * RULES. Transfers may be completed in any order, each once, with no more bytes
 * than it has room for, and not after stop() has returned. A driver that breaks
 * a rule gets a message in the log, and its device is failed: its frames
 * cannot be trusted. See docs/writing-a-driver.md.
 *
 * FENCES. A driver may state the longest time from one completion of its device to
 * the next, while it has transfers (max_interval_ms). Userspace can then ask for
 * fences (DMAWIRE_ATTACH_FENCES), which other drivers wait for. In exchange stop()
 * is on the path that signals fences: it allocates memory only with GFP_NOWAIT,
 * takes no lock that is held over other allocations, and flushes only work of
 * WQ_MEM_RECLAIM workqueues. A device that exceeds the time is stopped.
 */
#ifndef DMAWIRE_DEVICE_H
#define DMAWIRE_DEVICE_H

#include <linux/list.h>
#include <linux/types.h>

struct device;
struct dmawire_device;

/**
 * struct dmawire_segment - memory that the device sees as contiguous
 * @address: DMA address
 * @length: bytes
 */
struct dmawire_segment {
	dma_addr_t address;
	size_t length;
};

/**
 * struct dmawire_transfer - room for one frame
 * @length: bytes
 * @nr_segments: number of pieces the room consists of; see
 *	dmawire_transfer_segment()
 * @vaddr: the same memory for the CPU; only of devices with cpu_fills, else NULL
 * @node: the driver's, while the transfer is
 */
struct dmawire_transfer {
	size_t length;
	unsigned int nr_segments;
	void *vaddr;
	struct list_head node;
};

/**
 * struct dmawire_frame - a captured frame
 * @length: bytes written, from the beginning of the transfer on
 * @sequence: number of the frame since start(), counted by device or driver;
 *	frames that were lost for want of a transfer count too
 * @timestamp: CLOCK_MONOTONIC (ktime_get_ns()), when the frame was complete
 */
struct dmawire_frame {
	size_t length;
	u64 sequence;
	u64 timestamp;
};

/**
 * struct dmawire_device_ops - callbacks of a driver
 * @start: begin to capture @rate frames a second, or, if that is 0, as the
 *	device pleases; the next frame has sequence 0. May sleep. May call
 *	dmawire_device_failed(). 0 or a negative errno, which user space gets.
 * @stop: cease to capture. May sleep. When it returns neither device nor driver
 *	access any transfer, and the driver holds no transfer; or
 *	it has called dmawire_device_wedged(), and is called again later. Only
 *	called after a start() that succeeded.
 * @submit: take a transfer. Atomic. 0, or a negative errno and the transfer is not
 *	taken: user space gets it back with EIO.
 *
 * The core calls one at a time. submit() is only called between start() and stop().
 */
struct dmawire_device_ops {
	int (*start)(struct dmawire_device *device, u32 rate);
	void (*stop)(struct dmawire_device *device);
	int (*submit)(struct dmawire_device *device,
		      struct dmawire_transfer *transfer);
};

/**
 * struct dmawire_device_params - properties of a device
 * @name: at most 15 characters, for DMAWIRE_IOC_INFO and messages
 * @ops: callbacks
 * @priv: the driver's, see dmawire_device_priv()
 * @alignment: offset and length of a transfer are multiples of it, a power of 2;
 *	0 and 1 mean no demands
 * @max_segments: most segments of a transfer, 1 for a device without
 *	scatter-gather; 0 means no limit
 * @max_rate: most frames a second it can be told to make; 0 if it cannot be told
 * @max_interval_ms: longest time from one completion to the next, in milliseconds,
 *	while the driver has transfers; 0 if there is no bound, and then there are no
 *	fences
 * @frame_headers: its frames begin with struct dmawire_frame_header
 * @cpu_fills: no device writes but the CPU, by @vaddr of the transfers; there
 *	are no segments then
 *
 * The longest segment, its boundary and the DMA mask are taken from the struct
 * device (dma_set_max_seg_size() and so on), to be set before registration: for a
 * device that does not reach all memory, buffers are allocated from ZONE_DMA32.
 */
struct dmawire_device_params {
	const char *name;
	const struct dmawire_device_ops *ops;
	void *priv;
	unsigned int alignment;
	unsigned int max_segments;
	u32 max_rate;
	unsigned int max_interval_ms;
	bool frame_headers;
	bool cpu_fills;
};

struct dmawire_device *
dmawire_device_register(struct device *parent,
			const struct dmawire_device_params *params);
void dmawire_device_unregister(struct dmawire_device *device);
void dmawire_device_failed(struct dmawire_device *device);
void dmawire_device_wedged(struct dmawire_device *device);

void *dmawire_device_priv(const struct dmawire_device *device);

struct dmawire_segment
dmawire_transfer_segment(const struct dmawire_transfer *transfer,
			 unsigned int index);
void dmawire_transfer_done(struct dmawire_transfer *transfer,
			   const struct dmawire_frame *frame);
void dmawire_transfer_failed(struct dmawire_transfer *transfer);

#endif /* DMAWIRE_DEVICE_H */
