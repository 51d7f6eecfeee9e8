#include "rank/store.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "rank/meet.h"

/* A query is one byte, then its arguments: numbers of 64 bits as this machine writes them, and strings behind their length. */
enum { QUERY_VALIDATE = 0, QUERY_SET = 1, QUERY_GET = 3, QUERY_WAIT = 6 };
enum { WAITED = 0, KEY_MAX = 255, VALUE_MAX = 4096 };

static const uint32_t VALIDATION = 0x3C85F7CE;

typedef struct query {
    char text[1 + 8 + 8 + KEY_MAX + 8 + VALUE_MAX];
    size_t size;
} query;

static void add(query *q, const void *data, size_t bytes)
{
    memcpy(q->text + q->size, data, bytes);
    q->size += bytes;
}

static void add_string(query *q, const void *data, size_t bytes)
{
    const uint64_t length = bytes;
    add(q, &length, sizeof length);
    add(q, data, bytes);
}

static query begin(uint8_t what)
{
    query q = {.size = 0};
    add(&q, &what, sizeof what);
    return q;
}

int store_open(const char *host, const char *port, double until_s)
{
    query q = begin(QUERY_VALIDATE);
    const int fd = meet_connect_host(host, port, until_s);
    add(&q, &VALIDATION, sizeof VALIDATION);
    if (fd < 0 || meet_write(fd, q.text, q.size, until_s)) return fd;
    close(fd);
    return -1;
}

bool store_set(int fd, const char *key, const void *value, size_t bytes, double until_s)
{
    query q = begin(QUERY_SET);
    if (strlen(key) > KEY_MAX || bytes > VALUE_MAX) return false;
    add_string(&q, key, strlen(key));
    add_string(&q, value, bytes);
    return meet_write(fd, q.text, q.size, until_s);
}

static bool wait_for_key(int fd, const char *key, double until_s)
{
    const uint64_t keys = 1;
    uint8_t answer;
    query q = begin(QUERY_WAIT);
    add(&q, &keys, sizeof keys);
    add_string(&q, key, strlen(key));
    return meet_write(fd, q.text, q.size, until_s) && meet_read(fd, &answer, sizeof answer, until_s) &&
           answer == WAITED;
}

bool store_get(int fd, const char *key, void *value, size_t bytes, double until_s)
{
    uint64_t length;
    query q = begin(QUERY_GET);
    if (strlen(key) > KEY_MAX || !wait_for_key(fd, key, until_s)) return false;
    add_string(&q, key, strlen(key));
    return meet_write(fd, q.text, q.size, until_s) && meet_read(fd, &length, sizeof length, until_s) &&
           length == bytes && meet_read(fd, value, bytes, until_s);
}
