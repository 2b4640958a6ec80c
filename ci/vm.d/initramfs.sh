# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The guest's file system: cpio archives one after the other in one file, later ones over earlier ones. Tools and kernel
# modules are packed once per kernel; the module, the programs and the user's files once per run or per build.
# Nothing is compressed: a software CPU unpacks more slowly than this host copies.

# pack DIR: DIR as a cpio archive on stdout, all of it root's.
pack() {
	(cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio --quiet --null --create --format=newc --owner=+0:+0 --io-size=1048576)
}

# Sets BASE_CPIO.
ensure_base() {
	local key
	key=$(key_of "$KERNEL_VERSION" "$(<"$ROOT$MACHINE_SYSROOT/.dmawire-stamp")" "$MACHINE_GUEST" "${GUEST_COMMANDS[@]}" "${MACHINE_MODULES[@]}" \
		"${MACHINE_MODULES_AT_HAND[@]}" "$(fingerprint "$PARTS")")
	BASE_CPIO=$CACHE/initramfs/$key.cpio
	[[ -e $BASE_CPIO ]] || locked initramfs make_base
}

# Sets MODULE_CPIO, PROGRAM_CPIOS and TEST_MODULE_CPIO.
ensure_archives() {
	local program
	MODULE_CPIO=$MODULE_DIR.cpio PROGRAM_CPIOS=() TEST_MODULE_CPIO=
	once "$MODULE_CPIO.stamp" "$MODULE_KEY $BASE_CPIO" make_module_archive
	if [[ $TESTS == yes ]]; then
		TEST_MODULE_CPIO=$MODULE_DIR-tests.cpio
		once "$TEST_MODULE_CPIO.stamp" "$TEST_MODULES_KEY" make_test_module_archive
	fi
	for program in "${PROGRAMS[@]}"; do
		once "$PROGRAM_DIR-$program.cpio.stamp" "${PROGRAM_KEY[$program]}" make_program_archive "$PROGRAM_DIR-$program"
		PROGRAM_CPIOS+=("$PROGRAM_DIR-$program.cpio")
	done
}

make_base() {
	[[ ! -e $BASE_CPIO ]] || return 0
	say "packing the guest for $KERNEL_VERSION"
	local dir=$CACHE/initramfs/tmp.$$
	rm -rf "$CACHE"/initramfs/tmp.*
	mkdir -p "$dir"
	quietly "collecting the guest's tools" in_root --bind "$dir:/stage" -- \
		/parts/copy-tools /stage "$MACHINE_SYSROOT" "${GUEST_COMMANDS[@]}"
	machine_tools "$dir"
	quietly "collecting the guest's kernel modules" in_root --bind "$KERNEL_DIR:/kernel:ro" --bind "$dir:/stage" -- \
		/parts/copy-modules "$KERNEL_VERSION" "${MACHINE_MODULES[*]}" "${MACHINE_MODULES_AT_HAND[*]}"
	install -m 755 "$PARTS/init" "$dir/init"
	install -D -m 644 "$MACHINE_GUEST" "$dir/etc/dmawire/machine"
	pack "$dir" >"$BASE_CPIO.tmp"
	mv "$BASE_CPIO.tmp" "$BASE_CPIO"
	rm -rf "$dir"
	forget_old_bases
}

# Old ones may be in use by a run of this moment, which only needs them for a second: keep what is young.
forget_old_bases() {
	find "$CACHE/initramfs" -maxdepth 1 -name '*.cpio' ! -path "$BASE_CPIO" -mmin +1440 -delete
}

# The module and the rule for its nodes. depmod has to see our module beside the kernel's, so it works on the base's tree with ours added.
make_module_archive() {
	local dir=$MODULE_DIR.stage
	rm -rf "$dir"
	mkdir -p "$dir/usr/lib/modules/$KERNEL_VERSION/extra"
	(cd "$dir" && cpio --quiet --extract --make-directories "usr/lib/modules/*" <"$BASE_CPIO" 2>/dev/null)
	find "$MODULE_DIR/kmod" -name '*.ko' -exec cp -t "$dir/usr/lib/modules/$KERNEL_VERSION/extra" {} +
	ln -s usr/lib "$dir/lib"
	quietly "installing the udev rule" in_root --bind "$CHECKOUT:/src:ro" --bind "$dir:/stage" -- \
		make -s -C /src/kmod udev DESTDIR=/stage
	quietly depmod in_root --bind "$dir:/stage" -- depmod -b /stage "$KERNEL_VERSION"
	rm -rf "${dir:?}/usr/lib/modules/$KERNEL_VERSION/kernel" "${dir:?}/lib"
	pack "$dir" >"$MODULE_CPIO.tmp"
	mv "$MODULE_CPIO.tmp" "$MODULE_CPIO"
	rm -rf "$dir"
}

# They are loaded by their path, not by modprobe.
make_test_module_archive() {
	local dir=$MODULE_DIR-tests.stage
	rm -rf "$dir"
	mkdir -p "$dir/usr/lib/modules/$KERNEL_VERSION/extra"
	cp -t "$dir/usr/lib/modules/$KERNEL_VERSION/extra" "$MODULE_DIR"/tests/drivers/*.ko
	pack "$dir" >"$TEST_MODULE_CPIO.tmp"
	mv "$TEST_MODULE_CPIO.tmp" "$TEST_MODULE_CPIO"
	rm -rf "$dir"
}

# The same of what packages have installed in $INSTALLED, all in one, for this run.
pack_installed() {
	local dir=$RUN_DIR/installed
	MODULE_CPIO=$RUN_DIR/installed.cpio PROGRAM_CPIOS=() TEST_MODULE_CPIO=
	mkdir -p "$dir"
	(cd "$dir" && cpio --quiet --extract --make-directories "usr/lib/modules/*" <"$BASE_CPIO")
	quietly "taking what is installed in $INSTALLED" in_root --bind "$INSTALLED:/kernel:ro" --bind "$dir:/stage" -- \
		/parts/copy-installed "$KERNEL_VERSION"
	pack "$dir" >"$MODULE_CPIO"
	rm -rf "$dir"
}

make_program_archive() {
	pack "$1.stage" >"$1.cpio.tmp"
	mv "$1.cpio.tmp" "$1.cpio"
}

# Words as one line that a shell reads back as the same words.
quoted() {
	local word
	for word; do
		printf "'%s' " "${word//\'/\'\\\'\'}"
	done
}

# split_added FILE[:PATH]: sets FROM and TO.
split_added() {
	FROM=$1 TO=
	if [[ ! -e $FROM && $FROM == *:* ]]; then
		TO=${FROM##*:} FROM=${FROM%:*}
	fi
	[[ -r $FROM ]] || usage_error "--add $1: no such file or directory"
	TO=${TO:-$(basename "$(realpath -s "$FROM")")}
}

# run_archive DIR MODE COMMAND...: this run's own part, laid out in DIR: what to do, and what was --add'ed.
run_archive() {
	local dir=$1 mode=$2 entry
	shift 2
	mkdir -p "$dir/etc/dmawire"
	{
		printf 'mode=%s\nmtu=%s\nmodules="%s"\n' "$mode" "$MTU" "${MACHINE_MODULES[*]}"
		[[ -z $COVERAGE ]] || echo 'counts=/run/coverage'
		[[ $mode != shell ]] || printf 'TERM=%s\nsize="%s"\n' "$(quoted "${TERM:-linux}")" "$(stty size 2>/dev/null || true)"
	} >"$dir/etc/dmawire/settings"
	(($# == 0)) || quoted "$@" >"$dir/etc/dmawire/command"
	# Whoever measures in there says what a second is.
	[[ $ICOUNT == no ]] || echo instructions >"$dir/etc/dmawire/clock"
	for entry in "${ADD[@]}"; do
		split_added "$entry"
		mkdir -p "$(dirname "$dir/$TO")"
		cp -aH --no-target-directory "$FROM" "$dir/$TO"
	done
	pack "$dir"
}
