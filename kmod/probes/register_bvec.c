// SPDX-License-Identifier: GPL-2.0
/* Compiles where a driver can put a bvec into an io_uring's table (7.3). */
#include <linux/io_uring/cmd.h>

int (*probe)(struct io_uring_cmd *cmd, const struct bio_vec *bvs,
	     unsigned int nr_bvecs, void (*release)(void *), void *priv, u8 dir,
	     unsigned int index,
	     unsigned int issue_flags) = io_buffer_register_bvec;
