# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# From a command that prints rows to what is shown of them.

# as_typed WORD...: a command as one would type it, in lines that break before options.
as_typed() {
	local word line='   '
	for word; do
		[[ $word =~ ^[][A-Za-z0-9_.,:/=+-]+$ ]] || word="'$word'"
		if ((${#line} + ${#word} > 108)); then
			printf '%s \\\n' "$line"
			line='       '
		fi
		line+=" $word"
	done
	printf '%s\n' "$line"
}

# publish NAME TITLE WORDS COMMAND...: COMMAND prints rows; they are kept, drawn, and put on a page with WORDS above.
publish() {
	local name=$1 title=$2 words=$3
	shift 3
	"$@" >"$DIR/$name.json" || return
	present "$name" "$title" "$words" "$(as_typed "$@")"
}

# present NAME TITLE WORDS COMMANDS: the same for rows that are in $DIR/NAME.json already.
present() {
	local name=$1 title=$2 words=$3 commands=$4 show=() chart=
	if grep -q '"register_seconds"' "$DIR/$name.json"; then
		show=(--setup)
	else
		chart=$DIR/$name.svg
		show=(--plot "$chart")
	fi
	"$URING_APP" bench --from "$DIR/$name.json" "${show[@]}" >"$DIR/$name.txt" || return
	{
		printf '# %s\n\n%s\n\n' "$title" "$words"
		[[ -z $chart ]] || printf '![%s](%s.svg)\n\n' "$title" "$name"
		sed 's/^\(.\)/    \1/' "$DIR/$name.txt"
		printf '\nRows: [%s.json](%s.json). Again:\n\n%s\n' "$name" "$name" "$commands"
	} >"$DIR/$name.md"
	cat "$DIR/$name.txt"
	mv "$DIR/$name".{json,md} "$OUT"
	[[ -z $chart ]] || mv "$chart" "$OUT"
}
