// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls of <dmawire/uapi.h>. The only file that touches user memory, and
 * only dmawire_ioctl() does: handlers see the kernel's copy of the struct.
 */
#include <linux/bits.h>
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <dmawire/device.h>
#include <dmawire/uapi.h>

#include "backing.h"
#include "buffer.h"
#include "device.h"
#include "dmabuf.h"
#include "ioctl.h"
#include "queue.h"
#include "quota.h"
#include "uring.h"

union dmawire_ioctl_arg {
	u32 size;
	struct dmawire_info info;
	struct dmawire_create create;
	struct dmawire_query query;
	struct dmawire_attach attach;
	struct dmawire_detach detach;
	struct dmawire_start start;
	struct dmawire_stop stop;
	struct dmawire_enqueue enqueue;
	struct dmawire_dequeue dequeue;
	struct dmawire_status status;
	struct dmawire_sync sync;
};

/**
 * struct dmawire_ioctl_call - one ioctl under way
 * @open: the file it was called on
 * @nonblock: whether that is not to be waited on
 * @arg: the caller's struct; the handler writes its out_* fields
 * @dmabuf: CREATE: installed at @fd
 * @fd: CREATE: reserved
 * @attachment: ATTACH: the new attachment
 */
struct dmawire_ioctl_call {
	struct dmawire_file *open;
	bool nonblock;
	union dmawire_ioctl_arg arg;
	struct dma_buf *dmabuf;
	int fd;
	struct dmawire_attachment_id attachment;
};

/* The fields of INFO that describe the device. */
static void tell_of_device(struct dmawire_info *info,
			   const struct dmawire_device_params *params)
{
	static_assert(sizeof(info->out_driver) == 16);

	memset(info->out_driver, 0, sizeof(info->out_driver));
	strscpy(info->out_driver, params->name);
	info->out_features = DMAWIRE_FEATURE_CAPTURE;
	if (params->max_rate)
		info->out_features |= DMAWIRE_FEATURE_RATE;
	if (params->frame_headers)
		info->out_features |= DMAWIRE_FEATURE_FRAME_HEADER;
	info->out_max_captures = DMAWIRE_QUEUE_DEPTH;
	info->out_max_segments = params->max_segments ?: U32_MAX;
	info->out_alignment = params->alignment ?: 1;
}

static int dmawire_ioctl_info(struct dmawire_ioctl_call *call)
{
	struct dmawire_info *info = &call->arg.info;
	struct dmawire_usage open, module;

	if (info->flags)
		return -EINVAL;

	dmawire_quota_read(call->open->quota, &open, &module);
	info->out_backings = dmawire_backing_mask();
	if (!dmawire_queue_has_dev(call->open->queue))
		info->out_backings &= ~BIT(DMAWIRE_BACKING_COHERENT);
	info->out_reserved = 0;
	info->out_max_bytes = module.max_bytes;
	info->out_bytes = module.bytes;
	info->out_buffers = module.buffers;
	info->out_open_max_bytes = open.max_bytes;
	info->out_open_bytes = open.bytes;
	info->out_open_buffers = open.buffers;
	tell_of_device(info, dmawire_queue_params(call->open->queue));
	if (dmawire_queue_cma_area(call->open->queue))
		info->out_features |= DMAWIRE_FEATURE_CMA;
	return 0;
}

static bool fd_flags_are_valid(u32 flags)
{
	u32 access = flags & O_ACCMODE;

	return !(flags & ~(O_CLOEXEC | O_ACCMODE)) &&
	       (access == O_RDONLY || access == O_RDWR);
}

static struct dma_buf *create_dmabuf(struct dmawire_file *open,
				     const struct dmawire_create *create,
				     struct device *dev)
{
	const bool writable = (create->fd_flags & O_ACCMODE) == O_RDWR;
	const struct dmawire_buffer_params params = {
		.length = create->length,
		.backing = create->backing,
		.direction = create->direction,
		.node = create->node,
		.zone = dmawire_queue_zone(open->queue),
		.folios = create->flags & DMAWIRE_CREATE_FOLIOS_64K,
		.cma = create->flags & DMAWIRE_CREATE_CMA,
		.cma_area = dmawire_queue_cma_area(open->queue),
		.dev = dev,
		.owner = open->queue,
		.writable = writable || create->direction != DMAWIRE_TO_DEVICE,
		.start = create->start,
		.memfd = create->memfd,
	};
	struct dmawire_buffer *buffer;
	struct dma_buf *dmabuf;

	buffer = dmawire_buffer_create(open->quota, &params);
	if (IS_ERR(buffer))
		return ERR_CAST(buffer);

	dmabuf = dmawire_dmabuf_export(buffer, writable);
	if (IS_ERR(dmabuf))
		dmawire_buffer_destroy(buffer);
	return dmabuf;
}

/* The device does not go before the dma-buf can be found for it. */
static struct dma_buf *create_dmabuf_of_device(struct dmawire_file *open,
					       const struct dmawire_create *create)
{
	struct device *dev = dmawire_queue_hold_dev(open->queue);
	struct dma_buf *dmabuf = create_dmabuf(open, create, dev);

	if (!IS_ERR(dev))
		dmawire_queue_release_dev(open->queue);
	return dmabuf;
}

static int dmawire_ioctl_create(struct dmawire_ioctl_call *call)
{
	struct dmawire_create *create = &call->arg.create;
	struct dma_buf *dmabuf;
	int fd;

	if (create->flags & ~(DMAWIRE_CREATE_FOLIOS_64K | DMAWIRE_CREATE_CMA) ||
	    create->reserved || create->reserved2 ||
	    !fd_flags_are_valid(create->fd_flags))
		return -EINVAL;

	/* First, because it costs least. */
	fd = get_unused_fd_flags(create->fd_flags & O_CLOEXEC);
	if (fd < 0)
		return fd;

	dmabuf = create->backing == DMAWIRE_BACKING_COHERENT ?
			 create_dmabuf_of_device(call->open, create) :
			 create_dmabuf(call->open, create, NULL);
	if (IS_ERR(dmabuf)) {
		put_unused_fd(fd);
		return PTR_ERR(dmabuf);
	}

	create->out_length = dmabuf->size;
	create->out_fd = fd;
	call->dmabuf = dmabuf;
	call->fd = fd;
	return 0;
}

/* The descriptor is installed last: nothing can fail after it. */
static void dmawire_ioctl_finish_create(struct dmawire_ioctl_call *call, bool is_told)
{
	if (is_told) {
		fd_install(call->fd, call->dmabuf->file);
		return;
	}
	put_unused_fd(call->fd);
	dma_buf_put(call->dmabuf);
}

/* The uses of a mapping; with @into, as a destination. */
static u32 judge_mapping(const struct dma_buf *dmabuf,
			 const struct dmawire_buffer *buffer, bool into)
{
	if (!buffer->backing->mmap)
		return DMAWIRE_USE_IN_PLACE;
	if (!buffer->pages)
		return DMAWIRE_NO_PAGES;
	if (into && !dmawire_dmabuf_is_writable(dmabuf))
		return DMAWIRE_READ_ONLY;
	return DMAWIRE_USABLE;
}

static int dmawire_ioctl_query(struct dmawire_ioctl_call *call)
{
	struct dmawire_query *query = &call->arg.query;
	const struct dmawire_buffer *buffer;
	struct dmawire_survey survey;
	struct dma_buf *dmabuf;
	u32 mapping, into_mapping;

	if (query->flags)
		return -EINVAL;

	dmabuf = dmawire_dmabuf_get(query->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	buffer = dmawire_dmabuf_buffer(dmabuf);
	mapping = judge_mapping(dmabuf, buffer, false);
	into_mapping = judge_mapping(dmabuf, buffer, true);
	dmawire_buffer_survey(buffer, &survey);
	query->out_backing = buffer->backing->id;
	query->out_direction = buffer->direction;
	query->out_node = buffer->node;
	query->out_length = buffer->length;
	query->out_largest_segment = survey.largest_run;
	query->out_segments = min(survey.nr_runs, U32_MAX);
	static_assert(sizeof(query->out_segments_of) == sizeof(survey.nr_runs_of));
	memcpy(query->out_segments_of, survey.nr_runs_of, sizeof(survey.nr_runs_of));
	query->out_mmap = buffer->pages ? mapping : DMAWIRE_USABLE;
	query->out_send = mapping;
	/* io_uring pins registered memory for writing, even if it is only read. */
	query->out_register = buffer->cma ? DMAWIRE_NO_LONGTERM_PIN : into_mapping;
	query->out_odirect_write = mapping;
	query->out_odirect_read = into_mapping;
	query->out_direct = !dmawire_uring_can_register() ? DMAWIRE_UNSUPPORTED :
			    !buffer->pages		  ? DMAWIRE_NO_PAGES :
							    DMAWIRE_USABLE;
	query->out_folios = min(survey.nr_folios, U32_MAX);
	query->out_granule = buffer->granule;
	query->out_offset = buffer->offset;
	query->out_reserved = 0;
	dma_buf_put(dmabuf);
	return 0;
}

static int dmawire_ioctl_attach(struct dmawire_ioctl_call *call)
{
	struct dmawire_attach *attach = &call->arg.attach;
	struct dma_buf *dmabuf;
	int ret;

	if (attach->flags & ~DMAWIRE_ATTACH_FENCES)
		return -EINVAL;

	dmabuf = dmawire_dmabuf_get(attach->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = dmawire_queue_attach(call->open->queue, call->open, dmabuf,
				   attach->flags, &call->attachment);
	attach->out_index = call->attachment.index;
	dma_buf_put(dmabuf);
	return ret;
}

/* Until userspace has been told the index no range can be queued by it. */
static void dmawire_ioctl_finish_attach(struct dmawire_ioctl_call *call, bool is_told)
{
	dmawire_queue_finish_attach(call->open->queue, &call->attachment, is_told);
}

static int dmawire_ioctl_detach(struct dmawire_ioctl_call *call)
{
	const struct dmawire_detach *detach = &call->arg.detach;

	if (detach->flags || detach->reserved)
		return -EINVAL;
	return dmawire_queue_detach(call->open->queue, call->open,
				    detach->index);
}

static int dmawire_ioctl_start(struct dmawire_ioctl_call *call)
{
	const struct dmawire_start *start = &call->arg.start;

	if (start->flags || start->reserved)
		return -EINVAL;
	return dmawire_queue_start(call->open->queue, call->open, start->rate);
}

static int dmawire_ioctl_stop(struct dmawire_ioctl_call *call)
{
	if (call->arg.stop.flags)
		return -EINVAL;
	return dmawire_queue_stop(call->open->queue, call->open);
}

static int dmawire_ioctl_enqueue(struct dmawire_ioctl_call *call)
{
	const struct dmawire_enqueue *enqueue = &call->arg.enqueue;
	const struct dmawire_enqueue_params params = {
		.index = enqueue->index,
		.length = enqueue->length,
		.offset = enqueue->offset,
		.user_data = enqueue->user_data,
	};

	if (enqueue->flags)
		return -EINVAL;
	return dmawire_queue_enqueue(call->open->queue, call->open, &params, NULL);
}

static int dmawire_ioctl_dequeue(struct dmawire_ioctl_call *call)
{
	struct dmawire_dequeue *dequeue = &call->arg.dequeue;
	struct dmawire_dequeued dequeued;
	int ret;

	if (dequeue->flags)
		return -EINVAL;

	ret = dmawire_queue_dequeue(call->open->queue, call->open, !call->nonblock,
				    &dequeued);
	if (ret)
		return ret;

	dequeue->out_result = dequeued.result;
	dequeue->out_index = dequeued.index;
	dequeue->out_user_data = dequeued.user_data;
	dequeue->out_offset = dequeued.offset;
	dequeue->out_sequence = dequeued.sequence;
	dequeue->out_timestamp = dequeued.timestamp;
	dequeue->out_lost = dequeued.lost;
	dequeue->out_reserved = 0;
	return 0;
}

static int dmawire_ioctl_status(struct dmawire_ioctl_call *call)
{
	struct dmawire_status *status = &call->arg.status;
	struct dmawire_counts counts;

	if (status->flags)
		return -EINVAL;

	dmawire_queue_count(call->open->queue, &counts);
	status->out_captured = counts.captured;
	status->out_lost = counts.lost;
	status->out_failed = counts.failed;
	status->out_canceled = counts.canceled;
	status->out_queued = counts.queued;
	status->out_running = counts.running;
	return 0;
}

static enum dma_data_direction access_of(u32 flags)
{
	switch (flags & DMAWIRE_SYNC_RW) {
	case DMAWIRE_SYNC_READ:
		return DMA_FROM_DEVICE;
	case DMAWIRE_SYNC_WRITE:
		return DMA_TO_DEVICE;
	default:
		return DMA_BIDIRECTIONAL;
	}
}

static int dmawire_ioctl_sync(struct dmawire_ioctl_call *call)
{
	const struct dmawire_sync *sync = &call->arg.sync;
	struct dma_buf *dmabuf;
	int ret;

	if (sync->flags & ~(DMAWIRE_SYNC_RW | DMAWIRE_SYNC_END) ||
	    !(sync->flags & DMAWIRE_SYNC_RW) || sync->reserved)
		return -EINVAL;

	dmabuf = dmawire_dmabuf_get(sync->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = dmawire_dmabuf_sync(dmabuf, sync->offset, sync->length,
				  access_of(sync->flags),
				  sync->flags & DMAWIRE_SYNC_END);
	dma_buf_put(dmabuf);
	return ret;
}

/**
 * struct dmawire_ioctl_op - how to call one ioctl
 * @cmd: its command
 * @min_size: size of the struct as first published; includes an out_* field
 * @size: size of the struct as we know it
 * @out_begin: offset of the first out_* field
 * @out_end: end of the last one; all fields between are out_*. Both 0: no out_*
 * @for_writers: needs a file that is open for reading and writing
 * @execute: the handler
 * @finish: called after @execute has succeeded: publishes its effect if the results
 *	were written to the caller's struct, else undoes it; or NULL
 */
struct dmawire_ioctl_op {
	unsigned int cmd;
	u32 min_size;
	u32 size;
	u32 out_begin;
	u32 out_end;
	bool for_writers;
	int (*execute)(struct dmawire_ioctl_call *call);
	void (*finish)(struct dmawire_ioctl_call *call, bool is_told);
};

static const struct dmawire_ioctl_op dmawire_ioctl_ops[] = {
	[_IOC_NR(DMAWIRE_IOC_INFO)] = {
		.cmd = DMAWIRE_IOC_INFO,
		.min_size = DMAWIRE_INFO_SIZE_V1,
		.size = sizeof(struct dmawire_info),
		.out_begin = offsetof(struct dmawire_info, out_backings),
		.out_end = offsetofend(struct dmawire_info, out_alignment),
		.execute = dmawire_ioctl_info,
	},
	[_IOC_NR(DMAWIRE_IOC_CREATE)] = {
		.cmd = DMAWIRE_IOC_CREATE,
		.min_size = DMAWIRE_CREATE_SIZE_V1,
		.size = sizeof(struct dmawire_create),
		.out_begin = offsetof(struct dmawire_create, out_length),
		.out_end = offsetofend(struct dmawire_create, out_fd),
		.for_writers = true,
		.execute = dmawire_ioctl_create,
		.finish = dmawire_ioctl_finish_create,
	},
	[_IOC_NR(DMAWIRE_IOC_QUERY)] = {
		.cmd = DMAWIRE_IOC_QUERY,
		.min_size = DMAWIRE_QUERY_SIZE_V1,
		.size = sizeof(struct dmawire_query),
		.out_begin = offsetof(struct dmawire_query, out_backing),
		.out_end = offsetofend(struct dmawire_query, out_segments_of),
		.execute = dmawire_ioctl_query,
	},
	[_IOC_NR(DMAWIRE_IOC_ATTACH)] = {
		.cmd = DMAWIRE_IOC_ATTACH,
		.min_size = DMAWIRE_ATTACH_SIZE_V1,
		.size = sizeof(struct dmawire_attach),
		.out_begin = offsetof(struct dmawire_attach, out_index),
		.out_end = offsetofend(struct dmawire_attach, out_index),
		.for_writers = true,
		.execute = dmawire_ioctl_attach,
		.finish = dmawire_ioctl_finish_attach,
	},
	[_IOC_NR(DMAWIRE_IOC_DETACH)] = {
		.cmd = DMAWIRE_IOC_DETACH,
		.min_size = DMAWIRE_DETACH_SIZE_V1,
		.size = sizeof(struct dmawire_detach),
		.for_writers = true,
		.execute = dmawire_ioctl_detach,
	},
	[_IOC_NR(DMAWIRE_IOC_START)] = {
		.cmd = DMAWIRE_IOC_START,
		.min_size = DMAWIRE_START_SIZE_V1,
		.size = sizeof(struct dmawire_start),
		.for_writers = true,
		.execute = dmawire_ioctl_start,
	},
	[_IOC_NR(DMAWIRE_IOC_STOP)] = {
		.cmd = DMAWIRE_IOC_STOP,
		.min_size = DMAWIRE_STOP_SIZE_V1,
		.size = sizeof(struct dmawire_stop),
		.for_writers = true,
		.execute = dmawire_ioctl_stop,
	},
	[_IOC_NR(DMAWIRE_IOC_ENQUEUE)] = {
		.cmd = DMAWIRE_IOC_ENQUEUE,
		.min_size = DMAWIRE_ENQUEUE_SIZE_V1,
		.size = sizeof(struct dmawire_enqueue),
		.for_writers = true,
		.execute = dmawire_ioctl_enqueue,
	},
	[_IOC_NR(DMAWIRE_IOC_DEQUEUE)] = {
		.cmd = DMAWIRE_IOC_DEQUEUE,
		.min_size = DMAWIRE_DEQUEUE_SIZE_V1,
		.size = sizeof(struct dmawire_dequeue),
		.out_begin = offsetof(struct dmawire_dequeue, out_result),
		.out_end = offsetofend(struct dmawire_dequeue, out_reserved),
		.for_writers = true,
		.execute = dmawire_ioctl_dequeue,
	},
	[_IOC_NR(DMAWIRE_IOC_STATUS)] = {
		.cmd = DMAWIRE_IOC_STATUS,
		.min_size = DMAWIRE_STATUS_SIZE_V1,
		.size = sizeof(struct dmawire_status),
		.out_begin = offsetof(struct dmawire_status, out_captured),
		.out_end = offsetofend(struct dmawire_status, out_running),
		.execute = dmawire_ioctl_status,
	},
	[_IOC_NR(DMAWIRE_IOC_SYNC)] = {
		.cmd = DMAWIRE_IOC_SYNC,
		.min_size = DMAWIRE_SYNC_SIZE_V1,
		.size = sizeof(struct dmawire_sync),
		.for_writers = true,
		.execute = dmawire_ioctl_sync,
	},
};

/* The ABI is stable: each first version ends at a field of the present struct. */
#define DMAWIRE_ASSERT_V1(name, last, size) \
	static_assert(offsetofend(struct dmawire_##name, last) == (size))

DMAWIRE_ASSERT_V1(info, out_alignment, DMAWIRE_INFO_SIZE_V1);
DMAWIRE_ASSERT_V1(create, reserved2, DMAWIRE_CREATE_SIZE_V1);
DMAWIRE_ASSERT_V1(query, out_segments_of, DMAWIRE_QUERY_SIZE_V1);
DMAWIRE_ASSERT_V1(attach, out_index, DMAWIRE_ATTACH_SIZE_V1);
DMAWIRE_ASSERT_V1(detach, reserved, DMAWIRE_DETACH_SIZE_V1);
DMAWIRE_ASSERT_V1(start, reserved, DMAWIRE_START_SIZE_V1);
DMAWIRE_ASSERT_V1(stop, flags, DMAWIRE_STOP_SIZE_V1);
DMAWIRE_ASSERT_V1(enqueue, user_data, DMAWIRE_ENQUEUE_SIZE_V1);
DMAWIRE_ASSERT_V1(dequeue, out_reserved, DMAWIRE_DEQUEUE_SIZE_V1);
DMAWIRE_ASSERT_V1(status, out_running, DMAWIRE_STATUS_SIZE_V1);
DMAWIRE_ASSERT_V1(sync, length, DMAWIRE_SYNC_SIZE_V1);
DMAWIRE_ASSERT_V1(uring_register, length, DMAWIRE_URING_REGISTER_SIZE_V1);
DMAWIRE_ASSERT_V1(uring_unregister, reserved, DMAWIRE_URING_UNREGISTER_SIZE_V1);
DMAWIRE_ASSERT_V1(uring_capture, out_reserved, DMAWIRE_URING_CAPTURE_SIZE_V1);

/**
 * dmawire_ioctl_copy - copy a struct in that begins with its size
 * @arg: our version of it
 * @size: of @arg
 * @user: the caller's version
 * @min_size: of the first version that was published
 *
 * The size in @arg is the checked one, even if another thread changes @user.
 *
 * Return: 0, -EFAULT, -EINVAL or -E2BIG, as <dmawire/uapi.h> says.
 */
int dmawire_ioctl_copy(void *arg, u32 size, const void __user *user,
		       u32 min_size)
{
	u32 user_size;
	int ret;

	if (get_user(user_size, (const u32 __user *)user))
		return -EFAULT;
	if (user_size < min_size)
		return -EINVAL;
	if (user_size > PAGE_SIZE)
		return -E2BIG;

	ret = copy_struct_from_user(arg, size, user, user_size);
	if (!ret)
		*(u32 *)arg = user_size;
	return ret;
}

/**
 * dmawire_ioctl_copy_out - copy the out_* fields of a command's struct out
 * @user: the caller's struct
 * @user_size: its size, which was checked
 * @arg: ours
 * @begin: offset of the first out_* field
 * @end: of the last one
 *
 * Return: 0 or -EFAULT.
 */
int dmawire_ioctl_copy_out(void __user *user, u32 user_size, const void *arg,
			   u32 begin, u32 end)
{
	end = min(end, user_size);
	if (end > begin && copy_to_user(user + begin, arg + begin, end - begin))
		return -EFAULT;
	return 0;
}

bool dmawire_ioctl_may_write(const struct file *file)
{
	const fmode_t both = FMODE_READ | FMODE_WRITE;

	return (file->f_mode & both) == both;
}

/**
 * dmawire_ioctl - the unlocked_ioctl of a device node
 * @file: of a device node
 * @cmd: DMAWIRE_IOC_*
 * @arg: pointer to the struct that goes with it
 *
 * Return: 0, or the error <dmawire/uapi.h> promises.
 */
long dmawire_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dmawire_ioctl_call call = {
		.open = file->private_data,
		.nonblock = file->f_flags & O_NONBLOCK,
	};
	void __user *user = (void __user *)arg;
	const struct dmawire_ioctl_op *op;
	unsigned int nr = _IOC_NR(cmd);
	u32 user_size;
	int ret;

	if (nr >= ARRAY_SIZE(dmawire_ioctl_ops))
		return -ENOTTY;
	nr = array_index_nospec(nr, ARRAY_SIZE(dmawire_ioctl_ops));
	op = &dmawire_ioctl_ops[nr];
	if (op->cmd != cmd)
		return -ENOTTY;

	ret = dmawire_ioctl_copy(&call.arg, op->size, user, op->min_size);
	if (ret)
		return ret;
	user_size = call.arg.size;

	if (op->for_writers && !dmawire_ioctl_may_write(file))
		return -EACCES;

	ret = op->execute(&call);
	if (ret)
		return ret;
	ret = dmawire_ioctl_copy_out(user, user_size, &call.arg, op->out_begin,
				     op->out_end);
	if (op->finish)
		op->finish(&call, !ret);
	return ret;
}
