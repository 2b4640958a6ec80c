# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of uring_app in bash. It takes commands and options from the help of the program on the command line, so it is never out of date.

_uring_app() {
	local line=${COMP_LINE:0:COMP_POINT} command='' before current word help kind='' candidates=''
	local -a words
	# By spaces: bash itself would break words at each colon and equals sign too.
	read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=('')
	current=${words[-1]} before=${words[-2]}
	for word in "${words[@]:1:${#words[@]}-2}"; do
		if [[ $word != -* ]]; then
			command=$word
			break
		fi
	done
	if [[ $current == --*=* ]]; then
		before=${current%%=*} current=${current#*=}
	fi
	help=$("$1" ${command:+"$command"} --help 2>/dev/null) || return

	# Where an option takes a value, a word for it follows after one space.
	if [[ $before == --* && $help =~ $'\n'"  $before "([^[:space:]]+) ]]; then
		kind=${BASH_REMATCH[1]}
	fi
	case $kind in
	'' | Excludes: | Needs:)
		candidates=$(
			sed -nE 's/^  (-[^ ]+).*/\1/p' <<<"$help" | tr ',' '\n'
			sed -n '/^Subcommands:/,/^$/s/^  \([^ ]*\) .*/\1/p' <<<"$help"
		)
		;;
	':{'*)
		candidates=${kind#:\{}
		candidates=${candidates%%\}*}
		candidates=${candidates//,/ }
		;;
	N) candidates=$(printf '%s\n' /dev/dmawire[0-9]* | sed -n 's,^/dev/dmawire\([0-9]*\)$,\1,p') ;;
	FILE* | SOCKET*)
		compopt -o filenames 2>/dev/null # not by a test, which completes by calling this function
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$current")
	# The text up to the last colon or equals sign is not replaced.
	COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[:=]}"}"}")
}

complete -F _uring_app uring_app
