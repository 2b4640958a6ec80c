// SPDX-License-Identifier: GPL-2.0
/* Compiles where the mmap of another file has this name (6.17). */
#include <linux/fs.h>

int probe(struct file *file, struct vm_area_struct *vma);

int probe(struct file *file, struct vm_area_struct *vma)
{
	return vfs_mmap(file, vma);
}
