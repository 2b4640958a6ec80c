// SPDX-License-Identifier: GPL-2.0
/*
 * The io_uring commands of <dmawire/uapi.h>: dma-bufs as fixed buffers of a ring,
 * and captures as its requests.
 *
 * A slot of the ring owns a reference on the dma-buf. io_uring drops it when the
 * slot is empty and the last request has completed, the notification of a zero-copy
 * send included, so requests in flight need no tracking here.
 */
#include <linux/bvec.h>
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/io_uring/cmd.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/string.h>

#include <dmawire/uapi.h>

#include "buffer.h"
#include "device.h"
#include "dmabuf.h"
#include "ioctl.h"
#include "queue.h"
#include "uring.h"

/*
 * Longest piece of a fixed buffer. A send is charged socket memory from the start
 * of the piece it begins in, so bvecs must not be long; and to find an offset
 * io_uring walks the bvecs one by one, so they must not be many. Measured with
 * others given to the compiler: docs/sending.md.
 */
#ifndef DMAWIRE_URING_PIECE_SIZE
#define DMAWIRE_URING_PIECE_SIZE SZ_64K
#endif

/* io_uring counts these in 32 bits. */
#define DMAWIRE_URING_MAX_BYTES ((u64)U32_MAX)

static void put_dmabuf(void *dmabuf)
{
	dma_buf_put(dmabuf);
}

static unsigned int cut_into_bvecs(const struct dmawire_buffer *buffer,
				   const struct dmawire_range *range,
				   struct bio_vec *bvecs)
{
	unsigned int count = 0;
	size_t length;

	for (size_t done = 0; done < range->length; done += length) {
		size_t begin = buffer->offset + range->offset + done;

		length = min(range->length - done,
			     DMAWIRE_URING_PIECE_SIZE - offset_in_page(begin));
		length = dmawire_buffer_contiguous(buffer, range->offset + done,
						   length);
		bvec_set_page(&bvecs[count++],
			      dmawire_buffer_page(buffer, begin >> PAGE_SHIFT),
			      length, offset_in_page(begin));
	}
	return count;
}

static int get_range(const struct dmawire_buffer *buffer,
		     const struct dmawire_uring_register *arg,
		     struct dmawire_range *range)
{
	u64 rest, length;

	if (arg->offset >= buffer->length)
		return -EINVAL;
	rest = buffer->length - arg->offset;
	length = arg->length ?: rest;
	if (!PAGE_ALIGNED(arg->offset) || length > rest ||
	    (length != rest && !PAGE_ALIGNED(length)))
		return -EINVAL;
	if (length > DMAWIRE_URING_MAX_BYTES)
		return -EFBIG;

	*range = (struct dmawire_range) { arg->offset, length };
	return 0;
}

/* Takes over the caller's reference to @dmabuf if it succeeds. */
static int register_range(struct io_uring_cmd *cmd, struct dma_buf *dmabuf,
			  const struct dmawire_uring_register *arg,
			  unsigned int issue_flags)
{
	struct dmawire_buffer *buffer = dmawire_dmabuf_buffer(dmabuf);
	struct dmawire_range range;
	struct bio_vec *bvecs;
	u8 dir = IO_BUF_SOURCE;
	unsigned int count;
	int ret;

	ret = get_range(buffer, arg, &range);
	if (ret)
		return ret;
	if (!buffer->pages)
		return -EOPNOTSUPP;

	/* At most one for each page, and it may begin and end within one. */
	bvecs = kvmalloc_array((range.length >> PAGE_SHIFT) + 2, sizeof(*bvecs),
			       GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |
				       __GFP_NOWARN);
	if (!bvecs)
		return -ENOMEM;

	count = cut_into_bvecs(buffer, &range, bvecs);
	if (dmawire_dmabuf_is_writable(dmabuf))
		dir |= IO_BUF_DEST;
	ret = io_buffer_register_bvec(cmd, bvecs, count, put_dmabuf, dmabuf, dir,
				      arg->slot, issue_flags);
	kvfree(bvecs);
	return ret;
}

static int dmawire_uring_register(struct io_uring_cmd *cmd,
				  const void __user *user,
				  unsigned int issue_flags)
{
	struct dmawire_uring_register arg;
	struct dma_buf *dmabuf;
	int ret;

	ret = dmawire_ioctl_copy(&arg, sizeof(arg), user,
				 DMAWIRE_URING_REGISTER_SIZE_V1);
	if (ret)
		return ret;
	if (arg.flags)
		return -EINVAL;

	dmabuf = dmawire_dmabuf_get(arg.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = register_range(cmd, dmabuf, &arg, issue_flags);
	if (ret)
		dma_buf_put(dmabuf);
	return ret;
}

static int dmawire_uring_unregister(struct io_uring_cmd *cmd,
				    const void __user *user,
				    unsigned int issue_flags)
{
	struct dmawire_uring_unregister arg;
	int ret;

	ret = dmawire_ioctl_copy(&arg, sizeof(arg), user,
				 DMAWIRE_URING_UNREGISTER_SIZE_V1);
	if (ret)
		return ret;
	if (arg.flags || arg.reserved)
		return -EINVAL;

	return io_buffer_unregister(cmd, arg.slot, issue_flags);
}

/**
 * struct dmawire_uring_wait - a request that waits for its range
 * @waiter: in the queue
 * @user: the caller's struct
 * @user_size: its size
 *
 * Lies in the request's own memory.
 */
struct dmawire_uring_wait {
	struct dmawire_waiter waiter;
	void __user *user;
	u32 user_size;
};

static struct dmawire_queue *queue_of(const struct io_uring_cmd *cmd)
{
	struct dmawire_file *open = cmd->file->private_data;

	return open->queue;
}

/* In the task that made the request, if that still lives. */
static void complete_capture(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct dmawire_uring_wait *wait =
		io_uring_cmd_to_pdu(cmd, struct dmawire_uring_wait);
	struct dmawire_uring_capture arg = {};
	struct dmawire_dequeued dequeued;
	int ret;

	if (!dmawire_queue_finish_dequeue(queue_of(cmd), &wait->waiter, &dequeued)) {
		io_uring_cmd_done(cmd, -ECANCELED, issue_flags);
		return;
	}
	arg.out_sequence = dequeued.sequence;
	arg.out_timestamp = dequeued.timestamp;
	arg.out_lost = dequeued.lost;
	ret = dequeued.result;
	if (ret >= 0 && current->mm &&
	    dmawire_ioctl_copy_out(wait->user, wait->user_size, &arg,
				   offsetof(typeof(arg), out_sequence),
				   offsetofend(typeof(arg), out_reserved)))
		ret = -EFAULT;
	io_uring_cmd_done(cmd, ret, issue_flags);
}

DMAWIRE_URING_WORK(complete_capture_work, complete_capture)

/* One completion each, so that a task that waits for many is woken once. */
static void capture_is_done(struct dmawire_waiter *waiter)
{
	struct dmawire_uring_wait *wait =
		container_of(waiter, struct dmawire_uring_wait, waiter);
	struct io_uring_cmd *cmd =
		container_of((void *)wait, struct io_uring_cmd, pdu);

	io_uring_cmd_do_in_task_lazy(cmd, complete_capture_work);
}

static int dmawire_uring_capture(struct io_uring_cmd *cmd,
				 void __user *user, unsigned int issue_flags)
{
	struct dmawire_uring_wait *wait =
		io_uring_cmd_to_pdu(cmd, struct dmawire_uring_wait);
	struct dmawire_enqueue_params params = {};
	struct dmawire_uring_capture arg;
	int ret;

	ret = dmawire_ioctl_copy(&arg, sizeof(arg), user,
				 DMAWIRE_URING_CAPTURE_SIZE_V1);
	if (ret)
		return ret;
	if (arg.flags)
		return -EINVAL;
	if (!dmawire_ioctl_may_write(cmd->file))
		return -EACCES;
	/* A worker of io_uring may wait for the reservation lock. */
	if (issue_flags & IO_URING_F_NONBLOCK &&
	    dmawire_queue_enqueue_may_sleep(queue_of(cmd), arg.index))
		return -EAGAIN;

	params.index = arg.index;
	params.length = arg.length;
	params.offset = arg.offset;
	*wait = (struct dmawire_uring_wait) {
		.waiter.done = capture_is_done,
		.user = user,
		.user_size = arg.size,
	};
	/* Before it can complete; and takes the ring's lock, so before ours. */
	io_uring_cmd_mark_cancelable(cmd, issue_flags);
	ret = dmawire_queue_enqueue(queue_of(cmd), cmd->file->private_data, &params,
				    &wait->waiter);
	if (ret)
		io_uring_cmd_done(cmd, ret, issue_flags);
	return -EIOCBQUEUED;
}

/* The ring or the task ends: this request completes, others go on. */
static int cancel_capture(struct io_uring_cmd *cmd)
{
	struct dmawire_uring_wait *wait =
		io_uring_cmd_to_pdu(cmd, struct dmawire_uring_wait);

	dmawire_queue_cancel(queue_of(cmd), &wait->waiter);
	return 0;
}

/* Fields that no command of ours defines. */
static bool sqe_is_clear(const struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const size_t size = issue_flags & IO_URING_F_SQE128 ? 80 : 16;
	const struct io_uring_sqe *sqe = cmd->sqe;

	/* Nor many results of one request, nor a registered buffer. */
	return !(cmd->flags & IORING_URING_CMD_MASK) && !READ_ONCE(sqe->len) &&
	       !READ_ONCE(sqe->buf_index) && !READ_ONCE(sqe->splice_fd_in) &&
	       !memchr_inv(sqe->cmd, 0, size);
}

/* Whether this kernel takes buffers from a driver into an io_uring's table. */
bool dmawire_uring_can_register(void)
{
	return DMAWIRE_COMPAT_HAS_REGISTER_BVEC;
}

/**
 * dmawire_uring_cmd - the uring_cmd of a device node
 * @cmd: the command; its 'addr' is in the memory of the task that we run in
 * @issue_flags: of io_uring: whether its lock is held
 *
 * Return: 0, an error of <dmawire/uapi.h>, or -EIOCBQUEUED if the command completes
 * later.
 */
int dmawire_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	void __user *user;

	if (issue_flags & IO_URING_F_CANCEL)
		return cancel_capture(cmd);
	if (!sqe_is_clear(cmd, issue_flags))
		return -EINVAL;

	user = u64_to_user_ptr(READ_ONCE(cmd->sqe->addr));
	if (cmd->cmd_op == DMAWIRE_URING_CMD_CAPTURE)
		return dmawire_uring_capture(cmd, user, issue_flags);
	if (!dmawire_uring_can_register())
		return -EOPNOTSUPP;

	switch (cmd->cmd_op) {
	case DMAWIRE_URING_CMD_REGISTER:
		return dmawire_uring_register(cmd, user, issue_flags);
	case DMAWIRE_URING_CMD_UNREGISTER:
		return dmawire_uring_unregister(cmd, user, issue_flags);
	default:
		return -EOPNOTSUPP;
	}
}
