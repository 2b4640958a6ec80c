/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: events/dmawire. From dmawire_enqueue to dmawire_complete the range is
 * the device's; the time from there to the completion in user space is io_uring's or
 * the reader's.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dmawire

#if !defined(DMAWIRE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DMAWIRE_TRACE_H

#include <linux/tracepoint.h>

#include "queue.h"

TRACE_EVENT(dmawire_enqueue,
	    TP_PROTO(const struct dmawire_dequeued *range, size_t length),
	    TP_ARGS(range, length),
	    TP_STRUCT__entry(__field(u32, index)
			     __field(u64, offset)
			     __field(size_t, length)),
	    TP_fast_assign(__entry->index = range->index;
			   __entry->offset = range->offset;
			   __entry->length = length;),
	    TP_printk("index=%u offset=%llu length=%zu",
		      __entry->index, __entry->offset, __entry->length));

TRACE_EVENT(dmawire_complete,
	    TP_PROTO(const struct dmawire_dequeued *range, s32 result),
	    TP_ARGS(range, result),
	    TP_STRUCT__entry(__field(u32, index)
			     __field(u64, offset)
			     __field(s32, result)
			     __field(u64, sequence)
			     __field(u32, lost)),
	    TP_fast_assign(__entry->index = range->index;
			   __entry->offset = range->offset;
			   __entry->result = result;
			   __entry->sequence = range->sequence;
			   __entry->lost = range->lost;),
	    TP_printk("index=%u offset=%llu result=%d sequence=%llu lost=%u",
		      __entry->index, __entry->offset, __entry->result,
		      __entry->sequence, __entry->lost));

#endif /* DMAWIRE_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH core
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
