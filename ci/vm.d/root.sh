# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The Debian 13 root in the cache: it compiles everything, and the guest's tools are taken from it.

# in_root [--bind FROM:TO[:ro]]... -- COMMAND...
# Mounts live in a namespace of their own and processes in another, so whatever happens nothing is left behind.
in_root() {
	local -a binds=()
	while [[ $1 != -- ]]; do
		binds+=("$2")
		shift 2
	done
	shift
	unshare --mount --pid --fork --kill-child --propagation private \
		bash "$PARTS/enter-root" "$ROOT" "${#binds[@]}" "${binds[@]}" "$@"
}

ensure_root() {
	ROOT=$CACHE/root
	local want
	want=$(key_of "$SUITE" "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}")
	[[ -r $ROOT/.dmawire-stamp && $(<"$ROOT/.dmawire-stamp") == "$want" ]] || locked root make_root "$want"
}

make_root() {
	local want=$1
	# The one who had the lock before us may have done it.
	[[ ! -r $ROOT/.dmawire-stamp || $(<"$ROOT/.dmawire-stamp") != "$want" ]] || return 0
	if [[ ! -d $ROOT ]]; then
		say "making the Debian 13 root in $CACHE (once, about a minute)"
		bootstrap_root "$ROOT"
	fi
	say "installing packages in the Debian 13 root (once, about a minute)"
	# Also mends a root whose installation was interrupted.
	quietly "installing packages in the Debian 13 root" install_in_root "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}"
	printf '%s\n' "$want" >"$ROOT/.dmawire-stamp"
}

# bootstrap_root DIR: Debian 13 and no more.
bootstrap_root() {
	local root=$1 tmp=$1.tmp.$$ mirror
	rm -rf "$root".tmp.*
	mirror=$(host_mirror)
	mkdir -p "$CACHE/debs"
	quietly debootstrap unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
		debootstrap --variant=minbase --cache-dir="$CACHE/debs" --include=ca-certificates \
		"$SUITE" "$tmp" ${mirror:+"$mirror"}
	add_backports "$tmp"
	mkdir -p "$tmp"/{src,build,stage,kernel,parts}
	mv "$tmp" "$root"
}

# The same mirror that served the base system.
add_backports() {
	local root=$1 uri
	uri=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
	printf 'deb %s %s main\n' "$uri" "$SUITE" "$uri" "$SUITE-backports" >"$root/etc/apt/sources.list"
	cat >"$root/etc/apt/apt.conf.d/90dmawire" <<-'END'
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Dpkg::Use-Pty "false";
	END
	cat >"$root/etc/dpkg/dpkg.cfg.d/90dmawire" <<-'END'
		force-unsafe-io
		path-exclude=/usr/share/man/*
		path-exclude=/usr/share/locale/*
	END
	# No service may start because its package is unpacked here.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	# A host behind a proxy has told its own apt about it.
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
}

# Caller holds the lock `root`.
install_in_root() { fetching_in_root /parts/install-packages "$@"; }

# fetching_in_root COMMAND...: what apt fetches stays until COMMAND succeeds, for the next try. Caller holds the lock `root`.
fetching_in_root() {
	mkdir -p "$CACHE/debs" &&
		in_root --bind "$CACHE/debs:/var/cache/apt/archives" -- "$@" &&
		rm -rf "$CACHE/debs"
}

# Fills $ROOT$MACHINE_SYSROOT for a machine of another architecture than the root's: libraries to link with, the guest's
# tools. With the compiler and the emulator, which are the root's.
ensure_sysroot() {
	local want
	want=$(key_of "$(<"$ROOT/.dmawire-stamp")" "${MACHINE_PACKAGES[@]}" "${LIBRARY_PACKAGES[@]}" "${BASE_PACKAGES[@]}" \
		"${GUEST_PACKAGES[@]}")
	[[ $(cat "$ROOT$MACHINE_SYSROOT/.dmawire-stamp" 2>/dev/null) == "$want" ]] || locked root make_sysroot "$want"
}

make_sysroot() {
	local want=$1
	[[ $(cat "$ROOT$MACHINE_SYSROOT/.dmawire-stamp" 2>/dev/null) != "$want" ]] || return 0
	say "installing what machine $MACHINE needs in the Debian 13 root (once, about a minute)"
	quietly "installing ${MACHINE_PACKAGES[*]}" install_in_root "${MACHINE_PACKAGES[@]}"
	rm -rf "${ROOT:?}${MACHINE_SYSROOT:?}"
	quietly "unpacking packages of $MACHINE_ARCH" in_root -- /parts/apt-for "$MACHINE_ARCH" \
		/parts/unpack-packages "$MACHINE_SYSROOT" "${LIBRARY_PACKAGES[@]}" "${BASE_PACKAGES[@]}" "${GUEST_PACKAGES[@]}"
	printf '%s\n' "$want" >"$ROOT$MACHINE_SYSROOT/.dmawire-stamp"
}

# run_in_root COMMAND...: for other scripts of this repository (lint); ends with COMMAND's status.
run_in_root() {
	local status=0
	in_root --bind "$CHECKOUT:/src:ro" -- env --chdir=/src KDIR="/usr/src/linux-headers-$KERNEL_VERSION" "$@" || status=$?
	exit "$status"
}

# run_checkpatch WORD...: the same for the kernel's style checker, with the checkout as its directory.
run_checkpatch() {
	local status=0
	ensure_checkpatch
	in_root --bind "$CHECKOUT:/src:ro" --bind "$CACHE/checkpatch:/kernel:ro" -- env --chdir=/src \
		/kernel/checkpatch.pl "$@" || status=$?
	exit "$status"
}

# run_gcovr WORD...: the same for the reporter of coverage. gcov writes beside the sources, so these are copies.
run_gcovr() {
	local status=0 copy=$RUN_DIR/checkout
	[[ -x $ROOT/usr/bin/gcovr ]] ||
		locked root quietly "installing ${COVERAGE_PACKAGES[*]}" install_in_root "${COVERAGE_PACKAGES[@]}"
	mkdir -p "$copy/build"
	cp -a "$CHECKOUT"/{kmod,include,uring_app,tests} "$copy"
	cp -a "$CHECKOUT/build/coverage" "$copy/build"
	in_root --bind "$copy:/src" -- env --chdir=/src gcovr --root /src --gcov-executable "${KERNEL_CC/gcc/gcov}" "$@" ||
		status=$?
	exit "$status"
}
