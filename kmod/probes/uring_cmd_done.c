// SPDX-License-Identifier: GPL-2.0
/* Compiles where a command is done without a second result (6.18). */
#include <linux/io_uring/cmd.h>

void probe(struct io_uring_cmd *cmd);

void probe(struct io_uring_cmd *cmd)
{
	io_uring_cmd_done(cmd, 0, 0);
}
