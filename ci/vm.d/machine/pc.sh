# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # read by the other parts
#
# Machine `pc`: x86-64 q35 with the stock Debian kernel. What is here is all that another machine has to say:
# its architecture and where its tools come from, its qemu, its console, its modules, and its arguments.

MACHINE_KERNEL_CONFIG='' # the stock kernel
MACHINE_ARCH=amd64
MACHINE_SYSROOT='' # the root itself
MACHINE_PACKAGES=()
MACHINE_CMAKE=()
MACHINE_QEMU=qemu-system-x86_64
MACHINE_CONSOLE=ttyS0
MACHINE_KVM=yes
MACHINE_MEMORY=2G
MACHINE_NODES=1
MACHINE_GUEST=$PARTS/machine/pc.guest

# Loaded by init before anything else. A name that is built into the kernel is fine.
MACHINE_MODULES=(virtio_pci virtio_console e1000e dummy)

# There for `modprobe`; one that a kernel does not have is left out.
MACHINE_MODULES_AT_HAND=(
	virtio_rng virtio_blk ext4 loop tun veth ifb sch_netem sch_fq sch_fq_codel cls_u32 cls_matchall act_mirred tcp_bbr
	tcp_diag udmabuf system_heap cma_heap vgem vivid zram
)

# On a busy host a software CPU gets too few timer ticks while the kernel checks that they come, and it panics: no check.
# Mitigations cost a software CPU dearly and protect nobody here; its clock is as steady as the host's. With MSI-X qemu's
# e1000e loses the interrupt that says "link up", and the driver looks again only after two seconds: plain interrupts it is.
MACHINE_APPEND="e1000e.IntMode=0,0 mitigations=off tsc=reliable no_timer_check"

# Devices reach the memory that was mapped for them and no other: a stray DMA is a fault in the kernel's log, which ends the
# run. Strict, so that what was unmapped a moment ago is a stray already.
MACHINE_APPEND+=" intel_iommu=on iommu.strict=1"

# `edu` has 28 bits of an address unless told otherwise, which without the IOMMU (intel_iommu=off) no bounce buffer has.
MACHINE_APPEND+=" dmawire_edu.dma_bits=32"

# machine_tools DIR: what the guest's root has that no package has.
machine_tools() { :; }

# A software CPU that says it has fast string moves is given `rep movsb`, and moves a byte at a time; without, eight. Under
# --icount it keeps them: there a copied byte is counted as the stock kernel would have it on today's processors. But not fast
# short moves and stores (FSRM, FSRS): to clear a packet's headers would count a sixth of a send.
#
# Four levels of page tables. That there are five the kernel reads from the CPU's features, which it forgets for a moment when
# it identifies the CPU; an interrupt just then, and KASAN takes the addresses of those tables for wild.
#
# machine_arguments ACCEL CPUS MEMORY: fills QEMU_ARGS. NIC eth0 becomes src's, eth1 dst's: in the order of the slots.
machine_arguments() {
	local accel=$1 cpus=$2 memory=$3 nodes node share
	nodes=$((cpus < MACHINE_NODES ? cpus : MACHINE_NODES))
	QEMU_ARGS=(-machine q35 -device "intel-iommu,intremap=off" -m "$memory" -smp "$cpus,sockets=$nodes")
	case $accel in
	kvm) QEMU_ARGS+=(-accel kvm -cpu host) ;;
	tcg) QEMU_ARGS+=(-accel "tcg,thread=multi" -cpu "max,erms=off,fsrm=off,la57=off") ;;
	icount) QEMU_ARGS+=(-accel "tcg,thread=single" -cpu "max,fsrm=off,fsrs=off" -icount "shift=1,sleep=off") ;;
	esac
	share=$(($(numfmt --from=iec "$memory") / nodes))
	for ((node = 0; nodes > 1 && node < nodes; node++)); do
		QEMU_ARGS+=(
			-object "memory-backend-ram,id=node$node,size=$share" -numa "node,nodeid=$node,cpus=$node,memdev=node$node"
		)
	done
	# Without ROM files: nobody boots from these NICs.
	QEMU_ARGS+=(
		-netdev "hubport,id=src,hubid=0" -device "e1000e,netdev=src,mac=02:00:00:00:00:01,addr=0x10,romfile="
		-netdev "hubport,id=dst,hubid=0" -device "e1000e,netdev=dst,mac=02:00:00:00:00:02,addr=0x11,romfile="
		-device "edu,addr=0x12,dma_mask=0xffffffff"
		-object "rng-random,id=rng,filename=/dev/urandom" -device "virtio-rng-pci,rng=rng"
	)
}

# machine_ports CONTROL-FILE NAME...: what carries the guest's lines to CONTROL-FILE, and streams to $STREAMS/NAME.
machine_ports() {
	local control=$1 name
	shift
	QEMU_ARGS+=(
		# Without ioeventfd what the guest has written is in our file before its write returns.
		-device "virtio-serial-pci,ioeventfd=off"
		-chardev "file,id=control,path=$control" -device "virtserialport,chardev=control,name=control"
	)
	for name; do
		QEMU_ARGS+=(-chardev "file,id=$name,path=$STREAMS/$name" -device "virtserialport,chardev=$name,name=$name")
	done
}

# machine_terminal CHARDEV: for the guest's shell.
machine_terminal() { QEMU_ARGS+=(-device "virtconsole,chardev=$1"); }
