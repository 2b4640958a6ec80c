// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/error.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/recorder.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/unique_fd.hpp>
#include <string>
#include <system_error>

#include "options.hpp"

/// What every way to send has in common.
namespace dmawire::commands {

/// Bytes of a frame: what was asked for, or 64 KiB, or what fits a packet of UDP in whole cache
/// lines, so that frames lie side by side.
[[nodiscard]] std::uint64_t frame_size(const SendOptions& options, const UniqueFd& datagrams);

/// A sender for the path that was asked for, or the best one, with what `wanted` says beside that.
[[nodiscard]] ChosenSender open_sender(const SendOptions& options, int socket, FramePool& pool,
                                       Sender::Options wanted);

/// What to tell of the error of a recorder to `file`, which has failed.
[[nodiscard]] Error recording_error(const Recorder& recorder, const std::string& file);

/// What to tell of an error of a sender.
[[nodiscard]] Error sending_error(std::error_code error, const Sender& sender);
void throw_if(std::error_code error, const Sender& sender);

/// No more is sent over the socket: tells the receiver.
[[nodiscard]] std::error_code finish_sending(const SendOptions& options, int socket) noexcept;

}  // namespace dmawire::commands
