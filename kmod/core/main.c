// SPDX-License-Identifier: GPL-2.0
/*
 * Module init and exit.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include "../drivers/pattern.h"
#include "device.h"
#include "reclaim.h"

static int __init dmawire_init(void)
{
	int ret;

	ret = dmawire_device_init();
	if (ret)
		return ret;

	/* The first device, /dev/dmawire0. */
	ret = dmawire_pattern_init();
	if (ret)
		dmawire_device_exit();
	return ret;
}

/*
 * Every open file, dma-buf, fence and driver holds a reference on the module, so all
 * are gone. The function that dropped the last reference may not have returned: exit
 * waits for RCU callbacks, then for tasks that were preempted in the module's text.
 */
static void __exit dmawire_exit(void)
{
	dmawire_pattern_exit();
	dmawire_device_exit();
	dmawire_reclaim_exit();
	rcu_barrier();
	synchronize_rcu_tasks();
}

module_init(dmawire_init);
module_exit(dmawire_exit);

MODULE_DESCRIPTION("Page-structured DMA buffers that can be sent without a copy");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
MODULE_IMPORT_NS("DMA_BUF");
