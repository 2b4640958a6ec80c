/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What drivers whose hardware has nothing to capture let it capture: frames that
 * tell the receiver if anything of them is missing, old or out of order.
 */
#ifndef DMAWIRE_DRIVERS_FRAME_H
#define DMAWIRE_DRIVERS_FRAME_H

#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/types.h>
#include <linux/xxhash.h>

#include <dmawire/uapi.h>

/**
 * dmawire_frame_make - make up a frame
 * @frame: where to, aligned to 8 bytes
 * @length: bytes it has, at least those of a struct dmawire_frame_header
 * @filled: so many of them are written and can be checked, again at least those
 *	of the header
 * @sequence: its number
 */
static inline void dmawire_frame_make(void *frame, size_t length, size_t filled,
				      u64 sequence)
{
	struct dmawire_frame_header *header = frame;
	size_t words = filled / sizeof(u64);
	u64 *word = frame;

	/* No two words of it are the same, nor any two frames. */
	for (size_t i = sizeof(*header) / sizeof(u64); i < words; i++)
		word[i] = (sequence << 32) + i;
	memset(word + words, 0, filled % sizeof(u64));

	*header = (struct dmawire_frame_header) {
		.magic = DMAWIRE_FRAME_MAGIC,
		.length = length,
		.sequence = sequence,
		.timestamp = ktime_get_ns(),
		.checked = filled,
	};
	header->checksum = xxh64(frame, filled, 0);
}

#endif /* DMAWIRE_DRIVERS_FRAME_H */
