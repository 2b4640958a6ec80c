// SPDX-License-Identifier: MIT
#include <dmawire/paths.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <dmawire/error.hpp>
#include <dmawire/route.hpp>
#include <dmawire/stream.hpp>

namespace dmawire {
namespace {

constexpr std::array best_first{Path::direct, Path::fixed, Path::plain, Path::msg, Path::copy};

std::string_view what_it_does(Path path) noexcept {
  switch (path) {
    case Path::direct:
      return "zero-copy, dma-bufs in the ring's table: nothing mapped for it, nothing pinned";
    case Path::fixed:
      return "zero-copy, buffers registered once with the ring";
    case Path::plain:
      return "zero-copy, pages looked up at every send";
    case Path::msg:
      return "zero-copy by sendmsg, one system call a send";
    case Path::copy:
      break;
  }
  return "the kernel copies every byte";
}

/// Sends one small frame to ourselves: what fails with this memory fails here.
void try_path(Path path, FramePool& pool) {
  const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
  const UniqueFd out = connect_stream({"127.0.0.1", std::to_string(local_port(listener.get()))});
  const UniqueFd in = accept_stream(listener.get());

  const auto sender = make_sender(path, std::array{out.get()}, pool, {.depth = 1});
  const std::size_t length = std::min<std::size_t>(pool.frame_length(), 4096);
  std::error_code error = sender->send(*pool.take(), length);
  if (!error) {
    error = sender->finish();  // the receive buffer holds it all
  }
  if (error) {
    throw Error(error.value(), "a send was refused",
                error.value() == EFAULT ? "the mapping has no struct page to send from" : "",
                Error::Kind::impossible);
  }
}

/// Where no route is told, nobody is known to copy.
bool is_local(int socket) noexcept {
  try {
    return find_route(socket).local;
  } catch (const Error&) {
    return false;
  }
}

/// Paths that were not to be had, and why: those with the same reason together.
class Refusals {
 public:
  void add(Path path, std::string_view reason) {
    if (!refusals_.empty() && refusals_.back().reason == reason) {
      refusals_.back().paths += fmt::format(", {}", name(path));
    } else {
      refusals_.push_back({std::string{name(path)}, std::string{reason}});
    }
  }

  [[nodiscard]] std::string text() const {
    std::string text;
    for (const Refusal& refusal : refusals_) {
      text += fmt::format("; not {}: {}", refusal.paths, refusal.reason);
    }
    return text;
  }

 private:
  struct Refusal {
    std::string paths;
    std::string reason;
  };
  std::vector<Refusal> refusals_;
};

}  // namespace

std::vector<PathReport> probe_paths(FramePool& pool) {
  std::vector<PathReport> reports;
  for (const Path path : best_first) {
    try {
      try_path(path, pool);
      reports.push_back({path, true, std::string{what_it_does(path)}});
    } catch (const Error& error) {
      reports.push_back({path, false, error.what()});
    }
  }
  return reports;
}

ChosenSender choose_sender(std::span<const int> sockets, FramePool& pool,
                           const Sender::Options& options) {
  if (options.may_copy && std::all_of(sockets.begin(), sockets.end(), is_local)) {
    return {make_sender(Path::copy, sockets, pool, options), Path::copy,
            fmt::format("{}; the destination is this machine, where it does so in any case",
                        what_it_does(Path::copy))};
  }
  Refusals refusals;
  for (const Path path : best_first) {
    try {
      auto sender = make_sender(path, sockets, pool, options);
      return {std::move(sender), path, fmt::format("{}{}", what_it_does(path), refusals.text())};
    } catch (const Error& error) {
      if (error.kind() != Error::Kind::impossible) {
        throw;
      }
      refusals.add(path, error.what());
    }
  }
  throw Error(0, "no path works" + refusals.text(), {}, Error::Kind::impossible);
}

}  // namespace dmawire
