// SPDX-License-Identifier: MIT
#include "abi.hpp"

#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace dmawire::test {

UniqueFd open_device() {
  return UniqueFd(open("/dev/dmawire0", O_RDWR | O_CLOEXEC));
}

int call(int fd, unsigned long command, void* argument) {
  return ioctl(fd, command, argument) == 0 ? 0 : errno;
}

dmawire_create create_request(uint64_t length) {
  dmawire_create request = {};
  request.size = sizeof(request);
  request.length = length;
  request.backing = DMAWIRE_BACKING_PAGES;
  request.direction = DMAWIRE_FROM_DEVICE;
  request.node = -1;
  request.fd_flags = O_RDWR | O_CLOEXEC;
  request.out_fd = -1;
  return request;
}

dmawire_create contig_request(uint64_t length, uint32_t flags) {
  dmawire_create request = create_request(length);
  request.backing = DMAWIRE_BACKING_CONTIG;
  request.flags = flags;
  return request;
}

UniqueFd create_buffer(int device, uint64_t length, uint32_t fd_flags, uint32_t flags) {
  dmawire_create request = create_request(length);
  request.flags = flags;
  request.fd_flags = fd_flags;
  if (int error = call(device, DMAWIRE_IOC_CREATE, &request)) {
    ADD_FAILURE() << "CREATE of " << length << " bytes: " << strerror(error);
    return {};
  }
  return UniqueFd(request.out_fd);
}

int try_create(int device, uint64_t length, uint32_t flags) {
  dmawire_create request = create_request(length);
  request.flags = flags;
  int error = call(device, DMAWIRE_IOC_CREATE, &request);
  if (error == 0)
    close(request.out_fd);
  return error;
}

dmawire_info info(int device) {
  dmawire_info request = {};
  request.size = sizeof(request);
  int error = call(device, DMAWIRE_IOC_INFO, &request);
  EXPECT_EQ(error, 0) << "INFO: " << strerror(error);
  return request;
}

dmawire_query query(int dmabuf) {
  dmawire_query request = {};
  request.size = sizeof(request);
  request.fd = dmabuf;
  int error = call(open_device().get(), DMAWIRE_IOC_QUERY, &request);
  EXPECT_EQ(error, 0) << "QUERY: " << strerror(error);
  return request;
}

dmawire_info module_info() {
  return info(open_device().get());
}

bool has_direct() {
  return query(create_buffer(open_device().get(), kPage).get()).out_direct == DMAWIRE_USABLE;
}

int sync(int dmabuf, uint64_t flags) {
  dma_buf_sync request = {};
  request.flags = flags;
  return call(dmabuf, DMA_BUF_IOCTL_SYNC, &request);
}

}  // namespace dmawire::test
