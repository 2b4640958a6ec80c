/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_QUOTA_H
#define DMAWIRE_QUOTA_H

#include <linux/types.h>

struct dmawire_quota;

/**
 * struct dmawire_usage - one moment's limit and use
 * @max_bytes: the limit in force
 * @bytes: charged now
 * @buffers: number of charges now
 */
struct dmawire_usage {
	u64 max_bytes;
	u64 bytes;
	u64 buffers;
};

struct dmawire_quota *dmawire_quota_create(void);
void dmawire_quota_put(struct dmawire_quota *quota);

int dmawire_quota_charge(struct dmawire_quota *quota, u64 bytes);
void dmawire_quota_uncharge(struct dmawire_quota *quota, u64 bytes);

void dmawire_quota_read(struct dmawire_quota *quota, struct dmawire_usage *open,
			struct dmawire_usage *module);

#endif /* DMAWIRE_QUOTA_H */
