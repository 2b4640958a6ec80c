// SPDX-License-Identifier: GPL-2.0
/*
 * Limits of the memory of buffers: one for the module, one for each open file. A
 * charge counts against both.
 */
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "quota.h"

static unsigned long max_bytes;
module_param(max_bytes, ulong, 0644);
MODULE_PARM_DESC(max_bytes, "Most bytes all buffers together may take (0: half of RAM, the default)");

static unsigned long max_bytes_per_open;
module_param(max_bytes_per_open, ulong, 0644);
MODULE_PARM_DESC(max_bytes_per_open, "Most bytes the buffers of one open file may take (0: no limit but max_bytes, the default)");

/**
 * struct dmawire_quota - memory of the buffers of one open file
 * @ref: one for the open file, one for each charged buffer, since buffers outlive it
 * @bytes: protected by quota_lock
 * @buffers: protected by quota_lock
 */
struct dmawire_quota {
	struct kref ref;
	u64 bytes;
	u64 buffers;
};

/* Protects the counts of every quota and of the module, so that they agree. */
static DEFINE_SPINLOCK(quota_lock);
static u64 module_bytes;
static u64 module_buffers;

static u64 module_limit(void)
{
	unsigned long limit = READ_ONCE(max_bytes);

	return limit ?: (u64)totalram_pages() << (PAGE_SHIFT - 1);
}

static u64 open_limit(void)
{
	unsigned long limit = READ_ONCE(max_bytes_per_open);

	return limit ?: module_limit();
}

struct dmawire_quota *dmawire_quota_create(void)
{
	struct dmawire_quota *quota = kzalloc_obj(*quota, GFP_KERNEL_ACCOUNT);

	if (quota)
		kref_init(&quota->ref);
	return quota;
}

static void dmawire_quota_release(struct kref *ref)
{
	kfree(container_of(ref, struct dmawire_quota, ref));
}

void dmawire_quota_put(struct dmawire_quota *quota)
{
	kref_put(&quota->ref, dmawire_quota_release);
}

/* A limit may have been lowered below the bytes in use. */
static bool fits(u64 bytes, u64 used, u64 limit)
{
	return used <= limit && bytes <= limit - used;
}

/**
 * dmawire_quota_charge - count one buffer, if the limits allow it
 * @quota: of the open file that creates the buffer
 * @bytes: of the buffer
 *
 * A charge holds a reference on @quota until dmawire_quota_uncharge().
 *
 * Return: 0, or -EDQUOT and nothing is charged.
 */
int dmawire_quota_charge(struct dmawire_quota *quota, u64 bytes)
{
	int ret = -EDQUOT;

	spin_lock(&quota_lock);
	if (fits(bytes, module_bytes, module_limit()) &&
	    fits(bytes, quota->bytes, open_limit())) {
		module_bytes += bytes;
		module_buffers++;
		quota->bytes += bytes;
		quota->buffers++;
		kref_get(&quota->ref);
		ret = 0;
	}
	spin_unlock(&quota_lock);
	return ret;
}

/**
 * dmawire_quota_uncharge - undo dmawire_quota_charge()
 * @quota: the one charged; may be gone afterwards
 * @bytes: as charged
 */
void dmawire_quota_uncharge(struct dmawire_quota *quota, u64 bytes)
{
	spin_lock(&quota_lock);
	module_bytes -= bytes;
	module_buffers--;
	quota->bytes -= bytes;
	quota->buffers--;
	spin_unlock(&quota_lock);
	dmawire_quota_put(quota);
}

void dmawire_quota_read(struct dmawire_quota *quota, struct dmawire_usage *open,
			struct dmawire_usage *module)
{
	spin_lock(&quota_lock);
	*open = (struct dmawire_usage) {
		.max_bytes = open_limit(),
		.bytes = quota->bytes,
		.buffers = quota->buffers,
	};
	*module = (struct dmawire_usage) {
		.max_bytes = module_limit(),
		.bytes = module_bytes,
		.buffers = module_buffers,
	};
	spin_unlock(&quota_lock);
}
