# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # read by the other parts
#
# Machine `pi`: a Raspberry Pi 3 with the stock Debian kernel for arm64. It is here for bcm2835-dma, a DMA controller that
# Linux drives, that copies memory, has addresses of its own and is not coherent with the CPU's caches (qemu has none,
# though: what is not synced does not show). Neither PCI nor virtio: qemu's semihosting carries what virtio's ports carry
# elsewhere, and eth0 and eth1 are a veth pair. Always four CPUs and 1 GiB.

MACHINE_KERNEL_CONFIG='' # the stock kernel
MACHINE_ARCH=arm64
MACHINE_SYSROOT=/sysroot/arm64
MACHINE_PACKAGES=("${PI_PACKAGES[@]}")
MACHINE_CMAKE=(
	-DCMAKE_TOOLCHAIN_FILE=/parts/arm64.cmake
	-DCMAKE_C_COMPILER="aarch64-linux-gnu-$KERNEL_CC" -DCMAKE_CXX_COMPILER="aarch64-linux-gnu-${KERNEL_CC/gcc/g++}"
)
MACHINE_QEMU=qemu-system-aarch64
MACHINE_CONSOLE=ttyAMA0
MACHINE_KVM=no
MACHINE_MEMORY=1G
MACHINE_GUEST=$PARTS/machine/pi.guest

# The watchdog is what ends qemu after a panic.
MACHINE_MODULES=(bcm2835_wdt veth dummy)
MACHINE_MODULES_AT_HAND=(
	ext4 loop tun ifb sch_netem sch_fq sch_fq_codel cls_u32 cls_matchall act_mirred tcp_bbr tcp_diag
	udmabuf system_heap cma_heap vgem vivid zram
)

# What protects nobody here and costs a software CPU dearly.
MACHINE_APPEND="kpti=off mitigations=off"

machine_tools() {
	quietly "compiling to-host" in_root --bind "$1:/stage" -- \
		"aarch64-linux-gnu-$KERNEL_CC" -O2 -Wall -Wextra -Werror -static -o /stage/usr/bin/to-host /parts/to_host.c
}

# The number of CPUs and the memory are what they are.
machine_arguments() {
	local accel=$1 dtb=$KERNEL_DIR/usr/lib/linux-image-$KERNEL_VERSION/broadcom/bcm2837-rpi-3-b.dtb
	QEMU_ARGS=(-machine raspi3b -dtb "$dtb")
	case $accel in
	tcg) QEMU_ARGS+=(-accel "tcg,thread=multi") ;;
	icount) QEMU_ARGS+=(-accel "tcg,thread=single" -icount "shift=1,sleep=off") ;;
	esac
}

# Semihosting opens what files of the host the guest names: qemu sees nothing but the streams.
machine_ports() {
	QEMU_ARGS+=(
		-chardev "file,id=control,path=$1" -semihosting-config "enable=on,userspace=on,target=native,chardev=control"
		-run-with "chroot=$STREAMS"
	)
}

machine_terminal() { QEMU_ARGS+=(-serial "chardev:$1"); }
