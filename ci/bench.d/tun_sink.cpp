// SPDX-License-Identifier: MIT
//
// tun_sink NAME: a network device whose other side takes TCP over IPv4 as fast as it comes and
// reads none of it, so that sending is all that is measured. The kernel's whole TCP stack is at
// work, with segmentation and checksums left to the "hardware". A filter on the device cuts every
// packet to its headers before the payload could be copied; from these this program makes the
// acknowledgements. It says "ready" when the device is there, and takes it along when it ends.

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace {

constexpr std::uint32_t our_first_sequence = 1000;
constexpr int window_scale = 14;
/// Packets that are taken before they are acknowledged, all with one acknowledgement a connection.
constexpr int max_taken = 32;

/// A struct virtio_net_hdr stands before each packet; the kernel's header of it is no C++. All of
/// it 0 says that nothing is left to be done to the packet.
using VirtioHeader = std::array<std::uint8_t, 10>;

struct Packet {
  iphdr ip;
  tcphdr tcp;
};
static_assert(sizeof(Packet) == 40);

/// With options for a SYN: the largest segment, and how the window is scaled.
struct Answer {
  Packet packet = {};
  std::array<std::uint8_t, 8> options = {2, 4, 1460 >> 8, 1460 & 0xff, 1, 3, 3, window_scale};
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "tun_sink: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

/// A program that says of every packet: keep the 40 bytes of plain headers.
int load_filter() {
  std::array<bpf_insn, 2> program{};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[0].imm = sizeof(Packet);
  program[1].code = BPF_JMP | BPF_EXIT;
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<std::uintptr_t>(program.data());
  attributes.insn_cnt = program.size();
  static const char license[] = "MIT";
  attributes.license = reinterpret_cast<std::uintptr_t>(license);
  const long fd = ::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
  if (fd < 0) {
    fail("loading the filter");
  }
  return static_cast<int>(fd);
}

int open_device(const char* name) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    fail("opening /dev/net/tun");
  }
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  std::strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
  if (::ioctl(fd, TUNSETIFF, &request) < 0) {
    fail("making the device");
  }
  if (::ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) {
    fail("offering offloads");
  }
  int filter = load_filter();
  if (::ioctl(fd, TUNSETFILTEREBPF, &filter) < 0) {
    fail("attaching the filter");
  }
  return fd;
}

std::uint32_t sum_of(const void* data, std::size_t length, std::uint32_t sum) {
  for (std::size_t i = 0; i + 1 < length; i += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, static_cast<const char*>(data) + i, sizeof(word));
    sum += word;
  }
  return sum;
}

std::uint16_t folded(std::uint32_t sum) {
  while (sum >> 16 != 0) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

/// Answers `to`: acknowledges up to `acknowledged`, and as it is, begins or ends the connection.
void answer(int fd, const Packet& to, std::uint32_t acknowledged) {
  Answer out;
  const std::size_t options = to.tcp.syn != 0 ? out.options.size() : 0;
  const std::size_t tcp_length = sizeof(tcphdr) + options;
  iphdr& ip = out.packet.ip;
  ip.version = 4;
  ip.ihl = 5;
  ip.ttl = 64;
  ip.protocol = IPPROTO_TCP;
  ip.tot_len = htons(static_cast<std::uint16_t>(sizeof(iphdr) + tcp_length));
  ip.saddr = to.ip.daddr;
  ip.daddr = to.ip.saddr;
  ip.check = folded(sum_of(&ip, sizeof(ip), 0));

  tcphdr& tcp = out.packet.tcp;
  tcp.source = to.tcp.dest;
  tcp.dest = to.tcp.source;
  tcp.seq = htonl(to.tcp.syn != 0 ? our_first_sequence : our_first_sequence + 1);
  tcp.ack_seq = htonl(acknowledged);
  tcp.doff = static_cast<std::uint16_t>(tcp_length / 4) & 0xf;
  tcp.ack = 1;
  tcp.syn = to.tcp.syn;
  tcp.fin = to.tcp.fin;
  tcp.window = 0xffff;
  const std::uint32_t pseudo =
      sum_of(&ip.saddr, 8, htons(IPPROTO_TCP) + htons(static_cast<std::uint16_t>(tcp_length)));
  tcp.check = folded(sum_of(&tcp, tcp_length, pseudo));

  VirtioHeader nothing_to_do{};
  const std::array<iovec, 2> pieces{
      {{nothing_to_do.data(), nothing_to_do.size()}, {&out, sizeof(iphdr) + tcp_length}}};
  (void)!::writev(fd, pieces.data(), pieces.size());
}

/// What the sender has sent up to, as this packet tells.
std::uint32_t end_of(const Packet& packet) {
  return ntohl(packet.tcp.seq) + ntohs(packet.ip.tot_len) - packet.ip.ihl * 4U -
         packet.tcp.doff * 4U + packet.tcp.syn + packet.tcp.fin;
}

void take_what_is_there(int fd) {
  VirtioHeader ignored{};
  Packet packet{};
  const std::array<iovec, 2> pieces{{{ignored.data(), ignored.size()}, {&packet, sizeof(packet)}}};
  constexpr ssize_t whole = sizeof(ignored) + sizeof(packet);
  std::map<std::uint16_t, Packet> latest;  // by the sender's port
  for (int i = 0; i < max_taken && ::readv(fd, pieces.data(), pieces.size()) == whole; ++i) {
    if (packet.ip.version != 4 || packet.ip.protocol != IPPROTO_TCP || packet.tcp.rst != 0) {
      continue;
    }
    const bool speaks =
        packet.tcp.syn != 0 || packet.tcp.fin != 0 || ntohs(packet.ip.tot_len) > sizeof(Packet);
    const auto known = latest.find(packet.tcp.source);
    if (speaks && (known == latest.end() ||
                   static_cast<std::int32_t>(end_of(packet) - end_of(known->second)) > 0)) {
      latest.insert_or_assign(packet.tcp.source, packet);
    }
  }
  for (const auto& [port, last] : latest) {
    answer(fd, last, end_of(last));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: tun_sink NAME\n");
    return 2;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int fd = open_device(argv[1]);
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, -1) > 0) {
      take_what_is_there(fd);
    }
  }
}
