/* A client of the key-value store that torchrun's agent keeps for the processes it starts (PyTorch's TCPStore:
 * torch/csrc/distributed/c10d/TCPStore.cpp, TCPStoreBackend.hpp). Of its queries those that make a rank known to the others. */
#ifndef RANK_STORE_H
#define RANK_STORE_H

#include <stdbool.h>
#include <stddef.h>

/* A connection to the store; -1: there is none at that place before the time is up (clock_s()). The caller closes it. */
int store_open(const char *host, const char *port, double until_s);

bool store_set(int fd, const char *key, const void *value, size_t bytes, double until_s);

/* Waits until the key is set. False: it was not, or to a value of another size. */
bool store_get(int fd, const char *key, void *value, size_t bytes, double until_s);

#endif
