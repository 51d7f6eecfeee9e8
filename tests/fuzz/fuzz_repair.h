/* Checksums of a changed input put right, so that more of a reader is reached than its check of them: those of PNG chunks, of
 * stored records in zip archives and of headers in tar archives. */
#ifndef FUZZ_REPAIR_H
#define FUZZ_REPAIR_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "fuzz_file.h"

static inline uint32_t fuzz_number(const uint8_t *at, bool big)
{
    return big ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
               : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static inline void fuzz_set_number(uint8_t *at, uint32_t value, bool big)
{
    for (int i = 0; i < 4; i++) at[big ? 3 - i : i] = (uint8_t)(value >> 8 * i);
}

/* Length, type, data, CRC-32 of type and data. */
static inline void fuzz_repair_png(uint8_t *data, size_t size)
{
    for (size_t at = 8; at + 12 <= size;) {
        const size_t length = fuzz_number(data + at, true);
        if (length > size - at - 12) return;
        fuzz_set_number(data + at + 8 + length, (uint32_t)crc32(0, data + at + 4, (uInt)length + 4), true);
        at += 12 + length;
    }
}

/* Each entry of the directory that is stored as it is, and the header before its data. */
static inline void fuzz_repair_zip(uint8_t *data, size_t size)
{
    enum { ENTRY = 46, HEADER = 30 };
    for (size_t at = 0; at + ENTRY <= size; at++) {
        if (memcmp(data + at, "PK\1\2", 4) != 0 || data[at + 10] != 0) continue;
        const size_t length = fuzz_number(data + at + 20, false), header = fuzz_number(data + at + 42, false);
        if (header > size || size - header < HEADER || memcmp(data + header, "PK\3\4", 4) != 0) continue;
        const size_t first = header + HEADER + data[header + 26] + 256u * data[header + 27] + data[header + 28] +
                             256u * data[header + 29];
        if (first > size || size - first < length) continue;
        const uint32_t sum = (uint32_t)crc32(0, data + first, (uInt)length);
        fuzz_set_number(data + at + 16, sum, false);
        if (fuzz_number(data + header + 14, false)) fuzz_set_number(data + header + 14, sum, false);
    }
}

/* The sum of a header's bytes, with blanks in place of the sum. */
static inline void fuzz_repair_tar(uint8_t *data, size_t size)
{
    enum { BLOCK = 512, MAGIC = 257, SUM = 148, SUM_BYTES = 8 };
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        uint8_t *header = data + at;
        unsigned sum = SUM_BYTES * ' ';
        if (memcmp(header + MAGIC, "ustar", 5) != 0) continue;
        for (int i = 0; i < BLOCK; i++) sum += i >= SUM && i < SUM + SUM_BYTES ? 0 : header[i];
        snprintf((char *)header + SUM, SUM_BYTES, "%06o", sum);
        header[SUM + SUM_BYTES - 1] = ' ';
    }
}

/* A copy of the input with its checksums put right, the caller's; NULL where that changes nothing. */
static inline uint8_t *fuzz_repaired(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    assert(copy);
    if (size) memcpy(copy, data, size);
    if (size >= 8 && !memcmp(data, "\x89PNG", 4)) fuzz_repair_png(copy, size);
    if (size >= 4 && !memcmp(data, "PK\3\4", 4)) fuzz_repair_zip(copy, size);
    fuzz_repair_tar(copy, size);
    if (size && memcmp(copy, data, size) != 0) return copy;
    free(copy);
    return NULL;
}

/* Runs both. */
static inline void fuzz_both(void (*run)(const uint8_t *data, size_t size), const uint8_t *data, size_t size)
{
    uint8_t *repaired = fuzz_repaired(data, size);
    run(data, size);
    if (repaired) run(repaired, size);
    free(repaired);
}

#endif
