// SPDX-License-Identifier: GPL-2.0
/*
 * Pinned memory of user space, and memory that no memory cgroup can be charged for,
 * count against RLIMIT_MEMLOCK in user->locked_vm: per user, together with the
 * memory that io_uring and others pin, so that a user cannot exceed it with more
 * processes.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include "memlock.h"

static bool charge_user(struct user_struct *user, unsigned long nr_pages)
{
	const unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long now = atomic_long_read(&user->locked_vm);

	do {
		if (now + nr_pages > limit)
			return false;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &now, now + nr_pages));
	return true;
}

/**
 * dmawire_memlock_charge - count pages against the calling process's RLIMIT_MEMLOCK
 * @lock: the charge, for dmawire_memlock_uncharge()
 * @nr_pages: how many
 *
 * Return: 0, or -EDQUOT and nothing is charged.
 */
int dmawire_memlock_charge(struct dmawire_memlock *lock, unsigned long nr_pages)
{
	lock->user = NULL;
	if (!capable(CAP_IPC_LOCK)) {
		if (!charge_user(current_user(), nr_pages))
			return -EDQUOT;
		lock->user = get_uid(current_user());
	}

	lock->nr_pages = nr_pages;
	lock->mm = current->mm;
	mmgrab(lock->mm);
	atomic64_add(nr_pages, &lock->mm->pinned_vm);
	return 0;
}

/*
 * From any process, and also when the one that was charged is gone. Does nothing if
 * nothing is charged.
 */
void dmawire_memlock_uncharge(struct dmawire_memlock *lock)
{
	if (!lock->mm)
		return;
	atomic64_sub(lock->nr_pages, &lock->mm->pinned_vm);
	mmdrop(lock->mm);
	lock->mm = NULL;
	if (!lock->user)
		return;
	atomic_long_sub(lock->nr_pages, &lock->user->locked_vm);
	free_uid(lock->user);
}
