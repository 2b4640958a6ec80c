# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # read by the other parts
#
# Machine `large`: machine `pc` with buffers of several GiB in mind. Its memory is in two NUMA nodes, one for each CPU. Two pages
# of 1 GiB and an area for contiguous memory (CMA) are set aside, which is sure to work only while the kernel boots.

# shellcheck source=ci/vm.d/machine/pc.sh
source "$PARTS/machine/pc.sh"

MACHINE_MEMORY=9G
MACHINE_NODES=2
MACHINE_APPEND+=" hugepagesz=1G hugepages=2 cma=64M"
