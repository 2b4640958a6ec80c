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
 * - Fields called 'out_*' are written by the kernel and only on success; their
 *   previous values are ignored. The other fields are read and never written.
 * - All sizes and offsets are in bytes.
 * - An ioctl that fails changes nothing: no memory stays allocated or charged, and
 *   no descriptor open.
 * - Any thread may call any ioctl at any time, on the same descriptor too.
 * - A file that is open for reading only answers INFO, QUERY and STATUS, and fills
 *   and empties slots of rings (DMAWIRE_URING_CMD_REGISTER). All else needs one that
 *   is open for reading and writing (EACCES).
 *
 * ERRORS (one meaning each, for all ioctls)
 *
 *   EINVAL     a field has an invalid value: struct too short, unknown flag,
 *              nonzero reserved field, zero length, unknown backing or direction,
 *              NUMA node that does not exist, a field that belongs to another
 *              backing, or a descriptor of the wrong type
 *   E2BIG      the struct is longer than the kernel's and not zero beyond its end,
 *              or longer than a page of the machine
 *   EFAULT     the struct, or part of it, cannot be accessed; or the memory passed
 *              to CREATE cannot be pinned
 *   ENOTTY     unknown command
 *   EOVERFLOW  the length rounded up, or the end of the memory passed to CREATE,
 *              cannot be represented
 *   EDQUOT     the buffer would exceed the limit of this open file or of the
 *              module (parameters max_bytes_per_open and max_bytes), or, if it
 *              pins the caller's memory or has memory that cannot be charged to
 *              a memory cgroup, the caller's RLIMIT_MEMLOCK
 *   EACCES     the buffer needs write access to the memory passed to CREATE, and
 *              the caller may not write to it; or the file is not open for
 *              reading and writing
 *   EPERM      the memfd passed to CREATE is not sealed against shrinking
 *   ENOMEM     out of memory, out of contiguous memory where the request needs
 *              it, or the caller's memory cgroup is full
 *   EINTR      the caller was killed while memory was being allocated or the device
 *              was being started or stopped; DEQUEUE, and ENQUEUE of a range with a
 *              fence, also return it for any other signal
 *   EMFILE     the caller has no free file descriptor
 *   ENFILE     the system has no free file
 *   EBADF      the descriptor passed is not open
 *   EXDEV      the descriptor is a dma-buf of another exporter
 *   EBUSY      another open file captures from this device; the dma-buf is
 *              already attached, to this or another device; ENQUEUE: a page of
 *              the range is queued already; DETACH: a range of the dma-buf is
 *              still queued; START: the device is running already
 *   EOPNOTSUPP the device does not capture, or the device or the kernel does not
 *              support the request
 *   EAGAIN     ENQUEUE: the queue is full (out_max_captures), completed ranges
 *              count until they are dequeued; DEQUEUE: no range has completed,
 *              and the file is O_NONBLOCK
 *   ENODEV     the device is gone
 *   EIO        the device failed; or its driver broke a rule (see the log), and
 *              no range can be queued until STOP or START
 *   ECANCELED  the capture ended before the device had filled the range
 *
 * OWNERSHIP AND LIFETIME
 *
 * A buffer lives as long as its dma-buf is referenced: by descriptors, mappings or
 * attached devices. Closing the /dev/dmawireN that it was created on, or the exit of
 * its creator, does not free it. It stays charged to the open file that created it
 * until it is freed. Pages that a network card or disk still reads for a zero-copy
 * request outlive the buffer and are freed after it.
 *
 * Memory that the module allocates is zeroed. Memory of the page allocator, and the
 * tables that describe it, are charged to the creator's memory cgroup; an importer's
 * scatter-gather table is charged to the process that attaches. Memory that cannot
 * be charged to a memory cgroup (ranges longer than the page allocator's blocks, CMA
 * areas, dma_alloc_coherent()) counts against RLIMIT_MEMLOCK, as pinned memory does.
 * A full memory cgroup is ENOMEM, never memory from elsewhere. CREATE does not
 * invoke the OOM killer, the machine's or the cgroup's, for the memory, its tables
 * or the dma-buf; inode and file of the dma-buf may exceed a full cgroup's limit, by
 * a page or two. A descriptor table that has to grow is charged as by open(2).
 *
 * A buffer of a CMA area is freed as a whole, when the last zero-copy request has
 * released its last page: until then it stays charged and keeps the module loaded.
 *
 * Memory of the caller (DMAWIRE_BACKING_MEMFD, DMAWIRE_BACKING_USER) remains usable
 * by its owner. It is pinned as long as the buffer lives, so it cannot be migrated
 * or swapped out, and counts against RLIMIT_MEMLOCK of the creator's user (together
 * with the memory that io_uring pins for that user; not if the creator has
 * CAP_IPC_LOCK), and like other buffers against the module's limits.
 *
 * MAPPINGS
 *
 * A mapping of a dma-buf of dmawire has a struct page behind every address, so it
 * can be passed to send(MSG_ZEROCOPY), IORING_OP_SEND_ZC,
 * io_uring_register_buffers() and O_DIRECT. Exceptions: device memory of
 * DMAWIRE_BACKING_COHERENT has no pages that can be referenced, and
 * DMAWIRE_BACKING_USER has no mappings: use the memory at its address in the process
 * that passed it. Mappings must be MAP_SHARED (EINVAL otherwise); offset and length
 * may select any whole pages of the buffer. CPU access between device accesses is
 * bracketed by DMA_BUF_IOCTL_SYNC, as for any dma-buf, or, if it is to part of the
 * buffer only, by DMAWIRE_IOC_SYNC.
 *
 * CAPTURE
 *
 * A device that captures writes to ranges of dma-bufs that are attached to its
 * queue. The first DMAWIRE_IOC_ATTACH makes an open file the owner of the queue. It
 * owns the queue until it has stopped the device, detached every dma-buf and
 * dequeued every range, or until its last close; other files get EBUSY meanwhile.
 *
 *   ATTACH   maps a dma-buf for the device
 *   ENQUEUE  queues a range of it (or DMAWIRE_URING_CMD_CAPTURE)
 *   START    the device begins to fill ranges, in the order queued
 *   DEQUEUE  returns a range that is done (or the command completes)
 *   STOP     completes all queued ranges: filled, or with ECANCELED
 *   DETACH   unmaps the dma-buf
 *
 * From ENQUEUE to DEQUEUE the range belongs to the device: neither CPU nor network
 * may access it, and queueing any page of it again fails with EBUSY. Caches and
 * bounce buffers are synced before a range completes, so it can be read or sent at
 * once, without DMA_BUF_IOCTL_SYNC.
 *
 * Data written by the CPU is preserved: ENQUEUE syncs the range, completion syncs
 * the bytes of the frame, and nothing else is ever synced for the device that
 * captures, neither by DETACH, close(2) or the removal of the device nor by
 * DMA_BUF_IOCTL_SYNC and DMAWIRE_IOC_SYNC. So CPU writes to memory that is not
 * queued are kept, and so are the bytes of a range behind its frame. A range that
 * completes with EIO, ECANCELED or ENODEV is not synced: if the device has begun to
 * write it, its contents are undefined until it is written or queued again.
 *
 * A dma-buf that is attached with DMAWIRE_ATTACH_FENCES has a write fence for each
 * range that has been submitted to the running device: poll(2) for reading on its
 * descriptor, DMA_BUF_IOCTL_EXPORT_SYNC_FILE and other drivers wait until the range
 * is complete. A range that is queued before START has no fence until then. The
 * fences of a dma-buf signal in the order in which its ranges were submitted. The
 * fence of a range that is not filled carries EIO, ECANCELED, ENODEV, or ETIMEDOUT
 * if the device stopped making progress: the device is stopped first, and its ranges
 * complete with EIO. In the other direction, the device gets a range only when all
 * fences that other drivers had added to the dma-buf before the fence of the range
 * have signaled; ranges queued later may overtake it. Without the flag the module
 * neither adds fences to the dma-buf nor waits for its fences.
 *
 * Each frame has a sequence number. A gap between two frames means that frames were
 * lost because no range was queued: out_lost is their number, and the count of
 * struct dmawire_status includes them. A device may complete frames out of order; a
 * frame that completes after a later one is subtracted from that count again.
 *
 * A device failure ends the run: all queued ranges complete with EIO, and ENQUEUE
 * fails with EIO until STOP or START. Suspending the machine does the same.
 *
 * A device that cannot be stopped (STOP fails with EIO) may still write to the
 * ranges that it had. They complete with EIO, but remain claimed: ENQUEUE and START
 * fail with EIO, DETACH with EBUSY, and their memory stays allocated, also after the
 * file is closed. Each STOP and START tries again to stop the device, until one
 * succeeds.
 *
 * If the device is removed (its driver is unbound, it is unplugged) all queued
 * ranges complete with ENODEV; ATTACH, ENQUEUE, START, STOP and CREATE of
 * DMAWIRE_BACKING_COHERENT fail with ENODEV, and all dma-bufs are detached (DETACH:
 * EINVAL). The dma-bufs live on, except for device memory of
 * DMAWIRE_BACKING_COHERENT.
 *
 * poll(2) on an open /dev/dmawireN: POLLIN if this file can dequeue a range, POLLHUP
 * if the device is gone.
 *
 * All of this header needs Linux 6.12 or later; features that need more say so.
 */
#ifndef DMAWIRE_UAPI_H
#define DMAWIRE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define DMAWIRE_IOC_MAGIC 0xDA

/**
 * enum dmawire_direction - direction of the data
 * @DMAWIRE_BIDIRECTIONAL: device and CPU both write
 * @DMAWIRE_TO_DEVICE: the CPU writes, the device reads
 * @DMAWIRE_FROM_DEVICE: the device writes, the CPU and the network read
 *
 * Directions are relative to the device; the values are equal to the kernel's enum
 * dma_data_direction.
 */
enum dmawire_direction {
	DMAWIRE_BIDIRECTIONAL = 0,
	DMAWIRE_TO_DEVICE = 1,
	DMAWIRE_FROM_DEVICE = 2,
};

/**
 * enum dmawire_backing - where the pages of a buffer come from
 * @DMAWIRE_BACKING_PAGES: the page allocator: the largest blocks available, split
 *	into pages with a reference count each
 * @DMAWIRE_BACKING_MEMFD: a range of a memfd of the caller, of small or huge pages
 * @DMAWIRE_BACKING_USER: memory of the calling process, at any address and of any
 *	length
 * @DMAWIRE_BACKING_CONTIG: one physically contiguous range of memory
 * @DMAWIRE_BACKING_COHERENT: memory that is coherent for CPU and device: no syncing
 *
 * Use and cost of each: docs/backings.md.
 */
enum dmawire_backing {
	DMAWIRE_BACKING_PAGES = 0,
	DMAWIRE_BACKING_MEMFD = 1,
	DMAWIRE_BACKING_USER = 2,
	DMAWIRE_BACKING_CONTIG = 3,
	DMAWIRE_BACKING_COHERENT = 4,
};

/**
 * enum dmawire_verdict - whether a buffer can be used in some way, or why not
 * @DMAWIRE_USABLE: it can
 * @DMAWIRE_READ_ONLY: the descriptor is read-only and this use needs a writable
 *	mapping
 * @DMAWIRE_UNSUPPORTED: this kernel does not support it
 * @DMAWIRE_USE_IN_PLACE: not by a mapping of the dma-buf: the kernel does not map
 *	memory of a process a second time. Use the memory at its address in that
 *	process, by the rules for any memory of its kind
 * @DMAWIRE_NO_LONGTERM_PIN: the memory is of a CMA area: FOLL_LONGTERM migrates
 *	pages out of it, and these cannot be migrated. Pinning a writable mapping
 *	fails with EFAULT. A read-only mapping must not be passed to anything that
 *	pins with FOLL_LONGTERM without writing: the kernel would retry until the
 *	caller is killed
 * @DMAWIRE_NO_PAGES: the memory is a device's own (dma_alloc_coherent()), its pages
 *	cannot be referenced. Data has to be copied to be sent or written to disk
 *
 * Later versions may add values; a program treats every value that is not
 * DMAWIRE_USABLE as "no".
 */
enum dmawire_verdict {
	DMAWIRE_USABLE = 0,
	DMAWIRE_READ_ONLY = 1,
	DMAWIRE_UNSUPPORTED = 2,
	DMAWIRE_USE_IN_PLACE = 3,
	DMAWIRE_NO_LONGTERM_PIN = 4,
	DMAWIRE_NO_PAGES = 5,
};

/**
 * struct dmawire_info - ioctl(DMAWIRE_IOC_INFO)
 * @size: sizeof(struct dmawire_info)
 * @flags: must be 0
 * @out_backings: bit mask of 1 << enum dmawire_backing: backings of this device
 * @out_reserved: 0
 * @out_max_bytes: limit for all buffers of the module together
 * @out_bytes: bytes of all buffers of the module now
 * @out_buffers: how many buffers the module has now
 * @out_open_max_bytes: limit for the buffers created on this open file
 * @out_open_bytes: bytes of these buffers now
 * @out_open_buffers: number of these buffers now
 * @out_driver: name of the device's driver, ends with a zero byte
 * @out_features: DMAWIRE_FEATURE_*
 * @out_max_captures: max number of queued ranges, 0 if the device does not capture
 * @out_max_segments: max number of DMA segments of a range
 * @out_alignment: offset and length of a range must be multiples of it, in bytes
 *
 * Returns the properties of the device and the memory in use. The counts are a
 * snapshot; the limits are the ones in force now.
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
	char out_driver[16];
	__u32 out_features;
	__u32 out_max_captures;
	__u32 out_max_segments;
	__u32 out_alignment;
};

/* The device fills ranges with frames. */
#define DMAWIRE_FEATURE_CAPTURE 0x1
/* It accepts a frame rate (rate of struct dmawire_start). */
#define DMAWIRE_FEATURE_RATE 0x2
/* Each of its frames begins with a struct dmawire_frame_header. */
#define DMAWIRE_FEATURE_FRAME_HEADER 0x4
/* Buffers for it can be of a CMA area (DMAWIRE_CREATE_CMA). */
#define DMAWIRE_FEATURE_CMA 0x8

#define DMAWIRE_INFO_SIZE_V1 96
#define DMAWIRE_IOC_INFO _IO(DMAWIRE_IOC_MAGIC, 0x00)

/*
 * A flag of struct dmawire_create: take the memory in folios of 64 KiB, blocks
 * that stay undivided.
 *
 * io_uring_register_buffers() makes one bvec of each folio of a mapping where it
 * otherwise makes one of each page; sends and writes then handle fewer bvecs. It
 * does so for ranges in which all folios are of one size, so @length is rounded up
 * to a multiple of 64 KiB. A folio is freed when the last of its pages is released.
 *
 * If no more folios can be allocated the rest of the buffer is made of blocks as
 * without the flag: it has the same uses, at a higher cost. out_folios of struct
 * dmawire_query is the number of folios.
 */
#define DMAWIRE_CREATE_FOLIOS_64K 0x1

/*
 * A flag of struct dmawire_create for DMAWIRE_BACKING_CONTIG: allocate from the
 * device's CMA area, or else from the default one (kernel parameter cma=).
 *
 * The area is reserved at boot, so it has contiguous memory when all other memory is
 * fragmented. In exchange the buffer can be sent, written to files and put into a
 * slot (DMAWIRE_URING_CMD_REGISTER), but not registered by address.
 */
#define DMAWIRE_CREATE_CMA 0x2

/**
 * struct dmawire_create - ioctl(DMAWIRE_IOC_CREATE)
 * @size: sizeof(struct dmawire_create)
 * @flags: DMAWIRE_CREATE_FOLIOS_64K, DMAWIRE_CREATE_CMA or 0
 * @length: bytes requested, at least 1; rounded up to whole pages, except for
 *	DMAWIRE_BACKING_USER
 * @backing: enum dmawire_backing
 * @direction: enum dmawire_direction
 * @node: preferred NUMA node, or -1 for the caller's own (or the one of its memory
 *	policy). Single pages of that node are preferred to large blocks of another;
 *	folios of 64 KiB of any node to single pages
 * @fd_flags: O_CLOEXEC or 0, with O_RDWR or O_RDONLY. A read-only descriptor
 *	gives read-only mappings; devices attached to it may still write.
 * @out_length: bytes the buffer has
 * @out_fd: the dma-buf
 * @reserved: must be 0
 * @start: DMAWIRE_BACKING_MEMFD: offset of the buffer in the memfd, a multiple of
 *	the page size. DMAWIRE_BACKING_USER: address of the buffer, any. Else 0
 * @memfd: DMAWIRE_BACKING_MEMFD: descriptor of the memfd; else 0
 * @reserved2: must be 0
 *
 * Creates a buffer and exports it. The caller owns @out_fd.
 *
 * DMAWIRE_BACKING_PAGES: the memory is allocated in the largest blocks that the page
 * allocator has available, down to single pages, so that a device sees few segments.
 * If memory runs out CREATE fails with ENOMEM, without invoking the OOM killer.
 *
 * DMAWIRE_BACKING_MEMFD: @memfd is a memfd, of huge pages or not, that is open for
 * reading, sealed with F_SEAL_SHRINK (EPERM), and long enough for @start and
 * @length, rounded up (EINVAL). Holes are allocated (ENOMEM); they and pages that
 * fallocate(2) has only reserved are zeroed; huge pages must be allocated before, by
 * fallocate(2) for instance (ENOMEM). @flags is 0, @node -1. Unless @direction is
 * DMAWIRE_TO_DEVICE and @fd_flags O_RDONLY, the memfd must be open for writing and
 * not sealed against it (EACCES), and the buffer counts as a writable mapping of the
 * memfd: while it lives F_SEAL_WRITE cannot be added (EBUSY), even if holes have
 * been punched over all of its range. F_SEAL_FUTURE_WRITE can be added: from then on
 * the dma-buf cannot be mapped for writing (mmap(2) fails with EPERM), while
 * existing mappings, devices and slots may continue to write. With DMAWIRE_TO_DEVICE
 * and O_RDONLY no device can write to the buffer either: mapping it for that fails
 * with EACCES.
 *
 * The buffer holds a reference to the memfd, which may be closed, and keeps its
 * pages. Mappings of the dma-buf show the memfd's pages within the range and cannot
 * be changed to show others: remap_file_pages(2) fails with ENODEV. Punching a hole
 * into the memfd removes the memory from the memfd and from mappings, not from the
 * buffer: device and CPU see different memory then. It takes a descriptor of the
 * memfd: MADV_REMOVE on a mapping of the dma-buf fails with EOPNOTSUPP. Huge pages
 * can only be mapped as a whole (out_granule of struct dmawire_query), but a buffer
 * may be any part of them, and several buffers may share one.
 *
 * DMAWIRE_BACKING_USER: exactly the @length bytes at @start are pinned, in place;
 * @flags is 0, @node -1. They must be mapped readable, and, unless @direction is
 * DMAWIRE_TO_DEVICE and @fd_flags O_RDONLY, writable; with these two no device can
 * write to the buffer, as with a memfd. Mappings of devices (VM_IO, VM_PFNMAP; of
 * dma-bufs of most other exporters), secret memory, and, to be written, shared
 * mappings of files that are not of tmpfs or hugetlbfs cannot be pinned (EFAULT).
 *
 * The process may unmap the memory or map other memory there, and may exit: the
 * buffer keeps the pinned pages. A forked child gets a copy of private memory. The
 * dma-buf begins with the byte at @start: offsets count from there. Its first and
 * last page may hold other data, also of other buffers. It cannot be mapped (see
 * enum dmawire_verdict; mmap(2) fails with EOPNOTSUPP). Unless it consists of whole
 * pages only dmawire's own devices can be attached to it, others get EOPNOTSUPP; and
 * a device that is not cache-coherent can be attached for writing only if the buffer
 * begins and ends on a cache line boundary, else EOPNOTSUPP.
 *
 * DMAWIRE_BACKING_CONTIG: the memory is one segment (out_segments of struct
 * dmawire_query), for devices without scatter-gather. Up to the page allocator's
 * largest block (4 MiB where pages are 4 KiB) it is one block of it, or ENOMEM.
 * Longer buffers are ranges from which the kernel migrates the pages in use; they
 * count against RLIMIT_MEMLOCK (EDQUOT). They need a kernel that exports this to
 * modules (7.3 does, 6.12 does not), else EOPNOTSUPP. With DMAWIRE_CREATE_CMA the
 * memory is of a CMA area, counts against RLIMIT_MEMLOCK at any length, and @node is
 * -1; without a CMA area, or on a kernel that does not export it to modules (6.12),
 * EOPNOTSUPP.
 *
 * DMAWIRE_BACKING_COHERENT: memory for the device behind the node, which must do DMA
 * (EOPNOTSUPP). @flags is 0, @node -1. If that device is cache-coherent and reaches
 * all memory, these are pages as of DMAWIRE_BACKING_PAGES, with the same uses. Else
 * the memory is allocated by dma_alloc_coherent(), and uncached if the device is not
 * cache-coherent. It differs from other backings: out_send and others of struct
 * dmawire_query are DMAWIRE_NO_PAGES, so it can be mapped, read, written and copied
 * from, and no more; it can be attached to no other device (EOPNOTSUPP); it counts
 * against RLIMIT_MEMLOCK (EDQUOT); and it is revoked with the device: an access to a
 * mapping is SIGBUS then.
 *
 * Errors: EINVAL, E2BIG, EFAULT, EOVERFLOW, EDQUOT, ENOMEM, EINTR, EMFILE,
 * ENFILE, EBADF, EACCES, EPERM, EOPNOTSUPP, ENODEV.
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
	__aligned_u64 start;
	__s32 memfd;
	__u32 reserved2;
};

#define DMAWIRE_CREATE_SIZE_V1 64
#define DMAWIRE_IOC_CREATE _IO(DMAWIRE_IOC_MAGIC, 0x01)

/**
 * struct dmawire_query - ioctl(DMAWIRE_IOC_QUERY)
 * @size: sizeof(struct dmawire_query)
 * @flags: must be 0
 * @fd: a dma-buf of dmawire, created on any dmawire device
 * @out_backing: enum dmawire_backing
 * @out_direction: enum dmawire_direction
 * @out_node: the NUMA node asked for at creation, or -1
 * @out_length: bytes
 * @out_largest_segment: bytes of the longest physically contiguous run
 * @out_segments: number of physically contiguous runs: the scatter-gather entries
 *	that a device without limits needs
 * @out_mmap: enum dmawire_verdict for mmap(2)
 * @out_send: ... for MSG_ZEROCOPY and IORING_OP_SEND_ZC from a mapping
 * @out_register: ... for io_uring_register_buffers() of a mapping
 * @out_odirect_write: ... for writing a mapping to a file opened O_DIRECT
 * @out_odirect_read: ... for reading a file opened O_DIRECT into a mapping
 * @out_direct: ... for DMAWIRE_URING_CMD_REGISTER
 * @out_folios: number of folios of 64 KiB that begin in the buffer; the folios of
 *	DMAWIRE_CREATE_FOLIOS_64K lie at its beginning
 * @out_granule: address, offset and length of a mapping must be multiples of it: the
 *	page size, or the huge page size. The kernel picks an aligned address only if
 *	the caller passes one (MAP_FIXED). 0 if the dma-buf cannot be mapped
 * @out_offset: bytes before the buffer in its first page
 * @out_reserved: 0
 * @out_segments_of: histogram of @out_segments by length: entry i counts segments of
 *	at least 2^i and less than 2^(i + 1) pages. The first also counts parts of
 *	one page, the last all that are longer
 *
 * Returns the layout of a buffer and the uses of it through this descriptor.
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
	__aligned_u64 out_granule;
	__u32 out_offset;
	__u32 out_reserved;
	__u32 out_segments_of[16];
};

#define DMAWIRE_QUERY_SIZE_V1 152
#define DMAWIRE_IOC_QUERY _IO(DMAWIRE_IOC_MAGIC, 0x02)

/*
 * A flag of struct dmawire_attach: fences in both directions, for drivers that share
 * the dma-buf; see CAPTURE above. Only for devices whose driver states a time in
 * which they make progress (EOPNOTSUPP). ENQUEUE then waits for the dma-buf's
 * reservation lock, which any driver that has the dma-buf may hold for a while;
 * DMAWIRE_URING_CMD_CAPTURE waits for it in an io_uring worker.
 */
#define DMAWIRE_ATTACH_FENCES 0x1

/**
 * struct dmawire_attach - ioctl(DMAWIRE_IOC_ATTACH)
 * @size: sizeof(struct dmawire_attach)
 * @flags: DMAWIRE_ATTACH_FENCES or 0
 * @fd: a dma-buf of dmawire, not DMAWIRE_TO_DEVICE
 * @out_index: index of the attachment, for DETACH and ENQUEUE; the smallest free
 *	number
 *
 * Attaches a dma-buf to the queue and maps it for the device, in the dma-buf's
 * direction or, where device and CPU do not see the same memory, bidirectionally.
 * The attachment holds a reference to the dma-buf; the descriptor may be closed at
 * once. A dma-buf has at most one attachment at a time, so that no two devices write
 * to the same page.
 *
 * Errors: EINVAL (also: the dma-buf's direction), E2BIG, EFAULT, EBADF, EXDEV,
 * EBUSY, EOPNOTSUPP (also: it does not end with a cache line, it is another
 * device's own memory, see CREATE, or the device has no fences), EACCES,
 * ENODEV, ENOMEM (also: no room in the IOMMU), EIO (the device cannot reach the
 * memory, or there is no room for bounce buffers).
 */
struct dmawire_attach {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 out_index;
};

#define DMAWIRE_ATTACH_SIZE_V1 16
#define DMAWIRE_IOC_ATTACH _IO(DMAWIRE_IOC_MAGIC, 0x03)

/**
 * struct dmawire_detach - ioctl(DMAWIRE_IOC_DETACH)
 * @size: sizeof(struct dmawire_detach)
 * @flags: must be 0
 * @index: out_index of ATTACH
 * @reserved: must be 0
 *
 * Unmaps a dma-buf from the device. Its ranges that are done can still be dequeued.
 *
 * Errors: EINVAL (also: unknown index), E2BIG, EFAULT, EBUSY, EACCES.
 */
struct dmawire_detach {
	__u32 size;
	__u32 flags;
	__u32 index;
	__u32 reserved;
};

#define DMAWIRE_DETACH_SIZE_V1 16
#define DMAWIRE_IOC_DETACH _IO(DMAWIRE_IOC_MAGIC, 0x04)

/**
 * struct dmawire_start - ioctl(DMAWIRE_IOC_START)
 * @size: sizeof(struct dmawire_start)
 * @flags: must be 0
 * @rate: frames a second for devices with DMAWIRE_FEATURE_RATE; 0: at the device's
 *	own rate, which for `pattern` is whenever a range is queued
 * @reserved: must be 0
 *
 * Starts the device and resets its counts: the first frame has sequence 0. Ranges
 * may be queued before and after START. Waits for a stop in progress. A range queued
 * before whose fence cannot be published completes with EIO.
 *
 * Errors: EINVAL (also: a rate too high for the device), E2BIG, EFAULT, EBUSY (also:
 * it is running already), EOPNOTSUPP (also: a rate for a device without
 * DMAWIRE_FEATURE_RATE), EACCES, EINTR, ENODEV, ENOMEM, EIO.
 */
struct dmawire_start {
	__u32 size;
	__u32 flags;
	__u32 rate;
	__u32 reserved;
};

#define DMAWIRE_START_SIZE_V1 16
#define DMAWIRE_IOC_START _IO(DMAWIRE_IOC_MAGIC, 0x05)

/**
 * struct dmawire_stop - ioctl(DMAWIRE_IOC_STOP)
 * @size: sizeof(struct dmawire_stop)
 * @flags: must be 0
 *
 * Stops the device, if it is running, and returns when it no longer accesses memory.
 * Queued ranges that are not filled complete with ECANCELED, or with EIO if the
 * device had failed. A range that another thread queues meanwhile may complete a
 * moment later.
 *
 * Errors: EINVAL, E2BIG, EFAULT, EBUSY, EACCES, EINTR, ENODEV, EIO (the device
 * cannot be stopped).
 */
struct dmawire_stop {
	__u32 size;
	__u32 flags;
};

#define DMAWIRE_STOP_SIZE_V1 8
#define DMAWIRE_IOC_STOP _IO(DMAWIRE_IOC_MAGIC, 0x06)

/**
 * struct dmawire_enqueue - ioctl(DMAWIRE_IOC_ENQUEUE)
 * @size: sizeof(struct dmawire_enqueue)
 * @flags: must be 0
 * @index: out_index of ATTACH
 * @length: bytes of the range, at least 1
 * @offset: beginning of the range, in bytes, a multiple of the page size. Pages that
 *	the range covers only in part belong to the device as a whole.
 * @user_data: returned with the range
 *
 * Queues a range for one frame.
 *
 * Errors: EINVAL (also: unknown index, range outside the dma-buf, not of the
 * device's alignment, or of more segments than the device supports), E2BIG, EFAULT,
 * EBUSY, EAGAIN, EACCES, ENODEV, EIO; with DMAWIRE_ATTACH_FENCES also ENOMEM, EINTR.
 * Without that flag it does not sleep.
 */
struct dmawire_enqueue {
	__u32 size;
	__u32 flags;
	__u32 index;
	__u32 length;
	__aligned_u64 offset;
	__aligned_u64 user_data;
};

#define DMAWIRE_ENQUEUE_SIZE_V1 32
#define DMAWIRE_IOC_ENQUEUE _IO(DMAWIRE_IOC_MAGIC, 0x07)

/**
 * struct dmawire_dequeue - ioctl(DMAWIRE_IOC_DEQUEUE)
 * @size: sizeof(struct dmawire_dequeue)
 * @flags: must be 0
 * @out_result: bytes of the frame, or a negative error: ECANCELED, ENODEV, EIO
 * @out_index: as passed to ENQUEUE
 * @out_user_data: as passed to ENQUEUE
 * @out_offset: as passed to ENQUEUE
 * @out_sequence: number of the frame since the start
 * @out_timestamp: when the frame was complete, CLOCK_MONOTONIC, nanoseconds
 * @out_lost: frames lost between the frame before and this one
 * @out_reserved: 0
 *
 * Returns a range that was queued with ENQUEUE, in the order of completion. Waits
 * for one unless the file is O_NONBLOCK.
 *
 * Errors: EINVAL, E2BIG, EFAULT (the range is lost to the caller, not to the
 * system), EAGAIN, EBUSY, EACCES, EINTR (a signal came), ECANCELED (no range is
 * queued, so waiting would never end), ENODEV (the same, and the device is gone).
 */
struct dmawire_dequeue {
	__u32 size;
	__u32 flags;
	__s32 out_result;
	__u32 out_index;
	__aligned_u64 out_user_data;
	__aligned_u64 out_offset;
	__aligned_u64 out_sequence;
	__aligned_u64 out_timestamp;
	__u32 out_lost;
	__u32 out_reserved;
};

#define DMAWIRE_DEQUEUE_SIZE_V1 56
#define DMAWIRE_IOC_DEQUEUE _IO(DMAWIRE_IOC_MAGIC, 0x08)

/**
 * struct dmawire_status - ioctl(DMAWIRE_IOC_STATUS)
 * @size: sizeof(struct dmawire_status)
 * @flags: must be 0
 * @out_captured: frames captured since the start
 * @out_lost: frames lost because no range was queued
 * @out_failed: ranges that completed with EIO
 * @out_canceled: ranges that completed with ECANCELED or ENODEV
 * @out_queued: ranges that are queued now
 * @out_running: 1 from START until the device is stopped, by STOP or a failure
 *
 * Allowed on any open file.
 *
 * Errors: EINVAL, E2BIG, EFAULT, EOPNOTSUPP.
 */
struct dmawire_status {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_captured;
	__aligned_u64 out_lost;
	__aligned_u64 out_failed;
	__aligned_u64 out_canceled;
	__u32 out_queued;
	__u32 out_running;
};

#define DMAWIRE_STATUS_SIZE_V1 48
#define DMAWIRE_IOC_STATUS _IO(DMAWIRE_IOC_MAGIC, 0x09)

/*
 * Flags of struct dmawire_sync, as of DMA_BUF_IOCTL_SYNC: the kind of CPU access, at
 * least one of the first two; and whether the access begins (without
 * DMAWIRE_SYNC_END) or has ended.
 */
#define DMAWIRE_SYNC_READ 0x1
#define DMAWIRE_SYNC_WRITE 0x2
#define DMAWIRE_SYNC_RW (DMAWIRE_SYNC_READ | DMAWIRE_SYNC_WRITE)
#define DMAWIRE_SYNC_END 0x4

/**
 * struct dmawire_sync - ioctl(DMAWIRE_IOC_SYNC)
 * @size: sizeof(struct dmawire_sync)
 * @flags: DMAWIRE_SYNC_*
 * @fd: a dma-buf of dmawire, created on any dmawire device
 * @reserved: must be 0
 * @offset: beginning of the part, in bytes
 * @length: bytes of the part; 0 means to the end
 *
 * DMA_BUF_IOCTL_SYNC for part of a dma-buf, rounded out to whole pages: for every
 * importer that has it mapped, it syncs the caches and bounce buffers of that part
 * only. The cost is proportional to the part where devices and CPU do not see the
 * same memory; elsewhere it is close to zero. Devices that capture (ATTACH) are
 * skipped, as by DMA_BUF_IOCTL_SYNC.
 *
 * Unlike that ioctl it does not wait for fences: they are of the whole dma-buf, and
 * other parts of it may be queued. Ranges that were queued and have completed
 * (DEQUEUE) need neither ioctl.
 *
 * Errors: EINVAL (also: part outside the dma-buf), E2BIG, EFAULT, EBADF, EXDEV,
 * EACCES.
 */
struct dmawire_sync {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 reserved;
	__aligned_u64 offset;
	__aligned_u64 length;
};

#define DMAWIRE_SYNC_SIZE_V1 32
#define DMAWIRE_IOC_SYNC _IO(DMAWIRE_IOC_MAGIC, 0x0a)

/**
 * struct dmawire_frame_header - header of the frames of a device with
 *	DMAWIRE_FEATURE_FRAME_HEADER
 * @magic: DMAWIRE_FRAME_MAGIC
 * @length: bytes of the frame, this header included
 * @sequence: number of the frame since the start
 * @timestamp: when the frame was made, CLOCK_MONOTONIC, nanoseconds
 * @checked: bytes from the beginning of the frame that @checksum covers; at
 *	least the header
 * @reserved: 0
 * @checksum: XXH64 with seed 0 of the @checked bytes, computed with this field 0
 *
 * In the byte order of the machine that made the frame.
 */
struct dmawire_frame_header {
	__u32 magic;
	__u32 length;
	__aligned_u64 sequence;
	__aligned_u64 timestamp;
	__u32 checked;
	__u32 reserved;
	__aligned_u64 checksum;
};

#define DMAWIRE_FRAME_MAGIC 0x46574d44 /* "DMWF" */

/*
 * COMMANDS FOR IO_URING
 *
 * An IORING_OP_URING_CMD on an open /dev/dmawireN, with the command in 'cmd_op'
 * and the address of its struct in 'addr'; all other fields of the SQE that the
 * operation does not define, 'cmd' among them, must be 0 (EINVAL). The struct
 * follows the rules above and is read before io_uring_enter() returns, unless
 * IOSQE_ASYNC, a link, a drain or DMAWIRE_ATTACH_FENCES delays the request: then it
 * must stay until the completion. The result is 0 or a negative error of the list
 * above, or one of these:
 *
 *   EBUSY       the slot holds a buffer already; UNREGISTER: it holds a buffer that
 *               was registered by address
 *   EFBIG       the range is 4 GiB or more, which one slot cannot hold
 *   EOPNOTSUPP  this kernel cannot take buffers from a driver into an io_uring's
 *               table (since Linux 7.3), the command is unknown, or the memory has
 *               no pages (DMAWIRE_NO_PAGES)
 *
 * io_uring itself returns ENOMEM if it cannot allocate a request, for any command.
 */

/**
 * struct dmawire_uring_register - DMAWIRE_URING_CMD_REGISTER
 * @size: sizeof(struct dmawire_uring_register)
 * @flags: must be 0
 * @fd: a dma-buf of dmawire
 * @slot: index into the ring's table of fixed buffers, which must exist (sparse,
 *	io_uring_register_buffers_sparse()) and be empty there
 * @offset: beginning of the range, in bytes, a multiple of the page size
 * @length: bytes of the range, a multiple of the page size unless it reaches to the
 *	end; 0 means to the end
 *
 * Makes a range of a dma-buf a fixed buffer of the ring that the request was
 * submitted to: no mapping, no pinning, no charge to RLIMIT_MEMLOCK. Requests
 * address it from 0. With a read-only descriptor it can be sent and written to
 * files, not read into.
 *
 * The slot holds a reference to the dma-buf until the slot is emptied (by
 * DMAWIRE_URING_CMD_UNREGISTER, IORING_REGISTER_BUFFERS_UPDATE or the end of the
 * ring) and the last request that uses it, including its notification, is done. The
 * descriptor may be closed at once.
 *
 * One dma-buf may be in many slots and many rings.
 *
 * Errors: EINVAL (also: slot out of range, range misaligned or outside the buffer),
 * E2BIG, EFAULT, EBADF, EXDEV, ENOMEM, EBUSY, EFBIG, EOPNOTSUPP.
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
 * Empties a slot. Requests in flight continue and keep the buffer until they are
 * done; the slot can be filled again at once.
 *
 * Errors: EINVAL (also: slot out of range or empty), E2BIG, EFAULT, EBUSY,
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

/**
 * struct dmawire_uring_capture - DMAWIRE_URING_CMD_CAPTURE
 * @size: sizeof(struct dmawire_uring_capture)
 * @flags: must be 0
 * @index: as in struct dmawire_enqueue
 * @length: as in struct dmawire_enqueue
 * @offset: as in struct dmawire_enqueue
 * @out_sequence: as in struct dmawire_dequeue
 * @out_timestamp: as in struct dmawire_dequeue
 * @out_lost: as in struct dmawire_dequeue
 * @out_reserved: 0
 *
 * Queues a range and completes when it is filled: submission is ENQUEUE, completion
 * is DEQUEUE. The result is the length of the frame, or a negative error of ENQUEUE
 * or DEQUEUE. The struct must stay valid until the completion; its out_* fields are
 * written before the CQE is posted, if the result is not negative and the process
 * still has its memory.
 *
 * io_uring cancels a request when its ring or its process ends, or the process calls
 * execve(2). The request completes with ECANCELED, and no other does. A range that
 * the device has by then stays the device's (queueing it again: EBUSY) until the
 * device has completed it or is stopped, and its frame is counted as canceled. The
 * device runs on until STOP, or the last close of the file that owns the queue. A
 * single request cannot be canceled (IORING_OP_ASYNC_CANCEL): io_uring has no way to
 * ask.
 */
struct dmawire_uring_capture {
	__u32 size;
	__u32 flags;
	__u32 index;
	__u32 length;
	__aligned_u64 offset;
	__aligned_u64 out_sequence;
	__aligned_u64 out_timestamp;
	__u32 out_lost;
	__u32 out_reserved;
};

#define DMAWIRE_URING_CAPTURE_SIZE_V1 48
#define DMAWIRE_URING_CMD_CAPTURE 2

#endif /* DMAWIRE_UAPI_H */
