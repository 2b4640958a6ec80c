/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_URING_H
#define DMAWIRE_URING_H

#include <linux/types.h>

struct io_uring_cmd;

bool dmawire_uring_can_register(void);
int dmawire_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);

#endif /* DMAWIRE_URING_H */
