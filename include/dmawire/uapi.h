/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * dmawire: page-structured DMA buffers, exported as dma-bufs.
 *
 * This header is the specification of /dev/dmawireN.
 *
 * RULES THAT HOLD FOR EVERY IOCTL
 *
 * - The argument is a pointer to the struct named with the command. Its first
 *   field, 'size', is the size of the caller's struct in bytes. A struct
 *   shorter than the first published version is refused (EINVAL). A struct
 *   longer than the kernel's is taken if the surplus is all zero, else refused
 *   (E2BIG). A struct shorter than the kernel's, but not shorter than the first
 *   version, behaves as if the missing fields were zero. So programs and
 *   modules of different age work together.
 * - 'flags' may hold only the bits defined here, and a field called 'reserved'
 *   must be zero (EINVAL), so that both can be given a meaning later.
 * - Fields called 'out_*' are written by the kernel and only on success; what
 *   they held before is ignored. The other fields are read and never written.
 * - All sizes and offsets are in bytes.
 * - An ioctl that fails has changed nothing: no memory, descriptor or count is
 *   left behind.
 * - Any thread may call any ioctl at any time, on the same descriptor too.
 *
 * ERRORS (one meaning each, for all ioctls)
 *
 *   EINVAL     a field has a value that is not allowed: struct too short,
 *              unknown flag, reserved field not zero, length zero, unknown
 *              backing or direction, NUMA node that does not exist, or a
 *              descriptor that is not a dma-buf
 *   E2BIG      the struct is longer than the kernel knows and not zero there, or
 *              longer than a page of the machine
 *   EFAULT     the pointer to the struct, or part of it, cannot be accessed
 *   ENOTTY     there is no such command
 *   EOVERFLOW  the length rounded up cannot be represented
 *   EDQUOT     the buffer would exceed the limit of this open file or of the
 *              module (parameters max_bytes_per_open and max_bytes)
 *   ENOMEM     no memory, or none within the caller's memory cgroup
 *   EINTR      the caller was killed while memory was being allocated
 *   EMFILE     the caller has no free file descriptor
 *   ENFILE     the system has no free file
 *   EBADF      the descriptor given is not open
 *   EXDEV      the descriptor is a dma-buf, but of another exporter
 *
 * OWNERSHIP AND LIFETIME
 *
 * A buffer lives as long as anything refers to its dma-buf: descriptors,
 * mappings, attached devices. Closing the /dev/dmawireN it was created on, or
 * the death of its creator, does not end it. It stays charged to the open file
 * that created it until it is gone. Pages that a network card or disk still
 * reads through a zero-copy request outlive the buffer and are freed after it.
 * Its memory comes zeroed, and is charged to the creator's memory cgroup.
 *
 * WHAT A DMA-BUF OF OURS CAN DO BEYOND THE dma-buf ABI
 *
 * Its mappings have a struct page behind every address, so they may be given
 * to send(MSG_ZEROCOPY), IORING_OP_SEND_ZC, io_uring_register_buffers() and
 * O_DIRECT. Mappings must be MAP_SHARED (EINVAL otherwise); offset and length
 * may select any whole pages of the buffer. CPU access between device accesses
 * is bracketed by DMA_BUF_IOCTL_SYNC, as for any dma-buf.
 *
 * All of this header needs Linux 6.12 or later; what needs more says so.
 */
#ifndef DMAWIRE_UAPI_H
#define DMAWIRE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define DMAWIRE_IOC_MAGIC 0xDA

/**
 * enum dmawire_direction - who writes the buffer and who reads it
 * @DMAWIRE_BIDIRECTIONAL: device and CPU both write
 * @DMAWIRE_TO_DEVICE: the CPU writes, the device reads
 * @DMAWIRE_FROM_DEVICE: the device writes, the CPU and the network read
 *
 * Seen from the device that the buffer belongs to; the values are those of the
 * kernel's enum dma_data_direction.
 */
enum dmawire_direction {
	DMAWIRE_BIDIRECTIONAL = 0,
	DMAWIRE_TO_DEVICE = 1,
	DMAWIRE_FROM_DEVICE = 2,
};

/**
 * enum dmawire_backing - where the pages of a buffer come from
 * @DMAWIRE_BACKING_PAGES: the page allocator: the largest blocks it has to give,
 *	split so that each page stands alone
 */
enum dmawire_backing {
	DMAWIRE_BACKING_PAGES = 0,
};

/**
 * enum dmawire_verdict - whether a buffer can be used in some way, or why not
 * @DMAWIRE_USABLE: it can
 * @DMAWIRE_READ_ONLY: the descriptor is read-only and this use needs a mapping
 *	that can be written
 * @DMAWIRE_KERNEL_LACKS_IT: this kernel has no such thing
 *
 * Later versions may give other values; a program takes every value that is not
 * DMAWIRE_USABLE as "no".
 */
enum dmawire_verdict {
	DMAWIRE_USABLE = 0,
	DMAWIRE_READ_ONLY = 1,
	DMAWIRE_KERNEL_LACKS_IT = 2,
};

/**
 * struct dmawire_info - ioctl(DMAWIRE_IOC_INFO)
 * @size: sizeof(struct dmawire_info)
 * @flags: must be 0
 * @out_backings: bit mask of 1 << enum dmawire_backing: those this device has
 * @out_reserved: 0
 * @out_max_bytes: limit for all buffers of the module together
 * @out_bytes: what all buffers of the module hold now
 * @out_buffers: how many buffers the module has now
 * @out_open_max_bytes: limit for the buffers created on this open file
 * @out_open_bytes: what those hold now
 * @out_open_buffers: how many there are now
 *
 * Tells what the device offers and how much memory is in use. The counts are
 * one moment's; the limits are those in force now.
 *
 * Errors: EINVAL, E2BIG, EFAULT.
 */
struct dmawire_info {
	__u32 size;
	__u32 flags;
	__u32 out_backings;
	__u32 out_reserved;
	__aligned_u64 out_max_bytes;
	__aligned_u64 out_bytes;
	__aligned_u64 out_buffers;
	__aligned_u64 out_open_max_bytes;
	__aligned_u64 out_open_bytes;
	__aligned_u64 out_open_buffers;
};

#define DMAWIRE_INFO_SIZE_V1 64
#define DMAWIRE_IOC_INFO _IO(DMAWIRE_IOC_MAGIC, 0x00)

/*
 * A flag of struct dmawire_create: take the memory in folios of 64 KiB, blocks
 * that stay undivided.
 *
 * It is for mappings that are given to io_uring_register_buffers(), which makes
 * one piece of each folio where it otherwise makes one of each page; sends and
 * writes then handle fewer pieces. It does so for ranges in which all folios are
 * of one size, so @length is rounded up to a multiple of 64 KiB and there is no
 * odd rest. A folio is freed when no page of it is in use any more.
 *
 * Where no more folios are to be had the rest of the buffer is made of blocks as
 * without the flag: it can be used in all the same ways, only less cheaply.
 * out_folios of struct dmawire_query tells.
 */
#define DMAWIRE_CREATE_FOLIOS_64K 0x1

/**
 * struct dmawire_create - ioctl(DMAWIRE_IOC_CREATE)
 * @size: sizeof(struct dmawire_create)
 * @flags: DMAWIRE_CREATE_FOLIOS_64K or 0
 * @length: bytes wanted, at least 1; rounded up to whole pages
 * @backing: enum dmawire_backing
 * @direction: enum dmawire_direction
 * @node: NUMA node whose memory is preferred, or -1 for the caller's own
 * @fd_flags: O_CLOEXEC or 0, with O_RDWR or O_RDONLY. A read-only descriptor
 *	gives read-only mappings; devices attached to it may still write.
 * @out_length: bytes the buffer has
 * @out_fd: the dma-buf
 * @reserved: must be 0
 *
 * Creates a buffer and exports it. The caller owns @out_fd.
 *
 * The memory is taken in blocks as large as the page allocator has at hand,
 * down to single pages, so that a device sees few segments; running out of
 * memory gives ENOMEM and does not wake the OOM killer.
 *
 * Errors: EINVAL, E2BIG, EFAULT, EOVERFLOW, EDQUOT, ENOMEM, EINTR, EMFILE,
 * ENFILE.
 */
struct dmawire_create {
	__u32 size;
	__u32 flags;
	__aligned_u64 length;
	__u32 backing;
	__u32 direction;
	__s32 node;
	__u32 fd_flags;
	__aligned_u64 out_length;
	__s32 out_fd;
	__u32 reserved;
};

#define DMAWIRE_CREATE_SIZE_V1 48
#define DMAWIRE_IOC_CREATE _IO(DMAWIRE_IOC_MAGIC, 0x01)

/**
 * struct dmawire_query - ioctl(DMAWIRE_IOC_QUERY)
 * @size: sizeof(struct dmawire_query)
 * @flags: must be 0
 * @fd: a dma-buf of ours, created on any dmawire device
 * @out_backing: enum dmawire_backing
 * @out_direction: enum dmawire_direction
 * @out_node: the NUMA node asked for at creation, or -1
 * @out_length: bytes
 * @out_largest_segment: bytes of the longest physically contiguous run
 * @out_segments: number of such runs; a device without limits of its own needs
 *	that many scatter-gather entries
 * @out_mmap: enum dmawire_verdict for mmap(2)
 * @out_send: ... for MSG_ZEROCOPY and IORING_OP_SEND_ZC from a mapping
 * @out_register: ... for io_uring_register_buffers() of a mapping
 * @out_odirect_write: ... for writing a mapping to a file opened O_DIRECT
 * @out_odirect_read: ... for reading such a file into a mapping
 * @out_direct: ... for DMAWIRE_URING_CMD_REGISTER
 * @out_folios: of how many undivided blocks of 64 KiB it is made, beginning at
 *	offset 0; the rest of it is single pages
 *
 * Tells what a buffer is made of and what it, through this descriptor, can be
 * used for.
 *
 * Errors: EINVAL, E2BIG, EFAULT, EBADF, EXDEV.
 */
struct dmawire_query {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 out_backing;
	__u32 out_direction;
	__s32 out_node;
	__aligned_u64 out_length;
	__aligned_u64 out_largest_segment;
	__u32 out_segments;
	__u32 out_mmap;
	__u32 out_send;
	__u32 out_register;
	__u32 out_odirect_write;
	__u32 out_odirect_read;
	__u32 out_direct;
	__u32 out_folios;
};

#define DMAWIRE_QUERY_SIZE_V1 72
#define DMAWIRE_IOC_QUERY _IO(DMAWIRE_IOC_MAGIC, 0x02)

/*
 * COMMANDS FOR IO_URING
 *
 * An IORING_OP_URING_CMD on an open /dev/dmawireN, with the command in 'cmd_op'
 * and the address of its struct in 'addr'; all other fields of the SQE that the
 * operation does not define must be 0. The struct follows the rules above and is
 * read before io_uring_enter() returns, unless IOSQE_ASYNC, a link or a drain
 * delays the request: then it must stay until the completion. The result is 0 or
 * a negative error of the list above, or one of these:
 *
 *   EBUSY       the slot holds a buffer already; to unregister: it holds one that
 *               was registered by address
 *   EFBIG       the range is 4 GiB or more, which one slot cannot hold
 *   EOPNOTSUPP  this kernel cannot take buffers from a driver into an io_uring's
 *               table (it came with Linux 7.2), or there is no such command
 *
 * io_uring itself gives ENOMEM where it has no memory for a request, whatever the
 * command.
 */

/**
 * struct dmawire_uring_register - DMAWIRE_URING_CMD_REGISTER
 * @size: sizeof(struct dmawire_uring_register)
 * @flags: must be 0
 * @fd: a dma-buf of ours
 * @slot: index into the ring's table of fixed buffers, which must exist (sparse,
 *	io_uring_register_buffers_sparse()) and be empty there
 * @offset: where the range begins, in bytes, a multiple of the page size
 * @length: bytes of the range, a multiple of the page size; 0 means to the end
 *
 * Makes a range of a dma-buf a fixed buffer of the ring the request was made on:
 * no mapping, no pinning, nothing charged to RLIMIT_MEMLOCK. Requests address it
 * from 0. Through a read-only descriptor it can be sent and written to files, not
 * read into.
 *
 * The slot holds the dma-buf until it is emptied (by DMAWIRE_URING_CMD_UNREGISTER,
 * IORING_REGISTER_BUFFERS_UPDATE or the end of the ring) and the last request that
 * uses it, its notification included, is done. The descriptor may be closed at
 * once.
 *
 * One dma-buf may be in many slots and many rings.
 *
 * Errors: EINVAL (also: no such slot, range not of whole pages or outside the
 * buffer), E2BIG, EFAULT, EBADF, EXDEV, ENOMEM, EBUSY, EFBIG, EOPNOTSUPP.
 */
struct dmawire_uring_register {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 slot;
	__aligned_u64 offset;
	__aligned_u64 length;
};

#define DMAWIRE_URING_REGISTER_SIZE_V1 32
#define DMAWIRE_URING_CMD_REGISTER 0

/**
 * struct dmawire_uring_unregister - DMAWIRE_URING_CMD_UNREGISTER
 * @size: sizeof(struct dmawire_uring_unregister)
 * @flags: must be 0
 * @slot: index into the ring's table of fixed buffers
 * @reserved: must be 0
 *
 * Empties a slot. Requests in flight go on and keep the buffer until they are
 * done; the slot can be filled again at once.
 *
 * Errors: EINVAL (also: no such slot, or an empty one), E2BIG, EFAULT, EBUSY,
 * EOPNOTSUPP.
 */
struct dmawire_uring_unregister {
	__u32 size;
	__u32 flags;
	__u32 slot;
	__u32 reserved;
};

#define DMAWIRE_URING_UNREGISTER_SIZE_V1 16
#define DMAWIRE_URING_CMD_UNREGISTER 1

#endif /* DMAWIRE_UAPI_H */
