/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_IOCTL_H
#define DMAWIRE_IOCTL_H

#include <linux/compiler.h>
#include <linux/types.h>

struct file;

int dmawire_ioctl_copy(void *arg, u32 size, const void __user *user,
		       u32 min_size);
int dmawire_ioctl_copy_out(void __user *user, u32 user_size, const void *arg,
			   u32 begin, u32 end);
bool dmawire_ioctl_may_write(const struct file *file);
long dmawire_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

#endif /* DMAWIRE_IOCTL_H */
