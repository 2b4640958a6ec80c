/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_RECLAIM_H
#define DMAWIRE_RECLAIM_H

struct dmawire_buffer;

void dmawire_reclaim_add(struct dmawire_buffer *buffer);
void dmawire_reclaim_flush(void);
void dmawire_reclaim_exit(void);

#endif /* DMAWIRE_RECLAIM_H */
