// SPDX-License-Identifier: GPL-2.0
/*
 * The module: what happens when it is loaded and unloaded.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>

#include "device.h"

/* /dev/dmawire0: buffers without hardware behind them. */
static struct dmawire_device *default_device;

static int __init dmawire_init(void)
{
	int ret;

	ret = dmawire_device_init();
	if (ret)
		return ret;

	default_device = dmawire_device_add(NULL);
	if (IS_ERR(default_device)) {
		dmawire_device_exit();
		return PTR_ERR(default_device);
	}
	return 0;
}

/* Every open file and every dma-buf holds the module, so none is left here. */
static void __exit dmawire_exit(void)
{
	dmawire_device_remove(default_device);
	dmawire_device_exit();
}

module_init(dmawire_init);
module_exit(dmawire_exit);

MODULE_DESCRIPTION("Page-structured DMA buffers that can be sent without a copy");
MODULE_AUTHOR("dmawire");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
MODULE_IMPORT_NS("DMA_BUF");
