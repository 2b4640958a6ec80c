// SPDX-License-Identifier: MIT
/*
 * For LD_PRELOAD: a program that allocates from a dma-heap allocates from dmawire, if /dev/dma_heap/NAME leads to
 * /dev/dmawireN. One request is translated, DMA_HEAP_IOCTL_ALLOC into DMAWIRE_IOC_CREATE, field by field and unchecked, so that
 * the module accepts or refuses the values. Everything else is untouched: every call on the dma-buf is the program's own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include <dmawire/uapi.h>

static int (*real_ioctl)(int fd, unsigned long request, ...);

/* As the kernel would: where the caller's memory cannot be written it is an error, and not the caller's end. */
static int put(void *to, const void *from, size_t size)
{
	const struct iovec local = { (void *)from, size };
	const struct iovec remote = { to, size };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -1;
}

static int allocate(int fd, struct dma_heap_allocation_data *data)
{
	struct dmawire_create create = {
		.size = sizeof(create),
		.flags = (__u32)data->heap_flags,
		.length = data->len,
		.backing = DMAWIRE_BACKING_PAGES,
		.direction = DMAWIRE_BIDIRECTIONAL,
		.node = -1,
		.fd_flags = data->fd_flags,
	};
	__u32 dma_buf;

	if (real_ioctl(fd, DMAWIRE_IOC_CREATE, &create) < 0)
		return -1;
	dma_buf = (__u32)create.out_fd;
	if (put(&data->fd, &dma_buf, sizeof(dma_buf)) == 0)
		return 0;
	close(create.out_fd);
	errno = EFAULT;
	return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list rest;
	void *argument;

	va_start(rest, request);
	argument = va_arg(rest, void *);
	va_end(rest);
	if (!real_ioctl)
		real_ioctl = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	if (request == DMA_HEAP_IOCTL_ALLOC)
		return allocate(fd, argument);
	return real_ioctl(fd, request, argument);
}
