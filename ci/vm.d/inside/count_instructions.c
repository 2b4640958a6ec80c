// SPDX-License-Identifier: MIT
/*
 * A plugin for qemu: how many instructions the guest ran, by the address of the block of code they are in. When the guest
 * is gone it writes a line "ADDRESS COUNT" (hexadecimal, decimal) a block to the file that `out=` names.
 *
 * Distributions do not ship the header of qemu's plugin interface, so what is used of it is declared here.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

struct scoreboard;
struct block;
struct info;
struct entry {
	struct scoreboard *score;
	size_t offset;
};
enum { ADD = 0 };

EXPORTED int qemu_plugin_version = 4;
size_t qemu_plugin_tb_n_insns(const struct block *block);
uint64_t qemu_plugin_tb_vaddr(const struct block *block);
struct scoreboard *qemu_plugin_scoreboard_new(size_t size);
uint64_t qemu_plugin_u64_sum(struct entry entry);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*translated)(uint64_t id, struct block *block));
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct block *block, int operation, struct entry entry,
						       uint64_t value);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*at_exit)(uint64_t id, void *data), void *data);

/* The same code may be translated again, and cut otherwise: a block is an address and a length. */
#define MAX_BLOCKS (1U << 20)
#define HASH_SIZE (4 * MAX_BLOCKS)

static struct {
	uint64_t address;
	size_t length;
} blocks[MAX_BLOCKS];
static uint32_t nr_blocks;
static uint32_t hash[HASH_SIZE]; /* index into blocks, plus one */
static struct scoreboard *counts;
static char path[4096];

static struct entry count_of(uint32_t index)
{
	return (struct entry){ counts, index * sizeof(uint64_t) };
}

static bool find(uint64_t address, size_t length, uint32_t *index)
{
	uint32_t slot = (uint32_t)(((address + length) * 0x9e3779b97f4a7c15u) >> 32) % HASH_SIZE;

	for (; hash[slot]; slot = (slot + 1) % HASH_SIZE) {
		*index = hash[slot] - 1;
		if (blocks[*index].address == address && blocks[*index].length == length)
			return true;
	}
	if (nr_blocks == MAX_BLOCKS)
		return false;
	blocks[nr_blocks].address = address;
	blocks[nr_blocks].length = length;
	*index = nr_blocks++;
	hash[slot] = nr_blocks;
	return true;
}

static void translated(uint64_t id, struct block *block)
{
	size_t length = qemu_plugin_tb_n_insns(block);
	uint32_t index;

	(void)id;
	if (find(qemu_plugin_tb_vaddr(block), length, &index))
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD, count_of(index), length);
}

static void at_exit(uint64_t id, void *data)
{
	FILE *file = fopen(path, "w");

	(void)id;
	(void)data;
	if (!file) {
		perror(path);
		return;
	}
	for (uint32_t i = 0; i < nr_blocks; i++)
		fprintf(file, "%016jx %ju\n", (uintmax_t)blocks[i].address, (uintmax_t)qemu_plugin_u64_sum(count_of(i)));
	fclose(file);
}

EXPORTED int qemu_plugin_install(uint64_t id, const struct info *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			snprintf(path, sizeof(path), "%s", argv[i] + 4);
	if (!path[0])
		return -1;
	counts = qemu_plugin_scoreboard_new(MAX_BLOCKS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
