// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/frame_observer.hpp>
#include <dmawire/frame_pool.hpp>

#include <chrono>
#include <cstdint>
#include <vector>

namespace dmawire {

/// The frames that a sender holds, from send() until the kernel has let go of them.
///
/// A frame waits in its connection's queue until all its bytes are sent, and is held by every
/// request that names it until that is done with it, notification included. When neither is so any
/// more it goes back to its pool. Never allocates after its construction.
class FrameLedger {
 public:
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  /// The frames of one connection that are not completely sent, in the order of sending.
  struct Queue {
    std::uint32_t head = none;
    std::uint32_t tail = none;
    [[nodiscard]] bool empty() const noexcept { return head == none; }
  };

  struct Entry {
    std::uint32_t length = 0;
    std::uint32_t sent = 0;
    std::uint32_t holds = 0;    ///< requests that are not done with it
    std::uint32_t next = none;  ///< in its queue
    bool queued = false;

    [[nodiscard]] std::uint32_t unsent() const noexcept { return length - sent; }
  };

  explicit FrameLedger(FramePool& pool, FrameObserver* observer = nullptr)
      : pool_(pool), observer_(observer), entries_(pool.size()) {}
  FrameLedger(const FrameLedger&) = delete;
  FrameLedger& operator=(const FrameLedger&) = delete;
  ~FrameLedger() {
    for (std::uint32_t index = 0; index < entries_.size(); ++index) {
      if (entries_[index].queued || entries_[index].holds > 0) {
        pool_.put(index);
      }
    }
  }

  [[nodiscard]] const Entry& operator[](std::uint32_t index) const noexcept {
    return entries_[index];
  }

  void push(Queue& queue, Frame frame, std::uint32_t length) noexcept {
    const std::uint32_t index = frame.release();
    Entry& entry = entries_[index];
    entry.length = length;
    entry.sent = 0;
    entry.next = none;
    entry.queued = true;
    (queue.empty() ? queue.head : entries_[queue.tail].next) = index;
    queue.tail = index;
    ++waiting_;
  }

  /// Counts bytes of a frame as sent; frames at the queue's head that are complete leave it.
  /// Returns how many left.
  std::uint32_t sent(Queue& queue, std::uint32_t index, std::uint32_t bytes) noexcept {
    entries_[index].sent += bytes;
    std::uint32_t left = 0;
    while (!queue.empty() && entries_[queue.head].unsent() == 0) {
      dequeue(queue);
      ++left;
    }
    return left;
  }

  /// Drops what is queued: it will not be sent any more.
  void clear(Queue& queue) noexcept {
    while (!queue.empty()) {
      dequeue(queue);
    }
  }

  /// A request names the frame. True if no other does.
  bool hold(std::uint32_t index) noexcept {
    Entry& entry = entries_[index];
    const bool first = entry.holds++ == 0;
    if (first) {
      --waiting_;  // only frames of a queue are named
      if (observer_ != nullptr && entry.sent == 0) {
        observer_->started(index, now_);
      }
    }
    return first;
  }
  /// A request is done with the frame. True if it was the last one.
  bool let_go(std::uint32_t index) noexcept {
    const bool last = --entries_[index].holds == 0;
    if (last && entries_[index].queued) {
      ++waiting_;
    }
    return_if_done(index);
    return last;
  }

  /// Frames in queues that no request names.
  [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_; }
  /// Looks at the clock for the observer of what happens next.
  void tick() noexcept {
    if (observer_ != nullptr) {
      now_ = std::chrono::steady_clock::now().time_since_epoch();
    }
  }

 private:
  void dequeue(Queue& queue) noexcept {
    const std::uint32_t index = queue.head;
    queue.head = entries_[index].next;
    entries_[index].queued = false;
    if (entries_[index].holds == 0) {
      --waiting_;
    }
    return_if_done(index);
  }
  void return_if_done(std::uint32_t index) noexcept {
    if (!entries_[index].queued && entries_[index].holds == 0) {
      if (observer_ != nullptr && entries_[index].unsent() == 0) {
        observer_->done(index, now_);
      }
      pool_.put(index);
    }
  }

  FramePool& pool_;
  FrameObserver* const observer_;
  std::chrono::nanoseconds now_{};
  std::uint32_t waiting_ = 0;
  std::vector<Entry> entries_;  ///< by index in the pool
};

}  // namespace dmawire
