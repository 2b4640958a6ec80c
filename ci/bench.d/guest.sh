# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Figures from the guest, whose clock counts instructions: one CPU, no caches, a byte copied by `rep movs` as dear as the
# emulator makes it. They compare the lengths of paths through the kernel, and repeat.

# Without the IOMMU, whose share in the cards' work is none of the paths'.
GUEST=(ci/vm --icount --memory 3G --timeout 1500 --append intel_iommu=off)
readonly EMULATED="In the guest, whose clock counts instructions (2 ns each, one CPU): path lengths that repeat within 1 %, not \
speeds of any machine. CPU is the busy time of the whole guest; \`thread\` is that of the sending thread alone."

figure_guest-udp() {
	publish guest-udp "UDP into a blackhole, one frame a send" \
		"$EMULATED Frames of cold data from dmawire's buffers into a dummy device with an MTU of 65535, 32 in flight." \
		"${GUEST[@]}" run -- uring_app bench 198.51.100.2:9 --netns src --proto udp --tx direct,fixed,plain,copy \
		--layout pages,folios --size 4K,16K,65000 --gather 1 --depth 32 --total 64M --repeats 3 --json
}

figure_guest-gso() {
	publish guest-gso "UDP datagrams of 1472 bytes, gathered (GSO)" \
		"$EMULATED Neighbouring frames go out as one request with one notification, cut into datagrams by the kernel." \
		"${GUEST[@]}" run -- uring_app bench 198.51.100.2:9 --netns src --proto udp --tx direct,fixed,copy \
		--size 1472 --gather 1,16,44,64 --depth 256 --batch 64 --total 64M --repeats 3 --json
}

figure_guest-tcp() {
	publish guest-tcp "TCP between two e1000e" \
		"$EMULATED Both hosts are this guest, so the receiver's share is in the busy time and shown apart." \
		"${GUEST[@]}" run -- uring_app bench --netns src,dst --tx direct,fixed,copy --verify \
		--size 4K,64K,256K --gather 1,64 --depth 256 --batch 64 --total 32M --warm-up 0 --repeats 2 --json
}

figure_guest-batch() {
	publish guest-batch "UDP into a blackhole, batches of 1 to 512" \
		"$EMULATED How many frames are started together, with 64 in flight at most." \
		"${GUEST[@]}" run -- uring_app bench 198.51.100.2:9 --netns src --proto udp --tx direct,fixed \
		--size 4K --gather 1 --depth 64 --batch 1,2,4,8,16,32,64,128,256,512 --total 64M --repeats 2 --json
}

figure_guest-slots() {
	publish guest-slots "UDP into a blackhole, by the number of slots in use" \
		"$EMULATED Each frame is in a buffer, and a slot of the ring's table, of its own." \
		"${GUEST[@]}" run -- prlimit --nofile=32768 uring_app bench 198.51.100.2:9 --netns src --proto udp --tx direct,fixed \
		--size 4K --gather 1 --depth 32 --offset 0 --buffers 64,1024,16384 --total 128M --repeats 2 --json
}

figure_guest-offset() {
	publish guest-offset "UDP into a blackhole, by where in its buffer a frame begins" \
		"$EMULATED Each frame is in a buffer of its own, so far from its beginning." \
		"${GUEST[@]}" run -- uring_app bench 198.51.100.2:9 --netns src --proto udp --tx direct,fixed --layout pages,folios \
		--size 4K --gather 1 --depth 32 --offset 0,60K,100000,512K,960K --buffers 64 --total 64M --repeats 2 --json
}

# The module compiled with other lengths of the pieces that a dma-buf is cut into; what a row calls its layout is that length.
figure_guest-cut() {
	local cut rows=()
	for cut in 4K 16K 64K 256K 1M; do
		"${GUEST[@]}" --module-cflags "-DDMAWIRE_URING_PIECE_SIZE=$(numfmt --from=iec "$cut")" run -- sh -ec '
			uring_app bench 198.51.100.2:9 --netns src --proto udp --tx direct --size 4K,65000 --gather 1 --depth 32 \
				--total 64M --repeats 2 --json >/tmp/udp
			uring_app bench --netns src,dst --tx direct --size 4K,64K --gather 64 --depth 256 --batch 64 \
				--total 32M --warm-up 0 --repeats 2 --json >/tmp/tcp
			uring_app bench --from /tmp/udp,/tmp/tcp --json' >"$DIR/cut-$cut.json" || return
		sed -i "s/\"layout\":\"pages\"/\"layout\":\"cut $cut\"/" "$DIR/cut-$cut.json"
		rows+=("$DIR/cut-$cut.json")
	done
	"$URING_APP" bench --from "$(IFS=, && echo "${rows[*]}")" --json >"$DIR/guest-cut.json" || return
	present guest-cut "How a dma-buf is cut into pieces" \
		"$EMULATED UDP goes into a blackhole, one frame a send; TCP between two e1000e, gathered. \
Buffers are of 1 MiB, of memory that was free in large blocks. Look at \`thread\`: a run of 65,000 B is short enough for the \
end of the ring before it to be seen in the busy time." \
		"    ci/bench guest-cut"
}

# profile_of NAME COMMAND: $DIR/NAME.profile has a line "FUNCTION INSTRUCTIONS" a frame, for what the guest's shell does as
# COMMAND with $FRAMES. What is not done for each frame goes away when a short run is taken from a long one.
profile_of() {
	local name=$1 command=$2 short=2048 long=10240 frames
	for frames in $short $long; do
		"${GUEST[@]}" --profile "$DIR/addresses-$frames" run -- sh -ec "
			FRAMES=$frames
			{ $command; } >&2
			cat /proc/kallsyms" >"$DIR/symbols" 2>"$DIR/log" || {
			cat "$DIR/log" >&2
			return 1
		}
	done
	# Symbols and counts by address; a count belongs to the symbol before it.
	{
		awk '$2 ~ /[tTwW]/ && $3 !~ /^__pfx_/ { print $1, 0, ($4 == "[dmawire]" ? "dmawire:" : "") $3 }' "$DIR/symbols"
		awk '{ print $1, 1, -$2 }' "$DIR/addresses-$short"
		awk '{ print $1, 1, $2 }' "$DIR/addresses-$long"
	} | LC_ALL=C sort -k1,1 -k2,2n | awk -v frames=$((long - short)) '
		$2 == 0 { name = $3; next }
		{ sum[$1 ~ /^ffffffff/ ? name : "user_space"] += $3 }
		END { for (name in sum) print name, sum[name] / frames }' >"$DIR/$name.profile"
}

# functions_table A B: of two profiles, those with at least 15 instructions.
functions_table() {
	local a=$1 b=$2
	printf '| function | %s | %s |\n|---|---|---|\n' "$a" "$b"
	awk 'NR == FNR { a[$1] = $2; next } { b[$1] = $2 }
		END {
			for (name in a) all[name]
			for (name in b) all[name]
			for (name in all)
				if (a[name] < 15 && b[name] < 15) { few_a += a[name]; few_b += b[name] }
				else { printf "| %s | %.0f | %.0f |\n", name, a[name], b[name]; A += a[name]; B += b[name] }
			printf "| (others) | %.0f | %.0f |\n| **together** | %.0f | %.0f |\n", few_a, few_b, A + few_a, B + few_b
		}' "$DIR/$a.profile" "$DIR/$b.profile" | LC_ALL=C sort -t'|' -k4,4nr
}

figure_guest-instructions() {
	local path
	for path in fixed direct; do
		profile_of $path "uring_app bench 198.51.100.2:9 --netns src --proto udp --tx $path --size 4096 --gather 1 \
			--depth 32 --layout folios --total \$((FRAMES * 4096)) --repeats 1 --warm-up 0" || return
	done
	{
		printf '# %s\n\n%s\n\n' "Where the instructions of a send go" "A datagram of 4 KiB by \`fixed\` and by \`direct\`, both on \
64 KiB folios, into a blackhole, one frame a send: instructions a frame, by function of the kernel, those of less than 15 \
together. \`user_space\` is the sender and the benchmark's loop."
		functions_table fixed direct
		printf '\nAgain:\n\n    ci/bench guest-instructions\n'
	} >"$DIR/guest-instructions.md"
	mv "$DIR/guest-instructions.md" "$OUT"
}

# What pattern does that a device would do by itself.
readonly MAKING='^(dmawire:(fill|run|next_transfer)|xxh64.*)$'

figure_guest-capture() {
	local wire
	# The same frames from the same memory, over the same wire: with a device and without.
	local udp="--tx direct --size 64960 --depth 64" tcp="--tx direct --size 64K --depth 64"
	profile_of udp-sent "uring_app bench 198.51.100.2:9 --netns src --proto udp $udp --layout folios --gather 1 --buffers 256 \
		--total \$((FRAMES * 64960)) --repeats 1 --warm-up 0" || return
	profile_of udp-captured "echo N >/sys/module/dmawire/parameters/pattern_payload
		ip netns exec src uring_app send 198.51.100.2:9 --udp --device 0 $udp --frames \$FRAMES" || return
	profile_of tcp-sent "uring_app bench --netns src,dst $tcp --layout folios --buffers 256 --total \$((FRAMES * 65536)) \
		--repeats 1 --warm-up 0" || return
	profile_of tcp-captured "echo N >/sys/module/dmawire/parameters/pattern_payload
		ip netns exec dst uring_app recv 9 & sleep 1
		ip netns exec src uring_app send 192.0.2.2:9 --device 0 $tcp --frames \$FRAMES && wait" || return
	{
		printf '# %s\n\n%s\n\n' "What capturing adds to sending" "Frames of 64 KiB by \`direct\`: the whole guest's instructions a \
frame, when \`pattern\` captures them and when they are sent from the same kind of memory without a device. What \`pattern\` \
does to make a frame is taken off: it writes and sums up the header only (\`pattern_payload=N\`). The wakings of its thread \
are in. UDP goes into a blackhole, so that hardly anything but the sender is left; TCP goes between two e1000e, and the receiver \
is in it."
		printf '| wire | sent | captured and sent | making the frame | ratio without that |\n|---|---|---|---|---|\n'
		for wire in udp tcp; do
			awk -v wire=$wire -v making="$MAKING" 'NR == FNR { sent += $2; next }
				{ captured += $2; if ($1 ~ making) made += $2 }
				END { printf "| %s | %.0f | %.0f | %.0f | %.3f |\n", wire, sent, captured, made, (captured - made) / sent }' \
				"$DIR/$wire-sent.profile" "$DIR/$wire-captured.profile"
		done
		printf '\n%s\n\n' "By function of the kernel, UDP, those of less than 15 together; \`dmawire:\` are those of the module."
		functions_table udp-sent udp-captured
		printf '\nAgain:\n\n    ci/bench guest-capture\n'
	} >"$DIR/guest-capture.md"
	mv "$DIR/guest-capture.md" "$OUT"
}

figure_guest-setup() {
	publish guest-setup "From nothing to the first send" \
		"In the guest, whose clock counts instructions. \`make\` allocates the memory, \`register\` is all that is left to do \
before a send: for \`direct\` nothing is mapped, for \`fixed\` everything is mapped and pinned (a memfd is allocated only \
then). Buffers of 1 MiB. \`locked\` is what counts against the limit of locked memory, for a program that has no CAP_IPC_LOCK." \
		"${GUEST[@]}" run -- prlimit --memlock=4294967296 setpriv --bounding-set=-ipc_lock --inh-caps=-all \
		uring_app bench --setup --source dmawire,memfd --layout pages,folios \
		--tx direct,fixed --size 64M,1G --repeats 2 --json
}

# liburing's own example, as Debian 13 has it: $DIR/send-zerocopy.
build_example() {
	local source=/usr/share/doc/liburing-dev/examples/send-zerocopy.c
	# shellcheck disable=SC2016  # the root's shell expands
	ci/vm root -- sh -ec 'cc -O2 -D_GNU_SOURCE -static -o /tmp/out "$1" -luring && cat /tmp/out' sh "$source" \
		>"$DIR/send-zerocopy" && chmod 755 "$DIR/send-zerocopy"
}

# Other people's programs, in the same guest on the same devices: rows of their own beside ours.
peers() {
	local protocol=$1
	build_example || return
	"${GUEST[@]}" --add "$PARTS/peers:/peers" --add "$DIR/send-zerocopy:/usr/bin/send-zerocopy" \
		run -- sh /peers "$protocol" >"$DIR/guest-peers-$protocol.json" || return
}

figure_guest-peers-udp() {
	peers udp || return
	present guest-peers-udp "UDP into a blackhole: liburing's own example beside uring_app" \
		"$EMULATED \`send-zerocopy\` is the example of Debian 13's liburing; its buffers are registered (fixed)." \
		"    ci/bench guest-peers-udp"
}

figure_guest-peers-tcp() {
	peers tcp || return
	present guest-peers-tcp "TCP between two e1000e: iperf3 and liburing's example beside uring_app" \
		"$EMULATED Both ends are in this guest. iperf3 -Z is sendfile(2); \`send-zerocopy\` is the example of Debian 13's \
liburing. Their receiver is iperf3's or \`uring_app recv\`, whose cost is in the busy time." \
		"    ci/bench guest-peers-tcp"
}
