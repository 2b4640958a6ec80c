/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * dmawire: the protocol by which one process lends frames in dma-bufs to others.
 *
 * This header is the specification. The *owner* has the memory and its source
 * (`uring_app share`); its *clients* send, record or read the frames
 * (`uring_app send --import`). They talk over a Unix socket of type
 * SOCK_SEQPACKET, one message a packet.
 *
 * RULES THAT HOLD FOR EVERY MESSAGE
 *
 * - It begins with a struct dmawire_share_header: type, length in bytes
 *   and number of entries that follow its struct. 'size' is the length of the
 *   packet and exactly that of the struct and its entries.
 * - All fields are in the byte order of the machine, sizes and offsets in bytes,
 *   times of CLOCK_MONOTONIC in nanoseconds. 'flags' and 'reserved' are 0 in this
 *   version.
 * - Only BUFFERS carries descriptors.
 * - A peer that receives a message which breaks a rule of this file ends the
 *   connection: the owner with an END that says so, if it can still be sent.
 *
 * THE ORDER OF THINGS
 *
 *   client                      owner
 *   HELLO          ->
 *                  <-           WELCOME, or END: why not
 *                  <-           BUFFERS, until all of them are there
 *                  <-           FRAMES  \  over and over, independent of
 *   DONE           ->                   /  each other
 *                  <-           END
 *   DONE           ->           frames still held
 *   (closes)
 *
 * HOLDING FRAMES
 *
 * A frame is a range of a buffer. The frames of a buffer are numbered consecutively
 * and announced with it. FRAMES lends frames: until the client's DONE names a
 * frame, the client closes its end or dies, or the owner ends the connection,
 * neither the owner nor a device writes to it. The same frame may be lent to many
 * clients; it returns to its owner when the last of them is done with it. Clients
 * only read. (A client that has a writable descriptor can write through it; clients
 * are trusted not to.)
 *
 * CPU and devices may read a lent frame immediately: the owner has synced caches, so
 * DMA_BUF_IOCTL_SYNC is not needed.
 *
 * A client holds 'hold' frames at most. A client that holds as many is lent no more:
 * 'skipped' of its next frame, or of END, counts the frames that it was not lent.
 * The owner does not wait for it.
 *
 * After END no frame is lent. Lent frames stay unchanged until the client is done
 * with them, closes or is late; the memory itself lives as long as a descriptor or
 * mapping of it exists, also after the owner's death. A connection that ends without
 * END means that the owner is gone, or has been killed: lent frames are unchanged,
 * but it is unknown whether the last one was the end of the stream.
 *
 * DEADLINES
 *
 * A client cannot hold its owner up. It has DMAWIRE_SHARE_HELLO_SECONDS from the
 * connection to HELLO. The owner sends as much as a client's socket has room for
 * and waits with the rest, BUFFERS one message at a time; a client that has not read
 * its messages for DMAWIRE_SHARE_READ_SECONDS is dropped if another client connects
 * when the owner has its maximum. From the owner's end on, all
 * have DMAWIRE_SHARE_END_SECONDS to be done. The owner ends the connection of a
 * client that is late, with an END (TIMED_OUT) if its socket has room for that;
 * its frames are the owner's again.
 *
 * DONE says that the client's devices, too, are done with a frame. The owner waits
 * for no fence on the dma-bufs: any client may add fences.
 *
 * VERSIONS
 *
 * HELLO names the newest version that the client speaks, WELCOME the one that is
 * spoken from then on, which is not newer. This file is version 1.
 */
#ifndef DMAWIRE_SHARE_H
#define DMAWIRE_SHARE_H

#include <linux/types.h>

#define DMAWIRE_SHARE_MAGIC 0x65726168 /* "hare", little-endian */
#define DMAWIRE_SHARE_VERSION 1

/* Most entries, and so descriptors, of a message. */
#define DMAWIRE_SHARE_MAX_ENTRIES 64
/* See DEADLINES above. */
#define DMAWIRE_SHARE_HELLO_SECONDS 5
#define DMAWIRE_SHARE_READ_SECONDS 10
#define DMAWIRE_SHARE_END_SECONDS 10
/* Most buffers and frames of an owner. */
#define DMAWIRE_SHARE_MAX_BUFFERS 4096
#define DMAWIRE_SHARE_MAX_FRAMES 16384

/**
 * enum dmawire_share_type - type of a message
 * @DMAWIRE_SHARE_HELLO: client: struct dmawire_share_hello; the first and once
 * @DMAWIRE_SHARE_WELCOME: owner: struct dmawire_share_welcome
 * @DMAWIRE_SHARE_BUFFERS: owner: struct dmawire_share_header and entries of
 *	struct dmawire_share_buffer; with as many descriptors (SCM_RIGHTS), in the
 *	same order
 * @DMAWIRE_SHARE_FRAMES: owner: ... and entries of struct dmawire_share_frame
 * @DMAWIRE_SHARE_DONE: client: ... and entries of __u32, the ids of frames that it
 *	holds no longer
 * @DMAWIRE_SHARE_END: owner: struct dmawire_share_end; the last
 */
enum dmawire_share_type {
	DMAWIRE_SHARE_HELLO = 1,
	DMAWIRE_SHARE_WELCOME = 2,
	DMAWIRE_SHARE_BUFFERS = 3,
	DMAWIRE_SHARE_FRAMES = 4,
	DMAWIRE_SHARE_DONE = 5,
	DMAWIRE_SHARE_END = 6,
};

/**
 * enum dmawire_share_reason - why an owner ends a connection
 * @DMAWIRE_SHARE_FINISHED: no more comes; all went well
 * @DMAWIRE_SHARE_FAILED: no more comes: the owner's device or file failed. Lent
 *	frames are good
 * @DMAWIRE_SHARE_FULL: the owner has as many clients as it takes
 * @DMAWIRE_SHARE_BAD_VERSION: it speaks no version that the client does
 * @DMAWIRE_SHARE_PROTOCOL_ERROR: the client broke a rule
 * @DMAWIRE_SHARE_NO_DESCRIPTORS: the kernel refused to pass descriptors on: the
 *	owner's limit of open files (RLIMIT_NOFILE) bounds descriptors in flight
 * @DMAWIRE_SHARE_TIMED_OUT: the client was late
 */
enum dmawire_share_reason {
	DMAWIRE_SHARE_FINISHED = 0,
	DMAWIRE_SHARE_FAILED = 1,
	DMAWIRE_SHARE_FULL = 2,
	DMAWIRE_SHARE_BAD_VERSION = 3,
	DMAWIRE_SHARE_PROTOCOL_ERROR = 4,
	DMAWIRE_SHARE_NO_DESCRIPTORS = 5,
	DMAWIRE_SHARE_TIMED_OUT = 6,
};

/**
 * struct dmawire_share_header - header of each message
 * @type: enum dmawire_share_type
 * @size: bytes of the message
 * @count: entries, 1 to DMAWIRE_SHARE_MAX_ENTRIES; 0 in types without entries
 * @reserved: 0
 */
struct dmawire_share_header {
	__u32 type;
	__u32 size;
	__u32 count;
	__u32 reserved;
};

/**
 * struct dmawire_share_hello
 * @header: with DMAWIRE_SHARE_HELLO
 * @magic: DMAWIRE_SHARE_MAGIC
 * @version: the newest that the client speaks, at least 1
 * @hold: most frames that it wants to hold at a time, or 0: as many as it may
 * @flags: 0
 */
struct dmawire_share_hello {
	struct dmawire_share_header header;
	__u32 magic;
	__u32 version;
	__u32 hold;
	__u32 flags;
};

/**
 * struct dmawire_share_welcome
 * @header: with DMAWIRE_SHARE_WELCOME
 * @version: the one that is spoken
 * @hold: most frames that the client can hold at a time
 * @buffers: how many will be handed over
 * @frames: how many there are in all of them
 * @frame_length: bytes of a frame, at most
 * @stride: bytes from the beginning of a frame to that of the next in its buffer
 */
struct dmawire_share_welcome {
	struct dmawire_share_header header;
	__u32 version;
	__u32 hold;
	__u32 buffers;
	__u32 frames;
	__aligned_u64 frame_length;
	__aligned_u64 stride;
};

/**
 * struct dmawire_share_buffer - a dma-buf
 * @id: its number, counted from 0 in the order of the messages
 * @flags: 0
 * @first_frame: the id of its first frame: the previous frame's plus 1
 * @frames: how many it has
 * @length: bytes
 * @offset: where its first frame begins
 *
 * The descriptor is of a dma-buf of at least @length bytes, of any exporter. The
 * client checks that, and queries the descriptor, not the owner, for its uses.
 */
struct dmawire_share_buffer {
	__u32 id;
	__u32 flags;
	__u32 first_frame;
	__u32 frames;
	__aligned_u64 length;
	__aligned_u64 offset;
};

/**
 * struct dmawire_share_frame - a frame that is lent
 * @id: which
 * @buffer: the id of its buffer
 * @offset: where it begins in there; as announced
 * @length: bytes that are in it, 1 to frame_length
 * @sequence: its number since the owner began; larger than that of the one before
 * @timestamp: when it was complete
 * @skipped: frames that this client was not lent since the one before, because it
 *	held too many
 * @lost: frames that the owner's device had no room for just before this one
 * @flags: 0
 * @reserved: 0
 */
struct dmawire_share_frame {
	__u32 id;
	__u32 buffer;
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 sequence;
	__aligned_u64 timestamp;
	__u32 skipped;
	__u32 lost;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct dmawire_share_end
 * @header: with DMAWIRE_SHARE_END
 * @reason: enum dmawire_share_reason
 * @skipped: frames that this client was not lent since the last one it was
 */
struct dmawire_share_end {
	struct dmawire_share_header header;
	__u32 reason;
	__u32 skipped;
};

#endif /* DMAWIRE_SHARE_H */
