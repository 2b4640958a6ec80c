// SPDX-License-Identifier: GPL-2.0
/*
 * Device nodes: /dev/dmawireN, and what it takes to open and close one.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/slab.h>

#include "device.h"
#include "ioctl.h"
#include "quota.h"
#include "uring.h"

#define DMAWIRE_MAX_DEVICES 64

/**
 * struct dmawire_device - a device node and what stands behind it
 * @dev: in class dmawire; its reference count is this struct's
 * @cdev: an open file holds it, and it holds @dev
 */
struct dmawire_device {
	struct device dev;
	struct cdev cdev;
};

static dev_t dmawire_devt;
static DEFINE_IDA(dmawire_minors);

static char *dmawire_devnode(const struct device *dev, umode_t *mode)
{
	/* Whoever may open it may take memory: root, and a group udev names. */
	if (mode)
		*mode = 0660;
	return NULL;
}

static const struct class dmawire_class = {
	.name = "dmawire",
	.devnode = dmawire_devnode,
};

static int dmawire_device_fop_open(struct inode *inode, struct file *file)
{
	struct dmawire_open *open;

	open = kzalloc_obj(*open, GFP_KERNEL_ACCOUNT);
	if (!open)
		return -ENOMEM;

	open->quota = dmawire_quota_create();
	if (!open->quota) {
		kfree(open);
		return -ENOMEM;
	}

	file->private_data = open;
	return nonseekable_open(inode, file);
}

static int dmawire_device_fop_release(struct inode *inode, struct file *file)
{
	struct dmawire_open *open = file->private_data;

	dmawire_quota_put(open->quota);
	kfree(open);
	return 0;
}

static const struct file_operations dmawire_device_fops = {
	.owner = THIS_MODULE,
	.open = dmawire_device_fop_open,
	.release = dmawire_device_fop_release,
	.uring_cmd = dmawire_uring_cmd,
	.unlocked_ioctl = dmawire_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static void dmawire_device_release(struct device *dev)
{
	struct dmawire_device *device =
		container_of(dev, struct dmawire_device, dev);

	ida_free(&dmawire_minors, MINOR(dev->devt));
	kfree(device);
}

/**
 * dmawire_device_add - make a device node
 * @parent: the hardware behind it, or NULL
 *
 * Return: the device, to be given to dmawire_device_remove(), or an ERR_PTR.
 */
struct dmawire_device *dmawire_device_add(struct device *parent)
{
	struct dmawire_device *device;
	int minor, ret;

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
	device_initialize(&device->dev);
	device->dev.class = &dmawire_class;
	device->dev.parent = parent;
	device->dev.devt = MKDEV(MAJOR(dmawire_devt), minor);
	device->dev.release = dmawire_device_release;

	ret = dev_set_name(&device->dev, "dmawire%d", minor);
	if (ret)
		goto err_put_device;

	cdev_init(&device->cdev, &dmawire_device_fops);
	device->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&device->cdev, &device->dev);
	if (ret)
		goto err_put_device;
	return device;

err_put_device:
	put_device(&device->dev);
	return ERR_PTR(ret);
}

/* Files that are open stay usable; no new one can be opened. */
void dmawire_device_remove(struct dmawire_device *device)
{
	cdev_device_del(&device->cdev, &device->dev);
	put_device(&device->dev);
}

int dmawire_device_init(void)
{
	int ret;

	ret = alloc_chrdev_region(&dmawire_devt, 0, DMAWIRE_MAX_DEVICES,
				  "dmawire");
	if (ret)
		return ret;

	ret = class_register(&dmawire_class);
	if (ret)
		unregister_chrdev_region(dmawire_devt, DMAWIRE_MAX_DEVICES);
	return ret;
}

void dmawire_device_exit(void)
{
	class_unregister(&dmawire_class);
	unregister_chrdev_region(dmawire_devt, DMAWIRE_MAX_DEVICES);
	ida_destroy(&dmawire_minors);
}
