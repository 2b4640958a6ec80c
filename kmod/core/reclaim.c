// SPDX-License-Identifier: GPL-2.0
/*
 * Deferred freeing of CMA buffers: cma_release() takes the whole range or nothing,
 * but skbs, pipes and bios may still hold page references.
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

/* Dropping a page reference notifies no one: poll. */
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
	 * GUP-fast may have found a page in a mapping that is gone: after a grace
	 * period it holds a reference or has failed. From here on a reference count
	 * of 1 stays 1.
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
 * dmawire_reclaim_add - free a buffer once no page has another reference
 * @buffer: unmapped, without dma-buf: its pages get no new references
 *
 * The caller holds a reference on the module; the buffer takes its own.
 */
void dmawire_reclaim_add(struct dmawire_buffer *buffer)
{
	__module_get(THIS_MODULE);
	spin_lock(&reclaim_lock);
	list_add_tail(&buffer->link, &reclaim_list);
	spin_unlock(&reclaim_lock);
	schedule_delayed_work(&looker, 0);
}

/* Frees all buffers without other page references before it returns. */
void dmawire_reclaim_flush(void)
{
	flush_delayed_work(&looker);
}

/* Called on module exit: the list is empty. */
void dmawire_reclaim_exit(void)
{
	cancel_delayed_work_sync(&looker);
}
