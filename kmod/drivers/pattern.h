/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMAWIRE_PATTERN_H
#define DMAWIRE_PATTERN_H

int dmawire_pattern_init(void);
void dmawire_pattern_exit(void);

#endif /* DMAWIRE_PATTERN_H */
