// SPDX-License-Identifier: GPL-2.0
/*
 * Devices: drivers register them, and each is a node /dev/dmawireN that can be
 * opened.
 */
#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/log2.h>
#include <linux/pm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>

#include <dmawire/device.h>

#include "device.h"
#include "ioctl.h"
#include "queue.h"
#include "quota.h"
#include "uring.h"

#define DMAWIRE_MAX_DEVICES 64

/**
 * struct dmawire_device - a device node and its capture queue
 * @dev: in class dmawire; its reference count is this struct's
 * @cdev: an open file holds it, and it holds @dev
 * @queue: its captures
 * @priv: the driver's
 * @name: the driver's, kept because the driver may go first
 */
struct dmawire_device {
	struct device dev;
	struct cdev cdev;
	struct dmawire_queue *queue;
	void *priv;
	char name[16];
};

static dev_t dmawire_devt;
static DEFINE_IDA(dmawire_minors);

/* Devices that are not freed, the unregistered included. */
static atomic_t dmawire_device_count;
static DECLARE_WAIT_QUEUE_HEAD(dmawire_device_wait);

static char *dmawire_devnode(const struct device *dev, umode_t *mode)
{
	/* Opening it allows allocation: root only, and a group that udev assigns. */
	if (mode)
		*mode = 0660;
	return NULL;
}

/* Before the parent is suspended, since the node is its child. */
static int dmawire_device_suspend(struct device *dev)
{
	struct dmawire_device *device =
		container_of(dev, struct dmawire_device, dev);

	dmawire_queue_suspend(device->queue);
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(dmawire_device_pm_ops, dmawire_device_suspend, NULL);

static const struct class dmawire_class = {
	.name = "dmawire",
	.devnode = dmawire_devnode,
	.pm = pm_sleep_ptr(&dmawire_device_pm_ops),
};

static int dmawire_device_fop_open(struct inode *inode, struct file *file)
{
	struct dmawire_device *device =
		container_of(inode->i_cdev, struct dmawire_device, cdev);
	struct dmawire_file *open;

	open = kzalloc_obj(*open, GFP_KERNEL_ACCOUNT);
	if (!open)
		return -ENOMEM;

	open->quota = dmawire_quota_create();
	if (!open->quota) {
		kfree(open);
		return -ENOMEM;
	}

	open->queue = device->queue;
	file->private_data = open;
	return nonseekable_open(inode, file);
}

static int dmawire_device_fop_release(struct inode *inode, struct file *file)
{
	struct dmawire_file *open = file->private_data;

	dmawire_queue_leave(open->queue, open);
	dmawire_quota_put(open->quota);
	kfree(open);
	return 0;
}

static __poll_t dmawire_device_fop_poll(struct file *file,
					struct poll_table_struct *table)
{
	struct dmawire_file *open = file->private_data;

	return dmawire_queue_poll(open->queue, open, file, table);
}

static const struct file_operations dmawire_device_fops = {
	.owner = THIS_MODULE,
	.open = dmawire_device_fop_open,
	.release = dmawire_device_fop_release,
	.poll = dmawire_device_fop_poll,
	.uring_cmd = dmawire_uring_cmd,
	.unlocked_ioctl = dmawire_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static void dmawire_device_release(struct device *dev)
{
	struct dmawire_device *device =
		container_of(dev, struct dmawire_device, dev);

	if (device->queue)
		dmawire_queue_destroy(device->queue);
	ida_free(&dmawire_minors, MINOR(dev->devt));
	kfree(device);
	if (atomic_dec_and_test(&dmawire_device_count))
		wake_up_all(&dmawire_device_wait);
}

static struct dmawire_device *allocate(struct device *parent)
{
	struct dmawire_device *device;
	int minor;

	device = kzalloc_obj(*device, GFP_KERNEL);
	if (!device)
		return ERR_PTR(-ENOMEM);

	minor = ida_alloc_max(&dmawire_minors, DMAWIRE_MAX_DEVICES - 1,
			      GFP_KERNEL);
	if (minor < 0) {
		kfree(device);
		return ERR_PTR(minor);
	}

	/* From here on the last put_device() frees the minor and the memory. */
	atomic_inc(&dmawire_device_count);
	device_initialize(&device->dev);
	device->dev.class = &dmawire_class;
	device->dev.parent = parent;
	device->dev.devt = MKDEV(MAJOR(dmawire_devt), minor);
	device->dev.release = dmawire_device_release;
	return device;
}

static int set_up(struct dmawire_device *device, struct device *parent,
		  const struct dmawire_device_params *params)
{
	struct dmawire_device_params own = *params;
	int ret;

	if (strscpy(device->name, params->name) < 0)
		return -EINVAL;
	own.name = device->name;
	device->priv = params->priv;
	device->queue = dmawire_queue_create(device, parent, &own);
	if (!device->queue)
		return -ENOMEM;

	ret = dev_set_name(&device->dev, "dmawire%u", MINOR(device->dev.devt));
	if (ret)
		return ret;

	cdev_init(&device->cdev, &dmawire_device_fops);
	device->cdev.owner = THIS_MODULE;
	return cdev_device_add(&device->cdev, &device->dev);
}

static bool are_valid(const struct device *parent,
		      const struct dmawire_device_params *params)
{
	const struct dmawire_device_ops *ops = params->ops;

	return params->name && ops && ops->start && ops->stop && ops->submit &&
	       (parent || params->cpu_fills) &&
	       (!params->alignment || is_power_of_2(params->alignment));
}

/**
 * dmawire_device_register - register a device that captures
 * @parent: the device that does the DMA, with its masks and limits set; may be
 *	NULL if the CPU fills
 * @params: its properties and callbacks; copied
 *
 * May sleep. The callbacks may be called before this returns.
 *
 * Return: the device, for dmawire_device_unregister(), or an ERR_PTR: -EINVAL,
 * -ENOMEM, -ENOSPC if there are 64 already.
 */
struct dmawire_device *
dmawire_device_register(struct device *parent,
			const struct dmawire_device_params *params)
{
	struct dmawire_device *device;
	int ret;

	if (!are_valid(parent, params))
		return ERR_PTR(-EINVAL);

	device = allocate(parent);
	if (IS_ERR(device))
		return device;

	ret = set_up(device, parent, params);
	if (ret) {
		/* A file may have been opened by a node that was there before. */
		if (device->queue)
			dmawire_queue_shut(device->queue);
		put_device(&device->dev);
		return ERR_PTR(ret);
	}
	return device;
}
EXPORT_SYMBOL_GPL(dmawire_device_register);

/**
 * dmawire_device_unregister - unregister a device
 * @device: the device; no longer the driver's
 *
 * Stops the device if it runs, completes all queued ranges with ENODEV and unmaps
 * all attachments. Open files stay open. May sleep. No callback runs after the
 * return.
 *
 * The attachments of a wedged device stay mapped: the driver must keep the struct
 * device of its parent, too.
 */
void dmawire_device_unregister(struct dmawire_device *device)
{
	cdev_device_del(&device->cdev, &device->dev);
	if (dmawire_queue_shut(device->queue))
		put_device(&device->dev);
}
EXPORT_SYMBOL_GPL(dmawire_device_unregister);

/**
 * dmawire_device_failed - report that the device has stopped capturing
 * @device: the device, at any time from the call of start() to that of stop()
 *
 * The driver has logged the reason. If start() succeeds, the core soon calls stop()
 * from another context and completes all queued ranges with EIO; then the device can
 * be started anew. Context as for dmawire_transfer_done().
 */
void dmawire_device_failed(struct dmawire_device *device)
{
	dmawire_queue_fail(device->queue);
}
EXPORT_SYMBOL_GPL(dmawire_device_failed);

/**
 * dmawire_device_wedged - report a device that cannot be stopped
 * @device: the device, in its stop()
 *
 * The device may still write to submitted transfers. The driver has logged the
 * reason and completes no further transfer. User space dequeues them with EIO, but
 * their memory stays mapped for the device, attached and allocated. Each START, STOP
 * and dmawire_device_unregister() calls stop() again: once stop() returns without
 * this call, the memory is released and the device can be started. If it never does,
 * the memory is leaked.
 */
void dmawire_device_wedged(struct dmawire_device *device)
{
	dmawire_queue_set_wedged(device->queue);
}
EXPORT_SYMBOL_GPL(dmawire_device_wedged);

/**
 * dmawire_device_priv - the priv of struct dmawire_device_params
 * @device: the device
 *
 * Return: the pointer.
 */
void *dmawire_device_priv(const struct dmawire_device *device)
{
	return device->priv;
}
EXPORT_SYMBOL_GPL(dmawire_device_priv);

int dmawire_device_init(void)
{
	int ret;

	ret = dmawire_queue_init();
	if (ret)
		return ret;

	ret = alloc_chrdev_region(&dmawire_devt, 0, DMAWIRE_MAX_DEVICES,
				  "dmawire");
	if (ret)
		goto err_queue;

	ret = class_register(&dmawire_class);
	if (ret)
		goto err_region;
	return 0;

err_region:
	unregister_chrdev_region(dmawire_devt, DMAWIRE_MAX_DEVICES);
err_queue:
	dmawire_queue_exit();
	return ret;
}

/* A kernel with DEBUG_KOBJECT_RELEASE frees devices late. */
void dmawire_device_exit(void)
{
	wait_event(dmawire_device_wait, !atomic_read(&dmawire_device_count));
	class_unregister(&dmawire_class);
	unregister_chrdev_region(dmawire_devt, DMAWIRE_MAX_DEVICES);
	ida_destroy(&dmawire_minors);
	dmawire_queue_exit();
}
