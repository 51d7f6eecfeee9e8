/* BMP, read by ourselves: Debian has no small library for it (those that read it are whole toolkits, and libnsbmp is not kept
 * for files from strangers). All headers from OS/2's core header to BITMAPV5HEADER; 1, 4, 8, 16, 24 and 32 bits; BI_RGB,
 * BI_BITFIELDS, RLE8 and RLE4; rows from the bottom or the top. Checked against Pillow: fields of fewer than 8 bits become
 * v * 255 / max, cut; pixels that a run-length file leaves out have colour 0; the fourth byte of BI_RGB is no alpha. */
#include <string.h>

#include "image/image_codec.h"

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, OS2_HEADER = 64, V3_HEADER = 56 };
enum { MASKS_AT = FILE_HEADER + INFO_HEADER }; /* both in longer headers and behind the shortest that has any */
enum { BI_RGB, BI_RLE8, BI_RLE4, BI_BITFIELDS, BI_ALPHABITFIELDS = 6 };

/* Of run-length files; what their jumps leave out does not count: no honest file is mostly that. */
enum { RUN_PIXELS_PER_BYTE = 128 };

typedef struct field {
    uint32_t mask, max;
    int shift;
} field;

typedef struct bmp_reader {
    const image_job *job;
    int64_t width, height;
    bool from_top;
    int bits;
    uint32_t header, compression;
    size_t pixels_at; /* in the file */
    uint8_t palette[256][3];
    field field[4]; /* red, green, blue, alpha */
} bmp_reader;

static uint32_t number_at(const bmp_reader *r, size_t at, int bytes)
{
    return image_little_endian(r->job->data + at, bytes);
}

/* ---- the headers ---- */

static bool header_is_known(uint32_t header)
{
    static const uint8_t known[] = {CORE_HEADER, 16, INFO_HEADER, 52, V3_HEADER, OS2_HEADER, 108, 124};
    return memchr(known, (int)header, sizeof known) != NULL && header < 256;
}

bool image_is_bmp(const uint8_t *data, size_t size)
{
    return size >= FILE_HEADER + 4 && !memcmp(data, "BM", 2) &&
           header_is_known(image_little_endian(data + FILE_HEADER, 4));
}

static bool bits_fit_compression(const bmp_reader *r)
{
    switch (r->compression) {
    case BI_RGB: return r->bits == 1 || r->bits == 4 || r->bits == 8 || r->bits == 16 || r->bits == 24 || r->bits == 32;
    case BI_RLE8: return r->bits == 8 && !r->from_top;
    case BI_RLE4: return r->bits == 4 && !r->from_top;
    case BI_BITFIELDS:
    case BI_ALPHABITFIELDS: return (r->bits == 16 || r->bits == 32) && r->header != OS2_HEADER;
    default: return false;
    }
}

static dt_status read_size(bmp_reader *r)
{
    const image_job *job = r->job;
    r->header = number_at(r, FILE_HEADER, 4);
    if (job->size < FILE_HEADER + (size_t)r->header) return image_job_broken(job, "the file is cut short");
    r->pixels_at = number_at(r, 10, 4);
    if (r->header == CORE_HEADER) {
        r->width = number_at(r, 18, 2);
        r->height = number_at(r, 20, 2);
        r->bits = (int)number_at(r, 24, 2);
    } else {
        r->width = (int32_t)number_at(r, 18, 4);
        r->height = (int32_t)number_at(r, 22, 4);
        r->bits = (int)number_at(r, 28, 2);
        r->compression = r->header >= INFO_HEADER ? number_at(r, 30, 4) : BI_RGB;
    }
    r->from_top = r->height < 0;
    if (r->from_top) r->height = -r->height;
    if (bits_fit_compression(r)) return DT_OK;
    return error_set(job->err, DT_ERR_FORMAT, "%s: a BMP of %d bits a pixel and compression %u is not read", job->name,
                     r->bits, r->compression);
}

/* The masks follow the shortest header that has any, or are its next fields. */
static dt_status read_fields(bmp_reader *r, size_t *end)
{
    static const uint32_t of_15_bits[3] = {0x7c00, 0x3e0, 0x1f}, of_24_bits[3] = {0xff0000, 0xff00, 0xff};
    const bool stated = r->compression == BI_BITFIELDS || r->compression == BI_ALPHABITFIELDS;
    const int count = r->compression == BI_ALPHABITFIELDS || (stated && r->header >= V3_HEADER) ? 4 : 3;
    if (stated && r->header == INFO_HEADER) *end += 4 * (size_t)count;
    if (stated && r->job->size < MASKS_AT + 4 * (size_t)count) return image_job_broken(r->job, "the file is cut short");
    for (int i = 0; i < count; i++) {
        field *f = &r->field[i];
        f->mask = stated ? number_at(r, MASKS_AT + 4 * (size_t)i, 4) : (r->bits == 16 ? of_15_bits : of_24_bits)[i];
        if (!f->mask) continue;
        f->shift = __builtin_ctz(f->mask);
        f->max = f->mask >> f->shift;
        if (f->max & (f->max + 1)) return image_job_broken(r->job, "the mask of a colour has gaps");
    }
    return DT_OK;
}

/* Colours that are missing stay black. */
static void read_palette(bmp_reader *r, size_t at)
{
    const size_t entry = r->header == CORE_HEADER ? 3 : 4, most = (size_t)1 << r->bits;
    size_t count = r->header >= INFO_HEADER ? number_at(r, 46, 4) : 0;
    if (count == 0 || count > most) count = most;
    for (size_t i = 0; i < count && at + (i + 1) * entry <= r->pixels_at && at + (i + 1) * entry <= r->job->size; i++)
        for (size_t c = 0; c < 3; c++) r->palette[i][c] = r->job->data[at + i * entry + 2 - c];
    r->job->origin->palette = true;
}

/* ---- plain rows ---- */

static uint8_t *out_row(const bmp_reader *r, int64_t stored)
{
    return r->job->out->rgb + 3 * r->width * (r->from_top ? stored : r->height - 1 - stored);
}

static uint8_t scaled(const field *f, uint32_t pixel, uint8_t missing)
{
    return f->mask ? (uint8_t)((uint64_t)((pixel & f->mask) >> f->shift) * 255 / f->max) : missing;
}

/* Files whose alpha is 0 everywhere come from programs that leave the fourth byte alone: readers show them opaque. */
static bool alpha_is_used(const bmp_reader *r, size_t stride)
{
    const size_t bytes = (size_t)r->bits / 8;
    for (int64_t y = 0; r->field[3].mask && y < r->height; y++)
        for (int64_t x = 0; x < r->width; x++)
            if (number_at(r, r->pixels_at + (size_t)y * stride + (size_t)x * bytes, (int)bytes) & r->field[3].mask)
                return true;
    return false;
}

static void read_indices(const bmp_reader *r, uint8_t *rgb, const uint8_t *row)
{
    const int per_byte = 8 / r->bits, mask = (1 << r->bits) - 1;
    for (int64_t x = 0; x < r->width; x++) {
        const int shift = 8 - r->bits * (int)(x % per_byte + 1);
        memcpy(rgb + 3 * x, r->palette[row[x / per_byte] >> shift & mask], 3);
    }
}

static void read_pixels(const bmp_reader *r, uint8_t *rgb, const uint8_t *row, bool alpha)
{
    const int bytes = r->bits / 8;
    for (int64_t x = 0; x < r->width; x++) {
        uint8_t rgba[4];
        const uint32_t pixel = image_little_endian(row + x * bytes, bytes);
        for (int c = 0; c < 4; c++) rgba[c] = scaled(&r->field[c], pixel, c == 3 ? 255 : 0);
        if (alpha)
            image_lay_over(rgb + 3 * x, rgba, 1, r->job);
        else
            memcpy(rgb + 3 * x, rgba, 3);
    }
}

static dt_status read_rows(bmp_reader *r)
{
    const image_job *job = r->job;
    const size_t stride = ((size_t)r->width * (size_t)r->bits + 31) / 32 * 4;
    if (r->pixels_at > job->size || stride * (size_t)r->height > job->size - r->pixels_at)
        return image_job_broken(job, "the file is cut short");
    const bool alpha = alpha_is_used(r, stride);
    for (int64_t y = 0; y < r->height; y++) {
        const uint8_t *row = job->data + r->pixels_at + (size_t)y * stride;
        if (r->bits <= 8)
            read_indices(r, out_row(r, y), row);
        else
            read_pixels(r, out_row(r, y), row, alpha);
    }
    return DT_OK;
}

/* ---- run-length rows ---- */

/* `count` pixels from (x, y) on; `values` repeats after `period` pixels. What lies beside the picture is dropped. */
static void put_run(const bmp_reader *r, int64_t x, int64_t y, int count, const uint8_t *values, int period)
{
    for (int i = 0; i < count && x + i < r->width && y < r->height; i++) {
        const int at = i % period;
        const int value = r->bits == 8 ? values[at] : at % 2 ? values[at / 2] & 15 : values[at / 2] >> 4;
        memcpy(out_row(r, y) + 3 * (x + i), r->palette[value], 3);
    }
}

/* Pairs of a count and a value (of RLE4: two values in turn); count 0 is an escape: 0 the row ends, 1 the picture ends, 2 a jump
 * follows, else so many values follow, padded to an even number of bytes. */
static dt_status read_runs(bmp_reader *r)
{
    const image_job *job = r->job;
    int64_t x = 0, y = 0;
    for (int64_t i = 0; i < r->width * r->height; i++) memcpy(job->out->rgb + 3 * i, r->palette[0], 3);
    for (size_t at = r->pixels_at; at < job->size && job->size - at >= 2;) {
        const uint8_t *pair = job->data + at;
        at += 2;
        if (pair[0]) {
            put_run(r, x, y, pair[0], pair + 1, r->bits == 8 ? 1 : 2);
            x += pair[0];
        } else if (pair[1] == 0) {
            x = 0, y++;
        } else if (pair[1] == 1) {
            return DT_OK;
        } else {
            const size_t values = pair[1] == 2 ? 2 : ((size_t)pair[1] * (size_t)r->bits + 15) / 16 * 2;
            if (values > job->size - at) break;
            at += values;
            if (pair[1] != 2) put_run(r, x, y, pair[1], pair + 2, pair[1]);
            x += pair[1] == 2 ? pair[2] : pair[1];
            y += pair[1] == 2 ? pair[3] : 0;
        }
    }
    return image_job_broken(job, "the file is cut short");
}

dt_status image_decode_bmp(const image_job *job)
{
    bmp_reader r = {.job = job};
    job->origin->format = IMAGE_BMP;
    if (read_size(&r) != DT_OK) return job->err->status;
    const bool runs = r.compression == BI_RLE8 || r.compression == BI_RLE4;
    const int64_t per_byte = runs ? RUN_PIXELS_PER_BYTE : r.bits < 8 ? 8 / r.bits : 1;
    size_t end = FILE_HEADER + r.header;
    if (image_job_alloc(job, r.width, r.height, per_byte) != DT_OK) return job->err->status;
    if (r.bits > 8 && read_fields(&r, &end) != DT_OK) return job->err->status;
    if (r.bits <= 8) read_palette(&r, end);
    return runs ? read_runs(&r) : read_rows(&r);
}
