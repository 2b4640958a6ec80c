// SPDX-License-Identifier: MIT
/*
 * What qemu's semihosting carries to the host: a machine without virtio has no better way out. When a call returns, the
 * host has the data.
 *
 * to-host NAME         copies its input to the file NAME in the directory that qemu was shut in
 * to-host --tell LINE  says LINE on the character device that is qemu's semihosting console
 * to-host --exit       ends qemu, now
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Arm's numbers ("Semihosting for AArch32 and AArch64"). */
enum { SYS_OPEN = 0x01, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_EXIT = 0x18 };
enum { MODE_WB = 5 };
enum { APPLICATION_EXIT = 0x20026 };

/* qemu reads memory without the kernel's help: what an argument points at has been touched a moment ago. */
static intptr_t semihosting(uintptr_t operation, const void *arguments)
{
	register uintptr_t x0 __asm__("x0") = operation;
	register const void *x1 __asm__("x1") = arguments;

	__asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
	return (intptr_t)x0;
}

static void tell(const char *text)
{
	char line[1024];

	snprintf(line, sizeof(line), "%s\n", text);
	semihosting(SYS_WRITE0, line);
}

static void end_qemu(void)
{
	const uintptr_t arguments[] = { APPLICATION_EXIT, 0 };

	semihosting(SYS_EXIT, arguments);
}

static intptr_t open_host_file(const char *name)
{
	const uintptr_t arguments[] = { (uintptr_t)name, MODE_WB, strlen(name) };

	return semihosting(SYS_OPEN, arguments);
}

static int write_all(intptr_t file, const char *data, size_t size)
{
	while (size > 0) {
		const uintptr_t arguments[] = { (uintptr_t)file, (uintptr_t)data, size };
		const intptr_t left = semihosting(SYS_WRITE, arguments);

		if (left < 0 || (size_t)left >= size)
			return -1;
		data += size - (size_t)left;
		size = (size_t)left;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static char data[65536];
	intptr_t file;
	ssize_t size;

	if (argc == 3 && !strcmp(argv[1], "--tell")) {
		tell(argv[2]);
		return 0;
	}
	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "--exit"))
		end_qemu();
	file = open_host_file(argv[1]);
	if (file < 0) {
		fprintf(stderr, "to-host: cannot open %s\n", argv[1]);
		return 1;
	}
	while ((size = read(STDIN_FILENO, data, sizeof(data))) != 0) {
		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 || write_all(file, data, (size_t)size) != 0)
			return 1;
	}
	return 0;
}
