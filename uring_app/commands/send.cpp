// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <dmawire/cpu_access.hpp>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/stream.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access_error.hpp"
#include "commands.hpp"
#include "hash.hpp"
#include "input.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "send/device_stream.hpp"
#include "send/import_stream.hpp"
#include "send/meter.hpp"
#include "send/options.hpp"
#include "send/report.hpp"
#include "send/setup.hpp"
#include "send/video_stream.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

Input open_input(const SendOptions& options) {
  return options.file.empty() ? Input::standard_input(options.total)
                              : Input{options.file, options.total};
}

/// Fills frames from the input while earlier ones are on their way.
void pump(Input& input, FramePool& pool, Sender& sender, std::optional<Hash>& hash) {
  Progress progress{input.length()};
  bool any = false;
  for (;;) {
    std::optional<Frame> frame = pool.take();
    if (!frame) {
      throw_if(sender.wait(), sender);
      continue;
    }
    std::size_t length = 0;
    {
      const CpuAccess access{frame->buffer(), CpuAccess::Intent::write};
      throw_if_none(access);
      length = input.fill(frame->bytes(), sender);
    }
    if (length == 0) {
      break;
    }
    any = true;
    if (hash) {
      hash->add(frame->bytes().first(length));
    }
    throw_if(sender.send(std::move(*frame), length), sender);
    progress.update(sender.statistics().bytes);
  }
  if (!any) {
    throw Error(0, fmt::format("{} is empty, there is nothing to send", input.name()));
  }
  throw_if(sender.finish(), sender);
}

FramePool pool_for(const SendOptions& options, std::uint64_t frame_length) {
  if (options.backing == Backing::pages) {
    return make_pool(options.source, options.buffers, frame_length);
  }
  return make_pool(Device{}, options.backing, options.buffers, frame_length);
}

SendReport transfer(const SendOptions& options) {
  Input input = open_input(options);
  // Memory first: without it no receiver should be troubled. UDP's connect() troubles nobody.
  UniqueFd datagrams = options.udp ? connect_datagram(options.peer) : UniqueFd{};
  FramePool pool = pool_for(options, frame_size(options, datagrams));
  const UniqueFd socket = options.udp ? std::move(datagrams) : connect_stream(options.peer);
  // The input was just read.
  const ChosenSender chosen = open_sender(options, socket.get(), pool, {.cached_data = true});
  std::optional<Hash> hash;
  if (options.hash) {
    hash.emplace();
  }

  const Meter meter{options.verify_copies};
  pump(input, pool, *chosen.sender, hash);
  throw_if(finish_sending(options, socket.get()), *chosen.sender);

  SendReport report{.path = chosen.path, .reason = chosen.reason};
  meter.read_into(report);
  report.statistics = chosen.sender->statistics();
  tell_of_copying(report);
  if (hash) {
    report.hash = hash->value();
  }
  return report;
}

void print(const SendReport& report, const SendOptions& options) {
  if (options.json) {
    print_json(report);
  } else {
    print_text(report);
  }
}

void finish(const StreamOutcome& outcome, const SendOptions& options) {
  print(outcome.report, options);
  if (outcome.failure) {
    throw *outcome.failure;
  }
}

void run(const SendOptions& options) {
  if (options.source != Exporter::dmawire && options.source != Exporter::memfd) {
    fmt::print(stderr, "note: {} is here for comparison; its mappings cannot be sent zero-copy\n",
               name(options.source));
  } else if (options.source == Exporter::memfd) {
    fmt::print(stderr,
               "note: a memfd needs no module, but no device can write to it: data must be brought "
               "there by the CPU\n");
  }
  print(transfer(options), options);
}

/// An option that takes one of `values` by its name, or one of `others`, which mean no value.
template <typename Value>
CLI::Option* add_choice(CLI::App& command, const std::string& option,
                        std::initializer_list<Value> values, std::vector<std::string> others,
                        std::function<void(std::optional<Value>)> set,
                        const std::string& description) {
  std::map<std::string, std::optional<Value>> choices;
  std::vector<std::string> names = std::move(others);
  for (const std::string& other : names) {
    choices.emplace(other, std::nullopt);
  }
  for (const Value value : values) {
    choices.emplace(name(value), value);
    names.emplace_back(name(value));
  }
  return command
      .add_option_function<std::string>(
          option, [choices, set](const std::string& text) { set(choices.at(text)); }, description)
      ->check(CLI::IsMember(names))
      ->type_name("");
}

/// What makes sense with a camera only.
void add_video_options(CLI::App& command, SendOptions& options, CLI::Option* camera) {
  command.add_option("--format", options.video_format, "how the camera is to store pixels: YUYV")
      ->type_name("FOURCC")
      ->needs(camera);
  command
      .add_option_function<std::string>(
          "--video-size",
          [&options](const std::string& text) {
            options.video_size =
                parse_or_usage_error("--video-size", [&] { return parse_dimensions(text); });
          },
          "pixels of a frame of the camera")
      ->type_name("WIDTHxHEIGHT")
      ->needs(camera);
}

/// What makes sense only with who has frames: a device or a camera, and some of it an owner.
struct FrameOptions {
  std::vector<CLI::Option*> of_all;
  std::vector<CLI::Option*> of_captures;

  /// Throws if one was given that `options` leave no sense.
  void check(const SendOptions& options) const {
    const bool captures = options.device || !options.v4l2.empty();
    if (!captures) {
      check_none(of_captures, "--device or --v4l2");
    }
    if (!captures && options.import.empty()) {
      check_none(of_all, "--device, --v4l2 or --import");
    }
  }

 private:
  static void check_none(const std::vector<CLI::Option*>& given, const std::string& needed) {
    for (const CLI::Option* option : given) {
      if (!option->empty()) {
        throw CLI::RequiresError(option->get_name(), needed);
      }
    }
  }
};

FrameOptions add_frame_options(CLI::App& command, SendOptions& options) {
  return {.of_all = {command
                         .add_option("--frames", options.frames,
                                     "stop when so many frames are captured, or were lent")
                         ->check(CLI::PositiveNumber)
                         ->type_name("COUNT"),
                     command
                         .add_option("--record", options.record,
                                     "write the frames to this file too, past the page cache")
                         ->type_name("FILE")},
          .of_captures = {command
                              .add_option("--rate", options.rate,
                                          "frames a second to ask the device for, if it can be "
                                          "told")
                              ->check(CLI::Range(1U, 1'000'000'000U))
                              ->type_name("HERTZ"),
                          command.add_flag("--verbose", options.verbose,
                                           "tell each second how it goes, even if that is no "
                                           "terminal")}};
}

}  // namespace

void add_send(CLI::App& app) {
  auto options = std::make_shared<SendOptions>();
  CLI::App* command = app.add_subcommand("send",
                                         "Send what a device or a camera captures, a file or "
                                         "standard input over TCP or UDP, zero-copy");
  add_endpoint(*command, "peer", "HOST:PORT", options->peer, false,
               "who receives; not needed with --import and --record")
      ->required(false);

  auto* from = command->add_option("from", options->from, "send standard input")->type_name("-");
  from->check(CLI::IsMember({"-"}));
  auto* file = command->add_option("--file", options->file, "send this file")->type_name("FILE");
  from->excludes(file);
  auto* device = command
                     ->add_option("--device", options->device,
                                  "send what /dev/dmawireN captures, until interrupted")
                     ->type_name("N")
                     ->excludes(from)
                     ->excludes(file);
  auto* camera = command
                     ->add_option("--v4l2", options->v4l2,
                                  "send what this camera captures (V4L2), until interrupted")
                     ->type_name("DEVICE")
                     ->excludes(from)
                     ->excludes(file)
                     ->excludes(device);
  auto* owner = command
                    ->add_option("--import", options->import,
                                 "send what `uring_app share SOCKET` lends, until that ends")
                    ->type_name("SOCKET")
                    ->excludes(from)
                    ->excludes(file)
                    ->excludes(device)
                    ->excludes(camera);

  add_choice<Path>(
      *command, "--tx", {Path::direct, Path::fixed, Path::plain, Path::msg, Path::copy}, {"auto"},
      [options](std::optional<Path> path) { options->path = path; },
      "how to send; auto takes the best that works and says why")
      ->default_str("auto");
  auto* source =
      add_choice<Exporter>(
          *command, "--source",
          {Exporter::dmawire, Exporter::memfd, Exporter::udmabuf, Exporter::dma_heap}, {},
          [options](std::optional<Exporter> exporter) { options->source = *exporter; },
          "whose memory to send from; memfd needs no module, udmabuf and dma-heap are here to "
          "compare")
          ->default_str("dmawire");
  add_choice<Backing>(
      *command, "--backing",
      {Backing::pages, Backing::memfd, Backing::memfd_2m, Backing::memfd_1g, Backing::user,
       Backing::contig, Backing::contig_cma, Backing::coherent},
      {}, [options](std::optional<Backing> backing) { options->backing = *backing; },
      "where dmawire takes the memory of the frames from")
      ->default_str("pages")
      ->excludes(source);
  auto* udp = command->add_flag("--udp", options->udp,
                                "send each frame as a datagram; nothing is sent again");
  auto* size = add_size(*command, "--size", options->size, 1, "bytes of a frame")
                   ->default_str("64K, or what fits a packet with --udp");
  command->add_option("--buffers", options->buffers, "frames to cycle through")
      ->check(CLI::Range(1U, 16'384U))
      ->capture_default_str();
  command->add_option("--depth", options->depth, "most frames in flight")
      ->check(CLI::Range(1U, 16'384U))
      ->capture_default_str();
  auto* total = command
                    ->add_option_function<std::string>(
                        "--total",
                        [options](const std::string& text) {
                          options->total =
                              parse_or_usage_error("--total", [&] { return parse_size(text); });
                          if (*options->total == 0) {
                            throw CLI::ValidationError("--total", "must be at least 1 B");
                          }
                        },
                        "stop after this much")
                    ->type_name("SIZE");
  auto* sq_poll = command->add_flag(
      "--sq-poll", options->sq_poll,
      "have a thread of the kernel take the requests: fewer system calls, one CPU "
      "more");
  command->add_flag("--verify-copies", options->verify_copies,
                    "count copies in the kernel too, with a probe on skb_copy_ubufs()");
  command->add_flag("--hash", options->hash, "hash what is sent (XXH3, reads every byte)");
  command->add_flag("--json", options->json, "print one JSON object");
  for (auto* other : {source, total, sq_poll}) {
    device->excludes(other);
    camera->excludes(other);
    owner->excludes(other);
  }
  for (const char* other : {"--backing", "--size", "--buffers"}) {  // the owner chooses
    owner->excludes(command->get_option(other));
  }
  // A camera says how long its frames are, and that is more than a datagram holds.
  camera->excludes(size)->excludes(udp);
  add_video_options(*command, *options, camera);
  const FrameOptions frame_options = add_frame_options(*command, *options);

  command->callback([options, frame_options] {
    frame_options.check(*options);
    if (options->peer.port.empty() && (options->import.empty() || options->record.empty())) {
      throw CLI::RequiredError("HOST:PORT");
    }
    if (options->device) {
      finish(stream_from_device(*options), *options);
    } else if (!options->v4l2.empty()) {
      finish(stream_from_camera(*options), *options);
    } else if (!options->import.empty()) {
      finish(stream_from_owner(*options), *options);
    } else if (options->file.empty() && options->from.empty()) {
      throw CLI::RequiredError("--device N, --v4l2 DEVICE, --import SOCKET, --file FILE or -");
    } else {
      run(*options);
    }
  });
}

}  // namespace dmawire::commands
