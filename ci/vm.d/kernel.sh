# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Kernels: headers installed in the root, images only unpacked (kernel/VERSION), names resolved through metapackages. And
# those that a machine wants built with a configuration of its own.

# ensure_kernel NAME [again]: `again` asks the archive even when a kernel is there; what is known stays valid meanwhile.
# Sets KERNEL_VERSION and KERNEL_DIR (vmlinux, lib/modules/KERNEL_VERSION) for a name of KERNEL_SUITE.
ensure_kernel() {
	local suite=${KERNEL_SUITE[$1]} flavour=${KERNEL_FLAVOUR[$1]-} known=$CACHE/kernel/$1-$MACHINE_ARCH again=${2-}
	[[ -z $again && -r $known ]] || locked root make_kernel "$suite" "$flavour$MACHINE_ARCH" "$known" "$again"
	KERNEL_VERSION=$(<"$known")
	KERNEL_DIR=$CACHE/kernel/$KERNEL_VERSION
	[[ -d $ROOT/usr/src/linux-headers-$KERNEL_VERSION && -d $KERNEL_DIR ]] ||
		die "the cache is damaged (no headers or no image of $KERNEL_VERSION): delete $CACHE"
}

# Caller holds the lock `root`: apt works in one root.
make_kernel() {
	local suite=$1 image=$2 known=$3 again=$4 version
	[[ -n $again || ! -r $known ]] || return 0
	[[ -n $again ]] || say "fetching the $image kernel of $suite (once, about half a minute)"
	quietly "apt-get update in the root" in_root -- /parts/apt-for "$MACHINE_ARCH" apt-get update
	version=$(in_root -- /parts/apt-for "$MACHINE_ARCH" /parts/resolve-kernel "$suite" "$image")
	[[ -n $version ]] || die "the archive names no $image kernel in $suite"
	quietly "installing the headers of $version" fetching_in_root /parts/install-headers "$MACHINE_ARCH" "$version"
	[[ -d $CACHE/kernel/$version ]] || fetch_image "$version"
	# Last and by rename: this file is the sign that all of the above is there.
	printf '%s\n' "$version" >"$known.tmp"
	mv "$known.tmp" "$known"
}

fetch_image() {
	local version=$1 tmp=$CACHE/kernel/tmp.$$
	rm -rf "$CACHE"/kernel/tmp.*
	mkdir -p "$tmp"
	quietly "fetching the image of $version" in_root --bind "$tmp:/kernel" -- \
		/parts/apt-for "$MACHINE_ARCH" /parts/fetch-image "$version"
	# A kernel that is not packed, or in a way unknown here, boots as it is.
	in_root --bind "$tmp:/kernel" -- /parts/unpack-vmlinux || mv "$tmp/vmlinuz" "$tmp/vmlinux"
	mv "$tmp" "$CACHE/kernel/$version"
}

# ensure_own_kernel CONFIG: instead of the stock kernel one of the same source, as small as can be (allnoconfig) and with what
# CONFIG says. Built once for a source and a CONFIG. Sets KERNEL_VERSION and KERNEL_DIR anew.
ensure_own_kernel() {
	local config=$1 name key
	name=$(basename "$config" .config)
	key=$(key_of "$KERNEL_VERSION" "$(<"$config")" "$(<"$PARTS/inside/compile-kernel")")
	if [[ ! -r $CACHE/kernel/$name-$key && $IF_BUILT == yes ]]; then
		say "not done: the kernel of machine $MACHINE has to be built first, by ci/vm --machine $MACHINE prepare"
		exit "$NOT_BUILT"
	fi
	[[ -r $CACHE/kernel/$name-$key ]] || locked root make_own_kernel "$config" "$name-$key"
	KERNEL_VERSION=$(<"$CACHE/kernel/$name-$key")
	KERNEL_DIR=$CACHE/kernel/$KERNEL_VERSION
	[[ -d $ROOT/usr/src/linux-headers-$KERNEL_VERSION && -d $KERNEL_DIR ]] ||
		die "the cache is damaged (no headers or no image of $KERNEL_VERSION): delete $CACHE"
}

# Caller holds the lock `root`.
make_own_kernel() {
	local config=$1 name=$2 tmp=$CACHE/kernel/tmp.$$
	[[ ! -r $CACHE/kernel/$name ]] || return 0
	make_source
	quietly "installing what builds a kernel" install_in_root "${KERNEL_BUILD_PACKAGES[@]}"
	say "building the kernel $name (once, a quarter of an hour or more)"
	rm -rf "$CACHE"/kernel/tmp.*
	mkdir -p "$tmp"/{build,image}
	cp "$config" "$tmp/build/config"
	quietly "building the kernel $name" in_root --bind "$SOURCE:/kernel:ro" --bind "$tmp/build:/build" \
		--bind "$tmp/image:/stage" -- /parts/compile-kernel "$KERNEL_CC" "$name"
	rm -rf "$CACHE/kernel/$(<"$tmp/image/release")"
	mv "$tmp/image" "$CACHE/kernel/$(<"$tmp/image/release")"
	cp "$tmp/build/release" "$CACHE/kernel/$name.tmp"
	mv "$CACHE/kernel/$name.tmp" "$CACHE/kernel/$name"
	rm -rf "$tmp"
}

# Sets SOURCE, a directory with linux.tar.xz of the suite that $KERNEL is from. Caller holds the lock `root`.
make_source() {
	SOURCE=$CACHE/source/$(<"$CACHE/kernel/$KERNEL-$MACHINE_ARCH")
	[[ ! -d $SOURCE ]] || return 0
	say "fetching the source of the $KERNEL kernel (once, 170 MB)"
	local tmp=$CACHE/source/tmp.$$
	rm -rf "$CACHE"/source/tmp.*
	mkdir -p "$tmp"
	quietly "fetching the source of the $KERNEL kernel" in_root --bind "$tmp:/kernel" -- \
		/parts/fetch-source "${KERNEL_SUITE[$KERNEL]}"
	mv "$tmp" "$SOURCE"
}

# The newest there is: style rules only grow.
ensure_checkpatch() { [[ -d $CACHE/checkpatch ]] || locked root make_checkpatch; }

# Caller holds the lock `root`.
make_checkpatch() {
	[[ ! -d $CACHE/checkpatch ]] || return 0
	make_source
	local tmp=$CACHE/checkpatch.tmp.$$
	rm -rf "$CACHE"/checkpatch.tmp.*
	mkdir -p "$tmp"
	quietly "unpacking checkpatch" in_root --bind "$SOURCE:/kernel:ro" --bind "$tmp:/stage" -- /parts/unpack-checkpatch
	mv "$tmp" "$CACHE/checkpatch"
}

# Sets SELFTESTS, a directory with those of the kernel's own tests that are about what we do, unchanged.
ensure_selftests() {
	local source
	source=$(<"$CACHE/kernel/$KERNEL-$MACHINE_ARCH")
	SELFTESTS=$CACHE/selftests/$(key_of "$source" "$(fingerprint "$CHECKOUT/tests/selftests" "$CHECKOUT/include/dmawire/uapi.h")" \
		"$(<"$PARTS/inside/compile-selftests")")
	[[ -d $SELFTESTS ]] || locked root make_selftests
	touch "$SELFTESTS"
}

# Caller holds the lock `root`.
make_selftests() {
	[[ ! -d $SELFTESTS ]] || return 0
	make_source
	local tmp=$CACHE/selftests/tmp.$$
	mkdir -p "$CACHE/selftests"
	# Other checkouts and kernels have theirs.
	find "$CACHE/selftests" -mindepth 1 -maxdepth 1 \( -name 'tmp.*' -o -mmin +1440 \) -exec rm -rf {} +
	mkdir -p "$tmp"
	quietly "compiling the kernel's selftests" in_root --bind "$SOURCE:/kernel:ro" --bind "$CHECKOUT:/src:ro" \
		--bind "$tmp:/stage" -- /parts/compile-selftests "$KERNEL_CC"
	mv "$tmp" "$SELFTESTS"
}
