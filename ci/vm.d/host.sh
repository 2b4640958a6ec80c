# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The machine we run on: root rights, packages it lacks, the mirror it uses.

# The cache belongs to the person, also when sudo made us root.
default_cache() {
	local home=$HOME
	if [[ -n ${SUDO_USER-} && $EUID -eq 0 ]]; then
		home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
	fi
	printf '%s/.cache/dmawire\n' "$home"
}

# debootstrap, chroot and mounts need root. SCRIPT is run again under sudo with the same words.
become_root() {
	local script=$1
	shift
	((EUID != 0)) || return 0
	command -v sudo >/dev/null || die "needs root (debootstrap, chroot): run it as root or install sudo"
	say "not root: going through sudo"
	local -a sudo=(sudo)
	# Without a terminal nobody can type a password: fail at once instead of waiting for one.
	[[ -t 0 || -t 2 ]] || sudo+=(--non-interactive)
	exec "${sudo[@]}" env DMAWIRE_CACHE="$CACHE" ${DMAWIRE_MIRROR:+DMAWIRE_MIRROR="$DMAWIRE_MIRROR"} \
		${TMPDIR:+TMPDIR="$TMPDIR"} TERM="${TERM:-dumb}" "$script" "$@"
}

# install_host_packages COMMAND...: whatever brings those of them that are not there.
install_host_packages() {
	local command
	local -A missing=()
	for command; do
		command -v "$command" >/dev/null || missing[${HOST_COMMANDS[$command]}]=1
	done
	((${#missing[@]})) || return 0
	command -v apt-get >/dev/null || die "this host has no apt-get; install: ${!missing[*]}"
	# flock itself may be missing here, so no lock of ours: apt has its own and waits for it.
	say "installing on this host: ${!missing[*]}"
	mkdir -p "$CACHE"
	quietly "installing host packages" apt_get_host "${!missing[@]}"
}

apt_get_host() {
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o DPkg::Lock::Timeout=600 update &&
		apt-get -o DPkg::Lock::Timeout=600 install --yes --no-install-recommends "$@"
}

# The Debian mirror this machine already uses; empty when it has none (debootstrap then knows one).
host_mirror() {
	if [[ -n ${DMAWIRE_MIRROR-} ]]; then
		printf '%s\n' "$DMAWIRE_MIRROR"
	elif command -v apt-get >/dev/null; then
		# Two archives of the same origin exist; the one with security updates only has no base system.
		apt-get indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(CODENAME)|\$(REPO_URI)" \
			'Identifier: Packages' 2>/dev/null |
			awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 !~ /-/ { print $4; exit }' || true
	fi
}
