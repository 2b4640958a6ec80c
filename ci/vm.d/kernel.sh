# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Kernels: headers installed in the root, images only unpacked (kernel/VERSION), names resolved through metapackages.

# ensure_kernel NAME [again]: `again` asks the archive even when a kernel is there; what is known stays valid meanwhile.
# Sets KERNEL_VERSION and KERNEL_DIR (vmlinux, lib/modules/KERNEL_VERSION) for a name of KERNEL_SUITE.
ensure_kernel() {
	local name=$1 again=${2-}
	[[ -z $again && -r $CACHE/kernel/$name ]] || locked root make_kernel "$name" "$again"
	KERNEL_VERSION=$(<"$CACHE/kernel/$name")
	KERNEL_DIR=$CACHE/kernel/$KERNEL_VERSION
	[[ -d $ROOT/usr/src/linux-headers-$KERNEL_VERSION && -d $KERNEL_DIR ]] ||
		die "the cache is damaged (no headers or no image of $KERNEL_VERSION): delete $CACHE"
}

# Caller holds the lock `root`: apt works in one root.
make_kernel() {
	local name=$1 again=$2 version
	[[ -n $again || ! -r $CACHE/kernel/$name ]] || return 0
	[[ -n $again ]] || say "fetching the $name kernel (once, about half a minute)"
	quietly "apt-get update in the root" in_root -- apt-get update
	version=$(in_root -- /parts/resolve-kernel "${KERNEL_SUITE[$name]}")
	[[ -n $version ]] || die "the archive names no kernel in ${KERNEL_SUITE[$name]}"
	quietly "installing the headers of $version" install_in_root "linux-headers-$version"
	[[ -d $CACHE/kernel/$version ]] || fetch_image "$version"
	# Last and by rename: this file is the sign that all of the above is there.
	printf '%s\n' "$version" >"$CACHE/kernel/$name.tmp"
	mv "$CACHE/kernel/$name.tmp" "$CACHE/kernel/$name"
}

fetch_image() {
	local version=$1 tmp=$CACHE/kernel/tmp.$$
	rm -rf "$CACHE"/kernel/tmp.*
	mkdir -p "$tmp"
	quietly "fetching the image of $version" in_root --bind "$tmp:/kernel" -- /parts/fetch-image "$version"
	# A kernel that cannot be unpacked here still boots, only later.
	in_root --bind "$tmp:/kernel" -- /parts/unpack-vmlinux || mv "$tmp/vmlinuz" "$tmp/vmlinux"
	mv "$tmp" "$CACHE/kernel/$version"
}

# The newest there is: style rules only grow.
ensure_checkpatch() { [[ -d $CACHE/checkpatch ]] || locked root make_checkpatch; }

# Caller holds the lock `root`.
make_checkpatch() {
	[[ ! -d $CACHE/checkpatch ]] || return 0
	say "fetching checkpatch (once, about half a minute)"
	local tmp=$CACHE/checkpatch.tmp.$$
	rm -rf "$CACHE"/checkpatch.tmp.*
	mkdir -p "$tmp"
	quietly "fetching checkpatch" in_root --bind "$tmp:/kernel" -- \
		/parts/fetch-checkpatch "${KERNEL_SUITE[$DEFAULT_KERNEL]}"
	mv "$tmp" "$CACHE/checkpatch"
}
