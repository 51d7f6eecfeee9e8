#include "run/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "file/file.h"

enum { NAME_TRIES = 1000 };

/* Field numbers of the messages. */
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SESSION_LOG_STATUS = 1, SESSION_LOG_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE_VALUE = 2, VALUE_IMAGE = 4 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLORSPACE = 3, IMAGE_ENCODED = 4, COLORSPACE_RGB = 3 };

/* ---- protocol buffer encoding ---- */

enum { WIRE_VARINT = 0, WIRE_64_BIT = 1, WIRE_BYTES = 2, WIRE_32_BIT = 5 };

/* A message that grows; once memory is out it stays `failed`. */
typedef struct message {
    unsigned char *data;
    size_t size, room;
    bool failed;
} message;

static void put_raw(message *m, const void *data, size_t size)
{
    if (m->failed) return;
    if (m->room - m->size < size) {
        size_t room = 2 * (m->size + size) + 64;
        unsigned char *moved = realloc(m->data, room);
        m->failed = !moved;
        if (!moved) return;
        m->data = moved;
        m->room = room;
    }
    if (size > 0) memcpy(m->data + m->size, data, size);
    m->size += size;
}

static void put_varint(message *m, uint64_t value)
{
    unsigned char bytes[10];
    int count = 0;
    for (; value > 127; value >>= 7) bytes[count++] = (unsigned char)(value | 128);
    bytes[count++] = (unsigned char)value;
    put_raw(m, bytes, (size_t)count);
}

static void put_integer(message *m, int field, int64_t value)
{
    put_varint(m, (uint64_t)field << 3 | WIRE_VARINT);
    put_varint(m, (uint64_t)value);
}

static void put_double(message *m, int field, double value)
{
    put_varint(m, (uint64_t)field << 3 | WIRE_64_BIT);
    put_raw(m, &value, sizeof value);
}

static void put_float(message *m, int field, float value)
{
    put_varint(m, (uint64_t)field << 3 | WIRE_32_BIT);
    put_raw(m, &value, sizeof value);
}

static void put_bytes(message *m, int field, const void *data, size_t size)
{
    put_varint(m, (uint64_t)field << 3 | WIRE_BYTES);
    put_varint(m, size);
    put_raw(m, data, size);
}

/* Puts a part into a message and frees the part. */
static void put_message(message *m, int field, message *part)
{
    m->failed = m->failed || part->failed;
    put_bytes(m, field, part->data, part->size);
    free(part->data);
    *part = (message){0};
}

/* ---- records ---- */

/* Four bits at a time: the table is the remainders of 0..15 for the reflected polynomial 0x82f63b78. */
uint32_t event_log_crc32c(const void *data, size_t size)
{
    static const uint32_t remainder[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const unsigned char *bytes = data;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ remainder[crc & 15];
        crc = crc >> 4 ^ remainder[crc & 15];
    }
    return ~crc;
}

/* Stored checksums are rotated and shifted, so that a checksum of data that holds checksums stays meaningful. */
static uint32_t masked_crc(const void *data, size_t size)
{
    uint32_t crc = event_log_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void make_record(message *record, const message *event)
{
    uint64_t length = event->size;
    uint32_t length_crc = masked_crc(&length, sizeof length), data_crc = masked_crc(event->data, event->size);
    record->failed = event->failed;
    put_raw(record, &length, sizeof length);
    put_raw(record, &length_crc, sizeof length_crc);
    put_raw(record, event->data, event->size);
    put_raw(record, &data_crc, sizeof data_crc);
}

/* Writes an event and frees it. */
static dt_status write_event(event_log *e, message *event, dt_error *err)
{
    message record = {0};
    make_record(&record, event);
    if (record.failed)
        error_set(err, DT_ERR_MEMORY, "no memory for a record of %s", e->path);
    else
        file_append(&e->fd, e->path, record.data, record.size, err);
    free(record.data);
    free(event->data);
    return err->status;
}

/* ---- events ---- */

static message event_begin(int64_t step)
{
    struct timespec now;
    message event = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    put_double(&event, EVENT_WALL_TIME, (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    if (step != 0) put_integer(&event, EVENT_STEP, step);
    return event;
}

static dt_status write_version(event_log *e, dt_error *err)
{
    static const char version[] = "brain.Event:2";
    message event = event_begin(0);
    put_bytes(&event, EVENT_FILE_VERSION, version, sizeof version - 1);
    return write_event(e, &event, err);
}

static dt_status write_session_start(event_log *e, int64_t first_step, dt_error *err)
{
    message event = event_begin(first_step), session = {0};
    put_integer(&session, SESSION_LOG_STATUS, SESSION_LOG_START);
    put_message(&event, EVENT_SESSION_LOG, &session);
    return write_event(e, &event, err);
}

/* One event with one value of a summary; frees the value. */
static dt_status write_value(event_log *e, int64_t step, message *value, dt_error *err)
{
    message event = event_begin(step), summary = {0};
    put_message(&summary, SUMMARY_VALUE, value);
    put_message(&event, EVENT_SUMMARY, &summary);
    return write_event(e, &event, err);
}

dt_status event_log_scalar(event_log *e, const char *tag, int64_t step, double value, dt_error *err)
{
    message part = {0};
    put_bytes(&part, VALUE_TAG, tag, strlen(tag));
    put_float(&part, VALUE_SIMPLE_VALUE, (float)value);
    return write_value(e, step, &part, err);
}

dt_status event_log_image(event_log *e, const char *tag, int64_t step, const void *png, size_t png_bytes, int width,
                          int height, dt_error *err)
{
    message image = {0}, part = {0};
    put_integer(&image, IMAGE_HEIGHT, height);
    put_integer(&image, IMAGE_WIDTH, width);
    put_integer(&image, IMAGE_COLORSPACE, COLORSPACE_RGB);
    put_bytes(&image, IMAGE_ENCODED, png, png_bytes);
    put_bytes(&part, VALUE_TAG, tag, strlen(tag));
    put_message(&part, VALUE_IMAGE, &image);
    return write_value(e, step, &part, err);
}

/* ---- file ---- */

/* TensorBoard reads a folder's files in the order of their names: a name that is taken gives way to the next second. */
static dt_status make_file(event_log *e, const char *folder, dt_error *err)
{
    char host[65] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0' || strchr(host, '/')) strcpy(host, "localhost");
    time_t now = time(NULL);
    for (int i = 0; e->fd < 0 && i < NAME_TRIES; i++) {
        int length =
            snprintf(e->path, sizeof e->path, "%s/events.out.tfevents.%010lld.%s", folder, (long long)now + i, host);
        if (length >= (int)sizeof e->path) return error_set(err, DT_ERR_IO, "cannot log to %s: path too long", folder);
        e->fd = file_open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
        if (e->fd < 0 && errno != EEXIST) break;
    }
    return e->fd < 0 ? error_set_errno(err, "cannot make %s", e->path) : DT_OK;
}

dt_status event_log_open(event_log *e, const char *folder, int64_t first_step, dt_error *err)
{
    *e = (event_log){.fd = -1};
    if (make_file(e, folder, err) != DT_OK) return err->status;
    if (write_version(e, err) != DT_OK || write_session_start(e, first_step, err) != DT_OK) event_log_close(e);
    return err->status;
}

void event_log_close(event_log *e)
{
    if (e->fd >= 0) close(e->fd);
    e->fd = -1;
}
