/* PNG through libpng, both ways. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <zlib.h>

#include "file/file.h"
#include "image/image_codec.h"

static void ignore_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* libpng must not return from here. The error pointer is a char[DT_TEXT_MAX]. */
static void stop_png(png_structp png, png_const_charp message)
{
    snprintf(png_get_error_ptr(png), DT_TEXT_MAX, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

/* ---- reading ---- */

enum { PNG_SIGNATURE_BYTES = 8, PNG_CHUNK_BYTES = 12 /* length, type and checksum */, EXIF_CHUNK_MAX = 1 << 20 };
enum { DEFLATE_RATIO_MAX = 1032 }; /* bytes out of one: 258 of two bits */

typedef struct png_reader {
    png_structp png;
    png_infop info;
    char message[DT_TEXT_MAX];
    const image_job *job;
    size_t at;        /* of the next byte that libpng gets */
    size_t chunk_end; /* of what is being read, which may lie outside the file */
    const uint8_t *exif;
    uint32_t exif_size; /* 0: none */
    uint8_t *rgba;      /* pictures with transparency are read here first: all rows of interlaced ones, else one */
    dt_status status;
} png_reader;

/* What a picture is made of. libpng takes memory for any other chunk before it looks at it, as much as the chunk claims, and
 * unpacks texts and profiles; here they are passed over. */
static bool is_needed(const png_reader *r, const uint8_t *type)
{
    static const char *const needed[] = {"IHDR", "PLTE", "tRNS", "IDAT", "IEND"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (memcmp(type, needed[i], 4) == 0) return true;
    if (!(type[0] & 0x20)) png_error(r->png, "an unknown chunk is needed to show it");
    return false;
}

/* Notes the first EXIF whose checksum is right. */
static void note_exif(png_reader *r, const uint8_t *type, uint32_t length)
{
    if (r->exif_size || length > EXIF_CHUNK_MAX || memcmp(type, "eXIf", 4) != 0) return;
    if (crc32(0, type, 4 + length) != image_big_endian(type + 4 + length, 4)) return;
    r->exif = type + 4;
    r->exif_size = length;
}

/* From the end of a chunk to the next one that is needed. */
static void pass_over(png_reader *r)
{
    const image_job *job = r->job;
    for (;;) {
        if (job->size - r->at < PNG_CHUNK_BYTES) png_error(r->png, "the file is cut short");
        const uint8_t *type = job->data + r->at + 4;
        const uint32_t length = image_big_endian(job->data + r->at, 4);
        r->chunk_end = r->at + PNG_CHUNK_BYTES + length;
        if (is_needed(r, type)) return;
        if (r->chunk_end > job->size) png_error(r->png, "the file is cut short");
        note_exif(r, type, length);
        r->at = r->chunk_end;
    }
}

/* libpng asks for the signature, then for parts of a chunk. */
static void take_bytes(png_structp png, png_bytep bytes, size_t size)
{
    png_reader *r = png_get_io_ptr(png);
    if (r->at == r->chunk_end) pass_over(r);
    if (size > r->job->size - r->at || size > r->chunk_end - r->at) png_error(png, "the file is cut short");
    memcpy(bytes, r->job->data + r->at, size);
    r->at += size;
}

/* Notes what the file holds and asks for 8 bits a sample, RGB or, where there is transparency, RGBA. */
static bool ask_for_rgb(png_reader *r)
{
    image_origin *origin = r->job->origin;
    int type = png_get_color_type(r->png, r->info);
    bool transparent = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(r->png, r->info, PNG_INFO_tRNS);
    origin->palette = type == PNG_COLOR_TYPE_PALETTE;
    origin->grey = !(type & PNG_COLOR_MASK_COLOR);
    origin->deep = png_get_bit_depth(r->png, r->info) == 16;
    png_set_expand(r->png);
    png_set_scale_16(r->png);
    if (origin->grey) png_set_gray_to_rgb(r->png);
    return transparent;
}

static void read_png_rows(png_reader *r, bool transparent)
{
    image *out = r->job->out;
    const int64_t stride = out->width * (transparent ? 4 : 3);
    const int passes = png_set_interlace_handling(r->png);
    const bool by_row = transparent && passes == 1;
    png_read_update_info(r->png, r->info);
    if ((int64_t)png_get_rowbytes(r->png, r->info) != stride) png_error(r->png, "unexpected row length");
    if (transparent) r->rgba = png_malloc(r->png, (size_t)(stride * (by_row ? 1 : out->height)));
    uint8_t *rows = transparent ? r->rgba : out->rgb;
    for (int pass = 0; pass < passes; pass++) {
        for (int64_t y = 0; y < out->height; y++) {
            png_read_row(r->png, by_row ? rows : rows + y * stride, NULL);
            if (by_row) image_lay_over(out->rgb + 3 * y * out->width, rows, out->width, r->job);
        }
    }
    if (transparent && !by_row) image_lay_over(out->rgb, rows, out->width * out->height, r->job);
    png_read_end(r->png, r->info);
}

/* False when libpng stopped; everything that changes after setjmp lives in *r. */
static bool read_png(png_reader *r)
{
    if (setjmp(png_jmpbuf(r->png))) return false;
    const image_job *job = r->job;
    png_set_read_fn(r->png, r, take_bytes);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* the next lines know better */
    png_read_info(r->png, r->info);
    int64_t width = png_get_image_width(r->png, r->info), height = png_get_image_height(r->png, r->info);
    const int bits = png_get_channels(r->png, r->info) * png_get_bit_depth(r->png, r->info);
    r->status = image_job_alloc(job, width, height, 8 * DEFLATE_RATIO_MAX / bits);
    if (r->status != DT_OK) return true;
    read_png_rows(r, ask_for_rgb(r));
    if (r->exif_size) job->origin->orientation = image_exif_orientation(r->exif, r->exif_size);
    return true;
}

dt_status image_decode_png(const image_job *job)
{
    job->origin->format = IMAGE_PNG;
    png_reader r = {.job = job, .chunk_end = PNG_SIGNATURE_BYTES};
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r.message, stop_png, ignore_warning);
    if (r.png) r.info = png_create_info_struct(r.png);
    if (!r.info) {
        png_destroy_read_struct(&r.png, NULL, NULL);
        return error_set(job->err, DT_ERR_MEMORY, "%s: no memory to read a PNG", job->name);
    }
    bool whole = read_png(&r);
    png_free(r.png, r.rgba);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (!whole) return image_job_broken(job, r.message);
    return r.status;
}

/* ---- texts ---- */

/* Of a chunk's content: the key, a zero byte, the value. */
static bool take_text(char *value, size_t room, const uint8_t *content, size_t length, const char *key)
{
    const size_t key_bytes = strlen(key) + 1, value_bytes = length - key_bytes;
    if (length < key_bytes || memcmp(content, key, key_bytes) != 0 || value_bytes >= room) return false;
    memcpy(value, content + key_bytes, value_bytes);
    value[value_bytes] = '\0';
    return true;
}

bool image_png_text(char *value, size_t room, const uint8_t *data, size_t size, const char *key)
{
    if (size < PNG_SIGNATURE_BYTES || png_sig_cmp(data, 0, PNG_SIGNATURE_BYTES) != 0) return false;
    for (size_t at = PNG_SIGNATURE_BYTES; size - at >= PNG_CHUNK_BYTES;) {
        const uint8_t *type = data + at + 4;
        const size_t length = image_big_endian(data + at, 4);
        if (length > size - at - PNG_CHUNK_BYTES || memcmp(type, "IDAT", 4) == 0) return false;
        if (memcmp(type, "tEXt", 4) == 0 && take_text(value, room, type + 4, length, key))
            return crc32(0, type, (uInt)(4 + length)) == image_big_endian(type + 4 + length, 4);
        at += PNG_CHUNK_BYTES + length;
    }
    return false;
}

/* ---- writing ---- */

typedef struct png_writer {
    png_structp png;
    png_infop info;
    char message[DT_TEXT_MAX];
    uint8_t *bytes;
    size_t size, capacity;
} png_writer;

static void put_bytes(png_structp png, png_bytep bytes, size_t size)
{
    png_writer *w = png_get_io_ptr(png);
    if (size > w->capacity - w->size) {
        size_t capacity = 2 * w->capacity + size + 4096;
        uint8_t *larger = realloc(w->bytes, capacity);
        if (!larger) png_error(png, "no memory");
        w->bytes = larger;
        w->capacity = capacity;
    }
    memcpy(w->bytes + w->size, bytes, size);
    w->size += size;
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text > 126) return false;
    }
    return true;
}

static void set_text(png_writer *w, const image_text *text)
{
    png_text entry = {0};
    entry.compression = is_ascii(text->value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    entry.key = (char *)text->key;
    entry.text = (char *)text->value;
    png_set_text(w->png, w->info, &entry, 1);
}

static bool write_png(png_writer *w, const uint8_t *rgb, int64_t width, int64_t height, const image_text *texts,
                      int64_t text_count)
{
    if (setjmp(png_jmpbuf(w->png))) return false;
    png_set_write_fn(w->png, w, put_bytes, flush_nothing);
    png_set_IHDR(w->png, w->info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    for (int64_t i = 0; i < text_count; i++) set_text(w, &texts[i]);
    png_write_info(w->png, w->info);
    for (int64_t y = 0; y < height; y++) png_write_row(w->png, rgb + y * width * 3);
    png_write_end(w->png, w->info);
    return true;
}

dt_status image_encode_png(uint8_t **out, size_t *out_size, const uint8_t *rgb, int64_t width, int64_t height,
                           const image_text *texts, int64_t text_count, dt_error *err)
{
    *out = NULL;
    *out_size = 0;
    if (width < 1 || height < 1 || width > IMAGE_PIXEL_LIMIT / height) {
        return error_set(err, DT_ERR_ARG, "a PNG of %lld x %lld pixels was asked for, 1 to %lld pixels are possible",
                         (long long)width, (long long)height, (long long)IMAGE_PIXEL_LIMIT);
    }
    png_writer w = {0};
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w.message, stop_png, ignore_warning);
    if (w.png) w.info = png_create_info_struct(w.png);
    if (!w.info) {
        png_destroy_write_struct(&w.png, NULL);
        return error_set(err, DT_ERR_MEMORY, "no memory to write a PNG");
    }
    bool whole = write_png(&w, rgb, width, height, texts, text_count);
    png_destroy_write_struct(&w.png, &w.info);
    if (!whole) {
        free(w.bytes);
        return error_set(err, DT_ERR_MEMORY, "no memory to write a PNG: %s", w.message);
    }
    *out = w.bytes;
    *out_size = w.size;
    return DT_OK;
}

dt_status image_write_png(const char *path, const uint8_t *rgb, int64_t width, int64_t height, const image_text *texts,
                          int64_t text_count, dt_error *err)
{
    uint8_t *bytes;
    size_t size;
    dt_status status = image_encode_png(&bytes, &size, rgb, width, height, texts, text_count, err);
    if (status == DT_OK) status = file_write_atomic(path, bytes, size, err);
    free(bytes);
    return status;
}
