# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034  # read by the other parts
#
# Words to the user, locks, logs: what every other part uses.

# The status that says "the harness, not your command": the guest's kernel warned, hung, never answered, or nothing could
# be built.
readonly HARNESS_FAILED=125

# The status that says "not done, since it would take too long now": ctest's for a skipped test.
readonly NOT_BUILT=77

say() { printf 'ci/%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
	say "$@"
	exit "$HARNESS_FAILED"
}

usage_error() {
	say "$* (see ci/vm --help)"
	exit 2
}

# The process group that `locked` waits for; clean_up ends it.
LOCKED=

# locked NAME COMMAND...: one process at a time does COMMAND, over all runs that share the cache.
# In a process group of its own and waited for in the background: so a signal is heard at once, and takes all of it along.
locked() {
	local name=$1 status=0
	shift
	mkdir -p "$CACHE/lock"
	set -m
	(
		set +m
		trap - EXIT
		# A short wait is not worth a word.
		if ! flock --timeout 2 9; then
			say "waiting for another run ($name)"
			flock 9
		fi
		"$@"
	) 9>"$CACHE/lock/$name" </dev/null &
	LOCKED=$!
	set +m
	wait "$LOCKED" || status=$?
	LOCKED=
	((status == 0)) || exit "$status"
}

# quietly LABEL COMMAND...: no output when COMMAND succeeds, all of it when it fails.
# `set -e` does not reach into COMMAND here, so it must be a program or a function that chains with && or calls die.
quietly() {
	local label=$1 log status=0
	shift
	log=$(mktemp "$RUN_DIR/log.XXXXXX")
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if ((status)); then
		cat "$log" >&2
		die "$label failed with status $status; its output stands above"
	fi
	rm -f "$log"
}

# A key that changes when any of the words does.
key_of() { printf '%s\n' "$@" | sha256sum | cut -c1-16; }
