# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Figures from this machine's own kernel at native speed, without the module: memory is a memfd. All devices are in network
# namespaces that are made here and go when the script does.

readonly SRC=dmawire-bench-src DST=dmawire-bench-dst
readonly HUGE_PAGES=/proc/sys/vm/nr_hugepages
HOST_READY=
# Lets a memfd be made of 64 KiB folios, as dmawire's memory is (Linux 6.11).
readonly FOLIOS=/sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled
HUGE_PAGES_BEFORE='' FOLIOS_BEFORE=''
SINK=

host_clean_up() {
	[[ -n $HOST_READY ]] || return 0
	ip netns del $SRC 2>/dev/null || true
	ip netns del $DST 2>/dev/null || true
	[[ -z $HUGE_PAGES_BEFORE ]] || echo "$HUGE_PAGES_BEFORE" >$HUGE_PAGES || true
	[[ -z $FOLIOS_BEFORE ]] || echo "$FOLIOS_BEFORE" >$FOLIOS || true
	HOST_READY=
}

host_namespaces() {
	[[ -z $HOST_READY ]] || return 0
	((EUID == 0)) || {
		echo "ci/bench: needs root to make network namespaces" >&2
		return 1
	}
	HOST_READY=yes
	local name
	for name in $SRC $DST; do
		ip netns del "$name" 2>/dev/null || true
		ip netns add "$name"
		ip -n "$name" link set lo up
		# Pacing would be measured instead of sending.
		ip netns exec "$name" sysctl -qw net.ipv4.tcp_congestion_control=reno
	done
	# A pool of 64 MiB in pages of 2 MiB, and some for what does not divide.
	HUGE_PAGES_BEFORE=$(<$HUGE_PAGES)
	((HUGE_PAGES_BEFORE >= 80)) || echo 80 >$HUGE_PAGES
	[[ -e $FOLIOS ]] || return 0
	FOLIOS_BEFORE=$(sed 's/.*\[\(.*\)\].*/\1/' $FOLIOS)
	echo advise >$FOLIOS
}

# host_bench OPTION...
host_bench() {
	"$URING_APP" bench --source memfd --repeats 5 --time 0.3 "$@" --json
}

# host_publish NAME TITLE WORDS OPTION...
host_publish() {
	local name=$1 title=$2 words=$3
	shift 3
	host_namespaces && host_bench "$@" >"$DIR/$name.json" || return
	present "$name" "$title" "$words" "$(
		as_typed ci/bench "$name"
		echo '    # which runs'
		as_typed uring_app bench --source memfd --repeats 5 --time 0.3 "$@" --json
	)"
}

readonly NATIVE="On the machine that the table names, at native speed: real time, and others may use the machine too. Frames are in \
memfds. CPU is the busy time of the whole machine."

# A device that swallows what it is given: dummy where there is one, else ifb, which is built into more kernels.
blackhole() {
	ip -n $SRC link show blackhole >/dev/null 2>&1 && return
	ip -n $SRC link add blackhole type dummy 2>/dev/null || ip -n $SRC link add blackhole type ifb || return
	ip -n $SRC link set blackhole mtu 65535 arp off up
	ip -n $SRC addr add 198.51.100.1/24 dev blackhole
	ip netns exec $SRC tc qdisc replace dev blackhole root noqueue
	ip -n $SRC neigh replace 198.51.100.2 lladdr 02:00:00:00:00:03 nud permanent dev blackhole
}

figure_host-udp() {
	host_namespaces && blackhole || return
	host_publish host-udp "UDP into a blackhole, at native speed" \
		"$NATIVE Nobody copies: a device that swallows everything. Cold is 64 MiB of frames in turn, hot 256 KiB." \
		198.51.100.2:9 --netns $SRC --proto udp --tx fixed,plain,copy --size 1K,4K,16K,65000 --gather 1 --depth 32 \
		--data cold,hot --layout pages,folios,huge
}

# A TCP sink that reads nothing: see tun_sink.cpp.
tun_sink() {
	local line
	[[ -z $SINK ]] || return 0
	g++ -std=c++20 -O2 -o "$DIR/tun_sink" "$PARTS/tun_sink.cpp" || return
	exec {SINK}< <(exec ip netns exec $SRC "$DIR/tun_sink" sink0)
	IFS= read -r -t 10 -u "$SINK" line && [[ $line == ready ]] || return
	ip -n $SRC link set sink0 txqueuelen 10000 up
	ip -n $SRC addr add 203.0.113.1/24 dev sink0
}

figure_host-tcp() {
	host_namespaces && tun_sink || return
	host_publish host-tcp "TCP into a sink, at native speed" \
		"$NATIVE Nobody copies: the whole TCP stack sends into a tun device whose other side acknowledges all and reads \
nothing ([how](../../ci/bench.d/tun_sink.cpp)). Its cost is in the busy time, not in \`thread\`. A packet cut \
to its headers is flagged \"copied\" by the kernel, though nothing was left to copy." \
		203.0.113.2:9 --netns $SRC --tx fixed,plain,msg,copy --size 4K,64K,1M --gather 1,64 --depth 256 \
		--batch 32 --layout pages,folios,huge
}

figure_host-offset() {
	host_namespaces && tun_sink || return
	host_publish host-offset "TCP into a sink, by where in its buffer a frame begins" \
		"$NATIVE The sink is that of [host-tcp](host-tcp.md). Each frame is in a buffer of its own, so far from its beginning." \
		203.0.113.2:9 --netns $SRC --tx fixed --size 4K,64K --gather 1 --depth 64 --batch 32 --layout pages,folios,huge \
		--offset 0,60K,512K,960K --buffers 32
}

# Side by side with liburing's example, which sends one buffer of its own again and again.
host_anchor() {
	local protocol=$1 address=$2
	shift 2
	build_example || return
	PATH=$DIR:${URING_APP%/*}:$PATH "$PARTS/anchor" $SRC "$address" "$protocol" "$@" >"$DIR/host-anchor-$protocol.json"
}

figure_host-anchor-udp() {
	host_namespaces && blackhole && host_anchor udp 198.51.100.2 4096 16384 65000 || return
	present host-anchor-udp "UDP into a blackhole: liburing's example beside uring_app, at native speed" \
		"$NATIVE Runs of a second, in turn. CPU is that of the sending process alone." "    ci/bench host-anchor-udp"
}

figure_host-anchor-tcp() {
	host_namespaces && tun_sink && host_anchor tcp 203.0.113.2 4096 65536 1048576 || return
	present host-anchor-tcp "TCP into a sink: liburing's example beside uring_app, at native speed" \
		"$NATIVE Runs of a second, in turn; the sink is that of [host-tcp](host-tcp.md). CPU is that of the sending process alone." \
		"    ci/bench host-anchor-tcp"
}

figure_host-loopback() {
	host_publish host-loopback "TCP over loopback" \
		"$NATIVE Loopback copies whatever it is asked not to, so zero-copy can only lose; \`auto\` should notice." \
		--netns $SRC,$SRC --peer-address 127.0.0.1 --tx fixed,msg,copy,auto --size 4K,16K,64K,256K,1M --data cold,hot \
		--depth 256
}

figure_host-veth() {
	host_namespaces || return
	if ! ip -n $SRC link show veth0 >/dev/null 2>&1; then
		ip link add veth0 netns $SRC type veth peer name veth1 netns $DST
		ip -n $SRC addr add 192.0.2.1/24 dev veth0
		ip -n $DST addr add 192.0.2.2/24 dev veth1
		ip -n $SRC link set veth0 up
		ip -n $DST link set veth1 up
	fi
	host_publish host-veth "TCP over veth" \
		"$NATIVE veth to a local socket copies, too." \
		--netns $SRC,$DST --tx fixed,msg,copy,auto --size 4K,16K,64K,256K,1M --data cold --depth 256
}

figure_host-setup() {
	host_namespaces || return
	"$URING_APP" bench --setup --source memfd --layout pages --tx fixed --size 64M,1G,4G --repeats 5 --json \
		>"$DIR/host-setup.json" || return
	present host-setup "From nothing to the first send, with memfds" \
		"$NATIVE \`make\` only reserves: the memory is allocated when it is registered. Buffers of 1 MiB." \
		"    ci/bench host-setup"
}
