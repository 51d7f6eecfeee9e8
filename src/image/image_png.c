/* PNG through libpng, both ways. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

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

typedef struct png_reader {
    png_structp png;
    png_infop info;
    char message[DT_TEXT_MAX];
    const image_job *job;
    size_t at;     /* bytes read */
    uint8_t *rgba; /* pictures with transparency are read here first */
    dt_status status;
} png_reader;

static void take_bytes(png_structp png, png_bytep bytes, size_t size)
{
    png_reader *r = png_get_io_ptr(png);
    if (size > r->job->size - r->at) png_error(png, "the file is cut short");
    memcpy(bytes, r->job->data + r->at, size);
    r->at += size;
}

/* Notes what the file holds and asks for 8 bits a sample, RGB or, where there is transparency, RGBA. */
static bool ask_for_rgb(png_reader *r)
{
    image_origin *origin = r->job->origin;
    int type = png_get_color_type(r->png, r->info);
    bool transparent = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(r->png, r->info, PNG_INFO_tRNS);
    origin->format = IMAGE_PNG;
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
    int64_t stride = out->width * (transparent ? 4 : 3);
    uint8_t *rows = transparent ? r->rgba : out->rgb;
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    if ((int64_t)png_get_rowbytes(r->png, r->info) != stride) png_error(r->png, "unexpected row length");
    for (int pass = 0; pass < passes; pass++) {
        for (int64_t y = 0; y < out->height; y++) png_read_row(r->png, rows + y * stride, NULL);
    }
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
    r->status = image_job_alloc(job, width, height);
    if (r->status != DT_OK) return true;
    bool transparent = ask_for_rgb(r);
    if (transparent) r->rgba = png_malloc(r->png, (size_t)(width * height * 4));
    read_png_rows(r, transparent);
    if (transparent) image_lay_over(job->out->rgb, r->rgba, width * height, job);
    png_bytep exif;
    png_uint_32 exif_size;
    if (png_get_eXIf_1(r->png, r->info, &exif_size, &exif)) {
        job->origin->orientation = image_exif_orientation(exif, exif_size);
    }
    return true;
}

dt_status image_decode_png(const image_job *job)
{
    png_reader r = {.job = job};
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r.message, stop_png, ignore_warning);
    if (r.png) r.info = png_create_info_struct(r.png);
    if (!r.info) {
        png_destroy_read_struct(&r.png, NULL, NULL);
        return error_set(job->err, DT_ERR_MEMORY, "%s: no memory to read a PNG", job->name);
    }
    bool whole = read_png(&r);
    png_free(r.png, r.rgba);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (!whole) return error_set(job->err, DT_ERR_FORMAT, "%s: broken PNG: %s", job->name, r.message);
    return r.status;
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
        return error_set(err, DT_ERR_MEMORY, "writing a PNG failed: %s", w.message);
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
