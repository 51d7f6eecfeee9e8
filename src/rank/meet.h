/* Connections between the ranks of one call, by TCP over IPv4. Who listens says where; who connects proves that it was told, and
 * says which rank it is. */
#ifndef RANK_MEET_H
#define RANK_MEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEET_ADDRESSES = 8 };

/* Where a rank listens, for the others. All zeros: nowhere. */
typedef struct meet_place {
    uint32_t address[MEET_ADDRESSES]; /* as the network has them; 0: none */
    uint16_t port;
    char host[64];
    uint64_t token[2]; /* which who connects must know */
} meet_place;

/* Begins to listen for so many; -1: it cannot. */
int meet_listen(meet_place *place, int count);

/* Takes ranks `first` to `count` - 1 in, in any order, into fd[count], which holds -1 for each before. The time ends as clock_s()
 * tells it. False: not all of them came. */
bool meet_accept(int listening, const meet_place *place, int first, int count, int fd[], double until_s);

/* Connects to who listens at that place, as rank `index`; -1: it could not be done before the time was up. */
int meet_connect(const meet_place *place, int index, double until_s);

/* This machine's name and what it calls itself since it was started last: names alone are not always different. */
void meet_machine(char *name, size_t size);

/* ---- any connection ---- */

/* Listens at a port that has been agreed on; -1: it cannot. */
int meet_listen_at(const char *port, int count);

/* The next that connects; -1: nobody did before the time was up, or no more connections may be opened. */
int meet_next(int listening, double until_s);

/* To a host by its name or number; tries until the time is up, since the host may begin to listen later. -1: not reached. */
int meet_connect_host(const char *host, const char *port, double until_s);

/* All of the bytes before the time is up. */
bool meet_read(int fd, void *data, size_t bytes, double until_s);
bool meet_write(int fd, const void *data, size_t bytes, double until_s);

/* Sends a few bytes, which the empty buffer of a connection holds, without waiting. */
bool meet_say(int fd, const void *data, size_t bytes);

#endif
