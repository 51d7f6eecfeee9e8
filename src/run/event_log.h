/* TensorBoard event files: scalars and PNG images over steps.
 *
 * A file is a row of records (u64 length, masked CRC-32C of the length, data, masked CRC-32C of the data), each one
 * Event message in protocol buffer encoding (tensorflow/tensorboard: event.proto, summary.proto, record_writer). A
 * record reaches the file in one write, so a killed run leaves whole records; there is nothing to flush. */
#ifndef RUN_EVENT_LOG_H
#define RUN_EVENT_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct event_log {
    char path[DT_PATH_MAX];
    int fd; /* -1: closed */
} event_log;

/* Makes a new events.out.tfevents.<seconds>.<host> in an existing folder. TensorBoard then ignores what earlier files
 * in that folder say about steps >= first_step, so a resumed run shows one curve. */
dt_status event_log_open(event_log *e, const char *folder, int64_t first_step, dt_error *err);

/* A failed write is DT_ERR_IO; the file keeps its whole records (see file_append). */
dt_status event_log_scalar(event_log *e, const char *tag, int64_t step, double value, dt_error *err);

/* An RGB image as PNG bytes of width x height pixels. */
dt_status event_log_image(event_log *e, const char *tag, int64_t step, const void *png, size_t png_bytes, int width,
                          int height, dt_error *err);

/* Harmless on a log that is closed by this function, or zeroed with fd -1. */
void event_log_close(event_log *e);

/* CRC-32C (Castagnoli), plain, not masked: 0xe3069283 for "123456789". */
uint32_t event_log_crc32c(const void *data, size_t size);

#endif
