// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>

#include <cstddef>
#include <cstdint>
#include <span>

/// What uapi.h says about a call, written down a second time: which errors it may give, and which
/// one it must give for what is wrong with its struct.
namespace dmawire::fuzz {

/// What a descriptor is.
enum class Kind { device, ours, foreign, other, memfd, bad };
/// Kinds that a descriptor of an execution can be of.
inline constexpr std::size_t kinds = 5;

/// What a buffer was created as.
struct BufferModel {
  std::uint64_t length = 0;
  std::uint32_t direction = 0;
  std::int32_t node = -1;
  bool writable = true;
  std::uint32_t backing = DMAWIRE_BACKING_PAGES;
  std::uint32_t flags = 0;
};

/// A struct's size as the caller says it, and whether all of what the kernel does not know is 0.
struct Sized {
  std::uint32_t size;
  bool tail_is_zero;
};

extern const std::span<const int> open_errors;
extern const std::span<const int> info_errors;
extern const std::span<const int> create_errors;
extern const std::span<const int> query_errors;
extern const std::span<const int> sync_errors;
extern const std::span<const int> attach_errors;
extern const std::span<const int> detach_errors;
extern const std::span<const int> start_errors;
extern const std::span<const int> stop_errors;
extern const std::span<const int> enqueue_errors;
extern const std::span<const int> dequeue_errors;
extern const std::span<const int> capture_errors;
extern const std::span<const int> register_errors;
extern const std::span<const int> unregister_errors;
extern const std::span<const int> odd_command_errors;
extern const std::span<const int> odd_ioctl_errors;
extern const std::span<const int> map_errors;

// The errno that such a call must give, or 0 if there is nothing wrong with what it was told.
int refusal(const dmawire_info& info, Sized sized);
int refusal(const dmawire_create& create, Sized sized);
int refusal(const dmawire_query& query, Sized sized, Kind kind);
int refusal(const dmawire_attach& attach, Sized sized, Kind kind);
int refusal(const dmawire_detach& detach, Sized sized);
int refusal(const dmawire_start& start, Sized sized);
int refusal(const dmawire_stop& stop, Sized sized);
int refusal(const dmawire_enqueue& enqueue, Sized sized);
int refusal(const dmawire_dequeue& dequeue, Sized sized);
int refusal(const dmawire_status& status, Sized sized);
int refusal(const dmawire_sync& sync, Sized sized, Kind kind, const BufferModel& buffer);
int refusal(const dmawire_uring_capture& argument, Sized sized);
int refusal(const dmawire_uring_register& argument, Sized sized, Kind kind,
            const BufferModel& buffer);
int refusal(const dmawire_uring_unregister& argument, Sized sized);

/// The length of the buffer that such a request makes.
std::uint64_t created_length(const dmawire_create& create);

/// What is wrong with an answer, or nullptr.
const char* complaint(const dmawire_query& answer, const BufferModel& buffer);
const char* complaint(const dmawire_info& answer);

}  // namespace dmawire::fuzz
