# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The module and the guest's programs, built inside the root. Build directories are the cache's, one per checkout.

# What changes when a file below the named places does. Sizes and times, as make would look at them.
fingerprint() {
	find "$@" -type d \( -name .git -o -name 'build*' \) -prune -o \( -type f -o -type l \) -printf '%p %s %T@\n' |
		LC_ALL=C sort | sha256sum | cut -c1-16
}

# What makes a compiler's program count which of its lines run, threads or not.
readonly COVERAGE_FLAGS="--coverage -fprofile-update=atomic"

# Sets BUILD (this checkout's place in the cache), MODULE_DIR, PROGRAM_DIR, and PROGRAMS: those of ours that the guest gets; and of
# what state of the sources they are: MODULE_KEY, TEST_MODULES_KEY, and of each program in PROGRAM_KEY.
ensure_builds() {
	local program
	[[ -e $CHECKOUT/kmod/Makefile ]] || die "$CHECKOUT has no kmod/Makefile"
	[[ -e $CHECKOUT/CMakeLists.txt ]] || die "$CHECKOUT has no CMakeLists.txt"
	BUILD=$CACHE/build/$(key_of "$CHECKOUT")
	[[ -z $COVERAGE ]] || MODULE_CFLAGS+=" -fprofile-prefix-map=/build/kmod=/src/kmod"
	MODULE_DIR=$BUILD/kmod-$KERNEL_VERSION${MODULE_CFLAGS:+-$(key_of "$MODULE_CFLAGS")}
	PROGRAM_DIR=$BUILD/programs${MACHINE_SYSROOT:+-$MACHINE_ARCH}${COVERAGE:+-coverage}
	PROGRAMS=(uring_app)
	[[ $TESTS == no ]] || PROGRAMS+=(dmawire_vm_test dmawire_abi_fuzz)
	mkdir -p "$BUILD"
	printf '%s\n' "$CHECKOUT" >"$BUILD/checkout"
	build_module
	[[ $TESTS == no ]] || build_test_modules
	for program in "${PROGRAMS[@]}"; do
		build_program "$program"
	done
}

# once STAMP KEY COMMAND...: COMMAND, unless it was done for this KEY. One process at a time builds in a checkout's place, and who
# finds all of it done waits for nobody.
once() {
	is_done "$1" "$2" || locked "build-$(basename "$BUILD")" do_once "$@"
}

# Whoever builds takes the stamp away first, which may be at any moment.
is_done() { [[ $(cat "$1" 2>/dev/null) == "$2" ]]; }

do_once() {
	local stamp=$1 key=$2
	shift 2
	# The one who had the lock before us may have done it.
	! is_done "$stamp" "$key" || return 0
	rm -f "$stamp"
	"$@"
	printf '%s\n' "$key" >"$stamp"
}

build_module() {
	MODULE_KEY=$(key_of "$KERNEL_VERSION" "$(fingerprint "$CHECKOUT/kmod" "$CHECKOUT/include")")
	once "$MODULE_DIR.stamp" "$MODULE_KEY" compile_module
}

compile_module() {
	mkdir -p "$MODULE_DIR"
	quietly "building the module for $KERNEL_VERSION" in_root --bind "$CHECKOUT:/src:ro" --bind "$MODULE_DIR:/build" -- \
		/parts/compile-module "$KERNEL_VERSION" "$MODULE_CFLAGS"
	find "$MODULE_DIR/kmod" -name dmawire.ko | grep -q . || die "make -C kmod made no dmawire.ko"
}

# Those in tests/drivers; docs has the source of one of them.
build_test_modules() {
	TEST_MODULES_KEY=$(key_of "$MODULE_KEY" "$(fingerprint "$CHECKOUT/tests/drivers" "$CHECKOUT/docs")")
	once "$MODULE_DIR-tests.stamp" "$TEST_MODULES_KEY" compile_test_modules
}

compile_test_modules() {
	quietly "building the modules for tests" in_root --bind "$CHECKOUT:/src:ro" --bind "$MODULE_DIR:/build" -- \
		/parts/compile-test-modules "$KERNEL_VERSION"
}

declare -A PROGRAM_KEY=()

build_program() {
	local -a places=()
	mapfile -t places < <(find "$CHECKOUT" -mindepth 1 -maxdepth 1 \
		! -name .git ! -name kmod ! -name ci ! -name docs ! -name '*.md' ! -name 'build*' | LC_ALL=C sort)
	PROGRAM_KEY[$1]=$(key_of "$(<"$ROOT$MACHINE_SYSROOT/.dmawire-stamp")" "$(fingerprint "${places[@]}")")
	once "$PROGRAM_DIR-$1.stamp" "${PROGRAM_KEY[$1]}" compile_program "$1"
}

compile_program() {
	local program=$1 stage=$PROGRAM_DIR-$1.stage
	say "building $program"
	rm -rf "$stage"
	mkdir -p "$PROGRAM_DIR" "$stage"
	quietly "building $program" in_root --bind "$CHECKOUT:/src:ro" --bind "$PROGRAM_DIR:/build" \
		--bind "$stage:/stage" -- /parts/compile-program "$program" "${COVERAGE:+$COVERAGE_FLAGS}" "$MACHINE_SYSROOT" \
		"${MACHINE_CMAKE[@]}"
}
