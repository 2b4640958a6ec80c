/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Test frames, for drivers of hardware without a source of its own: the receiver can
 * tell missing, stale and reordered data.
 */
#ifndef DMAWIRE_DRIVERS_FRAME_H
#define DMAWIRE_DRIVERS_FRAME_H

#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/types.h>
#include <linux/xxhash.h>

#include <dmawire/uapi.h>

/* Bytes that are filled and hashed between two chances for others to run. */
#define DMAWIRE_FRAME_CHUNK SZ_1M

/* No two words of a frame are the same, nor any two frames. */
static inline void dmawire_frame_fill(u64 *words, size_t begin, size_t end,
				      u64 sequence)
{
	for (size_t i = begin; i < end; i++) {
		words[i] = (sequence << 32) + i;
		if (!(i % (DMAWIRE_FRAME_CHUNK / sizeof(u64))))
			cond_resched();
	}
}

static inline u64 dmawire_frame_hash(const void *frame, size_t length)
{
	struct xxh64_state state;
	size_t chunk;

	xxh64_reset(&state, 0);
	for (size_t done = 0; done < length; done += chunk) {
		chunk = min_t(size_t, length - done, DMAWIRE_FRAME_CHUNK);
		xxh64_update(&state, frame + done, chunk);
		cond_resched();
	}
	return xxh64_digest(&state);
}

/**
 * dmawire_frame_make - make up a frame
 * @frame: where to, aligned to 8 bytes
 * @length: bytes, at least sizeof(struct dmawire_frame_header)
 * @filled: bytes that are written and can be checked, at least the header
 * @sequence: its number
 *
 * May sleep.
 */
static inline void dmawire_frame_make(void *frame, size_t length, size_t filled,
				      u64 sequence)
{
	struct dmawire_frame_header *header = frame;
	size_t words = filled / sizeof(u64);

	dmawire_frame_fill(frame, sizeof(*header) / sizeof(u64), words, sequence);
	memset((u64 *)frame + words, 0, filled % sizeof(u64));

	*header = (struct dmawire_frame_header) {
		.magic = DMAWIRE_FRAME_MAGIC,
		.length = length,
		.sequence = sequence,
		.timestamp = ktime_get_ns(),
		.checked = filled,
	};
	header->checksum = dmawire_frame_hash(frame, filled);
}

#endif /* DMAWIRE_DRIVERS_FRAME_H */
