# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # read by the other parts
#
# Machine `debug`: machine `pc` with a kernel that watches what runs on it and can make anything in it fail.

# shellcheck source=ci/vm.d/machine/pc.sh
source "$PARTS/machine/pc.sh"

MACHINE_KERNEL_CONFIG=$PARTS/machine/debug.config

# Every page has a history, and freed ones hold a pattern that is looked at when they are taken again. An area for contiguous
# memory (CMA), so that all kinds of buffers are watched.
MACHINE_APPEND+=" page_owner=on page_poison=1 cma=64M"
