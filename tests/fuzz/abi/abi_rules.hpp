// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>

#include <cstddef>
#include <cstdint>
#include <span>

/// A second implementation of uapi.h's rules: the errors that each call may return, and the errno
/// that it must return for each defect of its struct.
namespace dmawire::fuzz {

/// The kind of file behind a descriptor.
enum class Kind { device, ours, foreign, other, memfd, bad };
/// Kinds that a descriptor of an execution can be of.
inline constexpr std::size_t kinds = 5;

/// The parameters that a buffer was created with.
struct BufferModel {
  std::uint64_t length = 0;
  std::uint32_t direction = 0;
  std::int32_t node = -1;
  bool writable = true;
  std::uint32_t backing = DMAWIRE_BACKING_PAGES;
  std::uint32_t flags = 0;
};

/// The size that the caller passes for a struct, and whether all bytes unknown to the kernel are 0.
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

// The errno that a call with this argument must return, or 0 if the argument is valid.
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

/// The length of the buffer that this request creates.
std::uint64_t created_length(const dmawire_create& create);

/// Describes a defect of an answer; nullptr if it has no defect.
const char* complaint(const dmawire_query& answer, const BufferModel& buffer);
const char* complaint(const dmawire_info& answer);

}  // namespace dmawire::fuzz
