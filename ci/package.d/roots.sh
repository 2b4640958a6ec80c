# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # ROOT is for in_root
#
# Debian 13 roots for packages, in the cache beside the one that compiles for guests. `base` is what debootstrap makes; the
# others are copies of it with more installed: `build` with what debian/control asks for, `machine` with what somebody has
# who is about to install our packages.

# in_package_root DIR [--bind FROM:TO[:ro]]... -- COMMAND...: what apt fetches stays in the cache, so who calls apt holds
# the lock `packages`.
in_package_root() {
	local ROOT=$1
	shift
	mkdir -p "$CACHE/packages/debs/partial"
	in_root --bind "$CHECKOUT/ci/package.d/inside:/src:ro" --bind "$CACHE/packages/debs:/var/cache/apt/archives" "$@"
}

# with_package_root "NAME WORD..." COMMAND...: COMMAND, with $PACKAGE_ROOT a copy of base in which /src/prepare-NAME WORD...
# has been done. One at a time, since another run may want other words.
with_package_root() {
	[[ -d $CACHE/packages/base ]] || locked root make_package_base
	locked packages use_package_root "$@"
}

# Caller holds the lock `root`, as all who use $CACHE/debs do.
make_package_base() {
	[[ ! -d $CACHE/packages/base ]] || return 0
	say "making a Debian 13 root for packages in $CACHE (once, about a minute)"
	bootstrap_root "$CACHE/packages/base"
	rm -rf "$CACHE/debs"
}

use_package_root() {
	local -a words
	local want
	read -ra words <<<"$1"
	shift
	PACKAGE_ROOT=$CACHE/packages/${words[0]}
	want=$(key_of "$SUITE" "${words[@]}" "$(<"$CHECKOUT/ci/package.d/inside/prepare-${words[0]}")" \
		"$(<"$CHECKOUT/ci/package.d/debian/control")")
	[[ $(cat "$PACKAGE_ROOT/.dmawire-stamp" 2>/dev/null) == "$want" ]] || make_package_root "$want" "${words[@]}"
	"$@"
}

make_package_root() {
	local want=$1 name=$2 dir=$PACKAGE_ROOT.tmp
	shift 2
	say "making the root $name for packages (once, about a minute)"
	rm -rf "$PACKAGE_ROOT" "$dir"
	cp -a "$CACHE/packages/base" "$dir"
	quietly "making the root $name" in_package_root "$dir" --bind "$CHECKOUT/ci/package.d/debian:/build:ro" -- \
		"/src/prepare-$name" "$@"
	printf '%s\n' "$want" >"$dir/.dmawire-stamp"
	mv "$dir" "$PACKAGE_ROOT"
}
