// SPDX-License-Identifier: GPL-2.0
/* Compiles where the task work of a command is a request's (7.0). */
#include <linux/io_uring/cmd.h>

void probe(struct io_uring_cmd *cmd);

static void work(struct io_tw_req tw_req, io_tw_token_t tw)
{
}

void probe(struct io_uring_cmd *cmd)
{
	io_uring_cmd_do_in_task_lazy(cmd, work);
}
