/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_MEMLOCK_H
#define DMAWIRE_MEMLOCK_H

struct mm_struct;
struct user_struct;

/**
 * struct dmawire_memlock - a charge against RLIMIT_MEMLOCK
 * @user: charged user; NULL if the process was privileged
 * @mm: its statistics count the pages; may have no process any more
 * @nr_pages: how many
 */
struct dmawire_memlock {
	struct user_struct *user;
	struct mm_struct *mm;
	unsigned long nr_pages;
};

int dmawire_memlock_charge(struct dmawire_memlock *lock, unsigned long nr_pages);
void dmawire_memlock_uncharge(struct dmawire_memlock *lock);

#endif /* DMAWIRE_MEMLOCK_H */
