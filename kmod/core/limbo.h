/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_LIMBO_H
#define DMAWIRE_LIMBO_H

struct dmawire_buffer;

void dmawire_limbo_add(struct dmawire_buffer *buffer);
void dmawire_limbo_flush(void);
void dmawire_limbo_exit(void);

#endif /* DMAWIRE_LIMBO_H */
