# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # read by the other parts
#
# Everything the harness supports or installs, by name, stands in this file and nowhere else.

SUITE=trixie

# Kernels: name -> the suite whose metapackage (linux-image-ARCH) names the version.
# No version is pinned: `ci/vm update` asks the archive again.
declare -A KERNEL_SUITE=(
	[stable]=$SUITE
	[backports]=$SUITE-backports
	[rt]=$SUITE
)
# Kernels of another flavour: what stands before ARCH in the names of their packages.
declare -A KERNEL_FLAVOUR=(
	[rt]=rt-
)
DEFAULT_KERNEL=backports
DEFAULT_MACHINE=pc

# The compiler Debian 13's kernels are built with; kbuild insists on the same major.
KERNEL_CC=gcc-14

# command of the host -> the package that brings it
declare -A HOST_COMMANDS=(
	[debootstrap]=debootstrap
	[cpio]=cpio
	[unshare]=util-linux
	[flock]=util-linux
	[tail]=coreutils
)
HOST_NEEDS=(debootstrap cpio unshare flock tail)

# What the programs and tests are linked with.
LIBRARY_PACKAGES=(
	liburing-dev libdrm-dev libcli11-dev libxxhash-dev nlohmann-json3-dev libfmt-dev libgtest-dev
)

# What builds the module and the programs, what checks them, and what runs them.
BUILD_PACKAGES=(
	qemu-system-x86 "$KERNEL_CC" g++ ccache cmake ninja-build make pkg-config kmod rsync xz-utils zstd sparse perl
	"${LIBRARY_PACKAGES[@]}"
)

# What builds a kernel besides, for machines that have one of their own.
KERNEL_BUILD_PACKAGES=(flex bison bc libelf-dev)

# What makes a report of what ran, where one is asked for.
COVERAGE_PACKAGES=(gcovr)

# What the guest's commands come from (see GUEST_COMMANDS).
GUEST_PACKAGES=(
	busybox-static iproute2 ethtool iputils-ping socat netcat-openbsd curl iperf3 strace procps v4l-utils udev stress
)

# The same where they do not come with the root: from a sysroot of another architecture.
BASE_PACKAGES=(base-files ncurses-base libc6-dev dash bash coreutils findutils util-linux bsdutils kmod)

# What emulates machine `pi` and compiles for it.
PI_PACKAGES=(qemu-system-arm "$KERNEL_CC-aarch64-linux-gnu" "${KERNEL_CC/gcc/g++}-aarch64-linux-gnu")

# Commands copied into the guest with their libraries; all else there is busybox. Debian's busybox prefers its own applets
# whatever PATH says, so whoever starts other commands (sh, env, xargs ...) must be the real one, or `ip` is busybox's.
GUEST_COMMANDS=(
	sh dash env xargs find nice nohup setsid chroot script watch
	bash ip ss tc ethtool ping socat nc.openbsd curl iperf3 strace lsmod modprobe modinfo rmmod insmod
	udevadm stress v4l2-ctl v4l2-compliance taskset prlimit setpriv unshare nsenter timeout
)

# What builds and runs the programs and unit tests on the host, and what ci/lint calls there: command -> package.
HOST_BUILD_PACKAGES=(
	g++ ccache cmake ninja-build pkg-config make git python3 "${LIBRARY_PACKAGES[@]}"
)
# What builds tests/fuzz/parse besides: a compiler that has libFuzzer.
HOST_FUZZ_PACKAGES=(clang libclang-rt-dev)
declare -A LINT_COMMANDS=(
	[clang-format]=clang-format [clang-tidy]=clang-tidy [cppcheck]=cppcheck [shellcheck]=shellcheck [codespell]=codespell
	[mandoc]=mandoc [doxygen]=doxygen [python3]=python3
)
