// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "coverage.hpp"
#include "impatience.hpp"
#include "input.hpp"
#include "world.hpp"

namespace dmawire::fuzz {

/// A call and how it ended, as one number.
using Result = std::uint32_t;

/// A memfd of an execution. Mappings show no more of it than buffers were made of, and it does not
/// change once it is sealed against writing.
struct OwnMemfd {
  std::vector<bool> exposed;  ///< by page: part of a buffer, now or before
  UniqueFd sealed;            ///< against writing, if it is
  std::uint64_t checksum = 0;

  void expose(std::uint64_t begin, std::uint64_t length);
};

/// Makes an input's calls, checks each result against uapi.h, and releases everything.
///
/// References: of a device, -1 is no descriptor, -2 a dma-buf, -3 a memfd; if there is no device
/// yet, one is opened. Of a buffer, -1 is no descriptor, -2 a descriptor that is no dma-buf, -3
/// another exporter's dma-buf. Of a ring, any number; if there is no ring yet, one is made, with a
/// table of 4 slots. Of a memfd for CREATE, 0 means no memfd, 1 the memfd that all executions
/// share, 2 to 4 descriptors that are no memfds, and from 5 on the execution's own memfds; if it
/// has no memfd yet, one is made.
///
/// Lengths below 64 GiB are taken modulo 512 KiB, so that the 24 calls of an input have at most 12
/// MiB; longer ones are more than any machine has.
class Executor {
 public:
  /// `coverage`: for the thread that calls run(), which has it on, and for the second one.
  Executor(const Surroundings& surroundings, std::array<Coverage, 2>& coverage)
      : surroundings_(surroundings), coverage_(coverage) {}

  /// Describes the first violation by the kernel; an empty text if there is no violation.
  std::string run(const Input& input);
  [[nodiscard]] const std::vector<Result>& results() const noexcept { return results_; }

 private:
  using Handler = void (Executor::*)(const Call&);
  static const std::vector<Handler>& handlers();

  void run_calls(std::span<const Call> calls);
  void run_in_parallel(std::span<const Call> calls);
  void clean_up();

  void complain(const std::string& what);
  /// Records how a call ended and checks that it may. `refusal`: the error it must return, or 0 if
  /// it cannot be predicted. `other_file`: the descriptor number may refer to another file by now.
  void judge(std::size_t type, int error, std::span<const int> allowed, int refusal = 0,
             bool other_file = false);
  [[nodiscard]] bool is_allowed(int error, std::span<const int> allowed, bool other_file) const;
  /// The errno to expect of a struct, if the kernel sees it as it was written.
  [[nodiscard]] int expected(Pointer pointer, int refusal) const;
  [[nodiscard]] int expected_on(int device, const Call& call, int error, int refusal) const;

  Target device(const Call& call);
  Target buffer(const Call& call);
  Target any(const Call& call);
  Target memfd(const Call& call);
  Target own_memfd(std::int64_t reference);
  Target make_own_memfd(bool populated, bool allocated, unsigned seals);
  void check_zeros(const Target& buffer);
  void check_created(const dmawire_create& answer, std::size_t file);
  int create_within_limit(const Call& call, int fd, dmawire_create& argument);
  /// No page of a memfd is seen that is not part of a buffer.
  void check_exposed(std::uint64_t begin, std::uint64_t length);
  void check_sealed(const OwnMemfd& file);

  /// Puts a struct where the call's `ptr` says, followed by its tail.
  template <typename T>
  std::uint64_t place(const Call& call, const T& argument);
  /// ioctl() with the struct, which holds the answer afterwards; the errno or 0.
  template <typename T>
  int ioctl_with(const Call& call, int fd, unsigned long command, T& argument);
  /// The same for calls of a capture: only a refusal can be predicted.
  template <typename T>
  void ioctl_of_capture(const Call& call, unsigned long command, T& argument,
                        std::span<const int> errors, int refused);

  void open(const Call& call);
  void reopen(const Call& call);
  void close(const Call& call);
  void create(const Call& call);
  void info(const Call& call);
  void query(const Call& call);
  void odd_ioctl(const Call& call);
  void attach(const Call& call);
  void detach(const Call& call);
  void start(const Call& call);
  void stop(const Call& call);
  void enqueue(const Call& call);
  void dequeue(const Call& call);
  void lend(const Call& call);
  void status(const Call& call);
  void foreign(const Call& call);
  void other(const Call& call);
  void make_memfd(const Call& call);
  void seal(const Call& call);
  void allocate(const Call& call);
  void dup(const Call& call);
  void pass(const Call& call);
  void sync(const Call& call);
  void sync_part(const Call& call);
  void set_name(const Call& call);
  void export_sync(const Call& call);
  void fence(const Call& call);
  void close_timeline();
  void import_sync(const Call& call);
  void seek(const Call& call);
  void poke(const Call& call);

  void map(const Call& call);
  void touch_area(const Call& call);
  void unmap(const Call& call);
  void remap(const Call& call);
  void remap_pages(const Call& call);
  void protect(const Call& call);
  void advise(const Call& call);
  void fork_here(const Call& call);
  void import(const Call& call);
  void change_driver(const Call& call);
  void signal(const Call& call);
  void limit(const Call& call);

  FuzzRing& ring(const Call& call);
  FuzzRing& new_ring(unsigned flags, unsigned slots);
  void make_ring(const Call& call);
  void end_ring(const Call& call);
  void make_table(const Call& call);
  void register_range(const Call& call);
  void unregister(const Call& call);
  void capture(const Call& call);
  void odd_command(const Call& call);
  void register_address(const Call& call);
  void send(const Call& call);
  void file(const Call& call);
  void reap(const Call& call);
  void drain(const Call& call);

  /// Puts a request on a ring; `prepare` fills the SQE in.
  template <typename Prepare>
  void request(const Call& call, const Request& request, Prepare prepare);
  void take_completions(FuzzRing& ring);
  void finish(FuzzRing& ring);

  const Surroundings& surroundings_;
  std::array<Coverage, 2>& coverage_;
  Arguments arguments_;
  Tearer tearer_;
  Descriptors descriptors_;
  std::vector<std::unique_ptr<FuzzRing>> rings_;
  std::vector<std::uint32_t> gem_handles_;
  std::vector<pid_t> children_;
  std::vector<OwnMemfd> memfds_;
  std::size_t first_memfd_ = 0;  ///< number of memfds_[0]: memfds of earlier executions count too
  int timeline_ = -1;            ///< of fences that only an input signals
  std::optional<Impatience> impatience_;
  std::uint64_t limit_ = 0;  ///< of memory for each buffer, if any
  bool unbound_ = false;
  bool has_user_memory_ = false;  ///< some buffer is made of it
  std::vector<Result> results_;
  std::string complaint_;
  bool exact_ = true;  ///< no other thread or process touches the objects of a call
  bool parallel_ = false;
  bool torn_ = false;
  std::mutex mutex_;  ///< for the lists and texts above
};

}  // namespace dmawire::fuzz
