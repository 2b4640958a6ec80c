// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers that are gone but for a page or two: packets, pipes and requests of
 * others may hold pages for as long as they like, and a CMA area takes its memory
 * back as it gave it, all at once, and from nobody who still uses it.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page_ref.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "buffer.h"
#include "reclaim.h"

/* Nobody tells that a page is let go of, so it is looked for. */
#define DMAWIRE_RECLAIM_INTERVAL (HZ / 10)

static void look(struct work_struct *work);

static DEFINE_SPINLOCK(reclaim_lock);
/* Each buffer in it holds the module; protected by reclaim_lock. */
static LIST_HEAD(reclaim_list);
static DECLARE_DELAYED_WORK(looker, look);

static bool is_free(const struct dmawire_buffer *buffer)
{
	for (unsigned long i = 0; i < buffer->nr_pages; i++) {
		if (page_ref_count(buffer->pages[i]) != 1)
			return false;
		dmawire_relax(i);
	}
	return true;
}

static void look(struct work_struct *work)
{
	struct dmawire_buffer *buffer, *next;
	LIST_HEAD(buffers);
	bool again;

	spin_lock(&reclaim_lock);
	list_splice_init(&reclaim_list, &buffers);
	spin_unlock(&reclaim_lock);

	/*
	 * Whoever looks pages up by address without locks, and found them in a
	 * mapping that is gone, has them by now or lets go of them again. From here
	 * on a page that is ours alone stays so.
	 */
	synchronize_rcu();

	list_for_each_entry_safe(buffer, next, &buffers, link) {
		if (is_free(buffer)) {
			list_del(&buffer->link);
			dmawire_buffer_free(buffer);
			module_put(THIS_MODULE);
		}
		cond_resched();
	}

	spin_lock(&reclaim_lock);
	list_splice(&buffers, &reclaim_list);
	again = !list_empty(&reclaim_list);
	spin_unlock(&reclaim_lock);
	if (again)
		schedule_delayed_work(&looker, DMAWIRE_RECLAIM_INTERVAL);
}

/**
 * dmawire_reclaim_add - free a buffer as soon as nobody else has any of its pages
 * @buffer: nobody can come by any from it any more
 *
 * The caller holds the module, as the buffer does from now on.
 */
void dmawire_reclaim_add(struct dmawire_buffer *buffer)
{
	__module_get(THIS_MODULE);
	spin_lock(&reclaim_lock);
	list_add_tail(&buffer->link, &reclaim_list);
	spin_unlock(&reclaim_lock);
	schedule_delayed_work(&looker, 0);
}

/* When it returns what could be freed has been. */
void dmawire_reclaim_flush(void)
{
	flush_delayed_work(&looker);
}

/* There is no buffer any more. */
void dmawire_reclaim_exit(void)
{
	cancel_delayed_work_sync(&looker);
}
