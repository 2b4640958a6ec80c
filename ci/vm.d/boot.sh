# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# One guest from start to verdict. Its streams are files that qemu writes and `tail` follows: a file never says "later",
# so nothing is lost when the guest goes, however slowly our reader reads.

# A guest that has not come up by then will not.
readonly BOOT_SECONDS=300
# From the verdict to the end of qemu.
readonly POWER_OFF_SECONDS=20

RUN_DIR=
# Where the guest's streams arrive; nothing else is in there.
STREAMS=
TERMINAL=
# qemu and those who read after it: what must not outlive us.
CHILDREN=()

# Sets QEMU: the root's, with the root's libraries, so that every host emulates the same machine. Before 8.1 two software
# CPUs in two threads may miss that the kernel patched its own code, and it dies of a breakpoint long gone ("Oops: int3").
choose_qemu() {
	local libraries=$ROOT/usr/lib/x86_64-linux-gnu
	QEMU=("$ROOT/lib64/ld-linux-x86-64.so.2" --library-path "$libraries"
		"$ROOT/usr/bin/$MACHINE_QEMU" -L "$ROOT/usr/share/qemu" -L "$ROOT/usr/share/seabios")
}

# Sets ACCEL. /dev/kvm may open and still not run a stock kernel, so one is booted; the answer holds until the host boots
# again or qemu or the kernel changes.
choose_accel() {
	ACCEL=tcg
	if [[ $ICOUNT == yes ]]; then
		ACCEL=icount
		return
	fi
	[[ $MACHINE_KVM == yes && -w /dev/kvm ]] || return 0
	local verdict
	verdict=$CACHE/accel/$(key_of "$(</proc/sys/kernel/random/boot_id)" "$("${QEMU[@]}" --version)" "$KERNEL_VERSION")
	[[ -r $verdict ]] || locked accel probe_kvm "$verdict"
	ACCEL=$(<"$verdict")
}

probe_kvm() {
	local verdict=$1 dir=$RUN_DIR/probe answer=tcg
	[[ ! -r $verdict ]] || return 0
	say "trying KVM (once per boot of this host, 15 seconds at most)"
	mkdir -p "$dir/root/dev" "$CACHE/accel"
	cp "$ROOT/usr/bin/busybox" "$dir/root/sh"
	printf '#!/sh sh\n/sh mount -t devtmpfs dev /dev\necho dmawire-alive >/dev/console\n/sh poweroff -f\n' >"$dir/root/init"
	chmod 755 "$dir/root/init"
	pack "$dir/root" >"$dir/initrd"
	machine_arguments kvm 2 512M
	{
		timeout --kill-after=1 15 "${QEMU[@]}" "${QEMU_ARGS[@]}" -nodefaults -no-user-config -display none \
			-no-reboot -kernel "$KERNEL_DIR/vmlinux" -initrd "$dir/initrd" -serial "file:$dir/log" \
			-append "console=$MACHINE_CONSOLE panic=-1" </dev/null >/dev/null || true
	} 2>/dev/null
	! grep -q dmawire-alive "$dir/log" 2>/dev/null || answer=kvm
	printf '%s\n' "$answer" >"$verdict.tmp"
	mv "$verdict.tmp" "$verdict"
}

make_run_dir() {
	RUN_DIR=$(mktemp -d "${TMPDIR:-/tmp}/dmawire-vm.XXXXXX")
	STREAMS=$RUN_DIR/streams
	mkdir "$STREAMS"
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
}

clean_up() {
	{
		[[ -z $LOCKED ]] || kill -KILL -- "-$LOCKED" && wait "$LOCKED"
		((${#CHILDREN[@]} == 0)) || kill -KILL "${CHILDREN[@]}" && wait "${CHILDREN[@]}"
	} 2>/dev/null || true
	[[ -z $TERMINAL ]] || stty "$TERMINAL" 2>/dev/null || true
	rm -rf "$RUN_DIR"
}

# Sets PROFILER, qemu's plugin that counts instructions. Compiled where qemu's own libraries are from.
ensure_profiler() {
	local key
	key=$(key_of "$(<"$PARTS/inside/count_instructions.c")" "$(<"$ROOT/.dmawire-stamp")")
	PROFILER=$CACHE/profiler/$key.so
	[[ -e $PROFILER ]] || locked profiler make_profiler
}

make_profiler() {
	[[ ! -e $PROFILER ]] || return 0
	mkdir -p "$CACHE/profiler"
	quietly "compiling the profiler" in_root --bind "$CACHE/profiler:/build" -- \
		"$KERNEL_CC" -O2 -Wall -Wextra -shared -fPIC -o /build/tmp.so /parts/count_instructions.c
	mv "$CACHE/profiler/tmp.so" "$PROFILER"
}

# guest_arguments CONTROL-FILE STREAM...: fills QEMU_ARGS.
guest_arguments() {
	local append="console=$MACHINE_CONSOLE rdinit=/init panic=-1 panic_on_warn=1 oops=panic softlockup_panic=1 net.ifnames=0"
	machine_arguments "$ACCEL" "$CPUS" "$MEMORY"
	if [[ -n $PROFILE ]]; then
		QEMU_ARGS+=(-plugin "$PROFILER,out=$PROFILE")
		append+=" nokaslr norandmaps" # the same code at the same address in every run
	fi
	QEMU_ARGS+=(
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$KERNEL_DIR/vmlinux" -initrd "$RUN_DIR/initrd" -append "$append $MACHINE_APPEND $APPEND"
		-chardev "file,id=log,path=$RUN_DIR/kernel.log" -serial chardev:log
	)
	machine_ports "$@"
}

make_initrd() {
	cat "$BASE_CPIO" "$MODULE_CPIO" ${TEST_MODULE_CPIO:+"$TEST_MODULE_CPIO"} "${PROGRAM_CPIOS[@]}" >"$RUN_DIR/initrd"
	run_archive "$RUN_DIR/own" "$@" >>"$RUN_DIR/initrd"
	rm -rf "$RUN_DIR/own"
}

# boot_run COMMAND...: the guest is there for COMMAND. Does not return: exits with COMMAND's status.
boot_run() {
	make_initrd run "$@"
	guest_arguments /dev/stdout stdout stderr ${COVERAGE:+coverage}
	touch "$STREAMS"/{stdout,stderr}
	run_guest
	rm -f "$RUN_DIR/initrd"
	[[ -z $COVERAGE ]] || keep_coverage
	conclude
}

# Sets STATUS or FAILURE.
run_guest() {
	local qemu out err
	# qemu's own stdout is the control port's pipe, so that it ends when qemu ends.
	exec {CONTROL}< <(exec "${QEMU[@]}" "${QEMU_ARGS[@]}" </dev/null 2>"$RUN_DIR/qemu.log")
	qemu=$!
	CHILDREN+=("$qemu")
	tail --follow --bytes=+1 --sleep-interval=0.05 --pid="$qemu" "$STREAMS/stdout" &
	out=$!
	CHILDREN+=("$out")
	tail --follow --bytes=+1 --sleep-interval=0.05 --pid="$qemu" "$STREAMS/stderr" >&2 &
	err=$!
	CHILDREN+=("$err")
	listen
	kill -KILL "$qemu" 2>/dev/null || true
	wait "$qemu" 2>/dev/null || true
	wait "$out" || true
	wait "$err" || true
	CHILDREN=()
}

# The compiler's notes and the guest's counts, side by side as gcov wants them; both know where their sources were compiled.
keep_coverage() {
	mkdir -p "$COVERAGE/module" "$COVERAGE/programs"
	(cd "$MODULE_DIR" && find kmod -name '*.gcno' -exec cp --parents -t "$COVERAGE/module" {} +)
	# Without its object it is of a source that is gone.
	(
		cd "$PROGRAM_DIR" || exit
		find . -name '*.gcno' | while IFS= read -r note; do
			[[ ! -e ${note%gcno}o ]] || cp --parents -t "$COVERAGE/programs" "$note"
		done
	)
	tar -C "$COVERAGE" --extract --file "$STREAMS/coverage" || FAILURE=${FAILURE:-"the guest told nothing of what ran"}
}

# hear SECONDS: the control port's next line in LINE; says in FAILURE why there is none.
hear() {
	local status=0
	# Only a POSIX shell's `read` lets a trap run before the line comes.
	set -o posix
	IFS= read -r -t "$1" -u "$CONTROL" LINE || status=$?
	set +o posix
	if ((status > 128)); then
		FAILURE="no answer within $1 seconds"
	elif ((status)); then
		FAILURE="the guest ended without a verdict"
	elif [[ $LINE == failed* ]]; then
		FAILURE="the guest says: ${LINE#failed }"
	fi
	[[ -z $FAILURE ]]
}

# Sets STATUS, or FAILURE.
listen() {
	STATUS='' FAILURE=''
	if ! hear "$BOOT_SECONDS"; then
		FAILURE="it did not come up: $FAILURE"
		return
	fi
	hear "$TIMEOUT" || return 0
	STATUS=${LINE#exit }
	# Its last words to the kernel log count too, so let it go by itself.
	IFS= read -r -t "$POWER_OFF_SECONDS" -u "$CONTROL" LINE || (($? <= 128)) || FAILURE="the guest did not power off"
}

# boot_shell: a prompt on our terminal. Exits with the shell's status.
boot_shell() {
	make_initrd shell
	guest_arguments "$RUN_DIR/control"
	QEMU_ARGS+=(-echr 0x1d -chardev "stdio,id=terminal,mux=on,signal=off")
	machine_terminal terminal
	TERMINAL=$(stty -g 2>/dev/null || true)
	say "a shell in the guest (src, dst: ip netns exec src ...); exit ends it, Ctrl-] x kills it"
	"${QEMU[@]}" "${QEMU_ARGS[@]}" <&0 2>"$RUN_DIR/qemu.log" &
	CHILDREN=($!)
	wait "${CHILDREN[@]}" || true
	CHILDREN=()
	STATUS=$(sed -n 's/^exit //p' "$RUN_DIR/control")
	FAILURE=$(sed -n 's/^failed /the guest says: /p' "$RUN_DIR/control")
	[[ -n $STATUS$FAILURE ]] || FAILURE="the guest ended without a verdict"
	conclude
}

# The log without what a thread of vivid's says when it is kept from its CPU for longer than it wanted to sleep (Linux 7.3).
kernel_log_of_ours() {
	awk '
		/schedule_timeout: wrong timeout value/ { headline = $0; next }
		headline != "" { if (/Comm: vivid-/) skip = 1; else print headline; headline = "" }
		skip { if (/<\/TASK>/) skip = 0; next }
		{ print }
		END { if (headline != "") print headline }' "$RUN_DIR/kernel.log"
}

# What no kernel says when all is well. The processor's list of its own vulnerabilities says WARNING too.
kernel_complaint() {
	kernel_log_of_ours |
		grep -aE 'WARNING:|BUG:|BUG |Oops|Call Trace|Bad page|page dumped|Kernel panic|general protection|KASAN|KCSAN|UBSAN' || true
	grep -aE 'possible (circular|recursive) locking|suspicious RCU|non-static key|DMAR:.*fault|refcount_t|use-after-free' \
		"$RUN_DIR/kernel.log" || true
	grep -aE 'DMA-API: ' "$RUN_DIR/kernel.log" | grep -avE 'DMA-API: (preallocated|debugging enabled)' || true
	grep -aE 'soft lockup|hard LOCKUP|blocked for more than|detected stalls|kmemleak:.*new suspected|Out of memory' \
		"$RUN_DIR/kernel.log" || true
}

conclude() {
	local complaint
	complaint=$(kernel_complaint | grep -avE 'Spectre|RETBleed|SRSO|MDS|mitigation' | head -n 1 || true)
	if [[ -n $complaint ]]; then
		FAILURE="the guest's kernel complained: ${complaint%$'\r'}"
	fi
	if [[ -n $FAILURE ]]; then
		{
			sed 's/\r$//' "$RUN_DIR/kernel.log" || true
			cat "$RUN_DIR/qemu.log"
		} >&2
		die "$FAILURE (kernel log above)"
	fi
	exit "$STATUS"
}
