/* Picture files for tests, made in memory with the codec libraries themselves. */
#ifndef TESTS_PICTURE_FILES_H
#define TESTS_PICTURE_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static inline void bytes_add(bytes *b, const void *data, size_t size)
{
    b->data = realloc(b->data, b->size + size + 1);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

/* "Exif\0\0" and a big-endian TIFF block with the one entry Orientation. */
enum { EXIF_BYTES = 32 };
static inline void exif_block(uint8_t out[EXIF_BYTES], int orientation)
{
    static const uint8_t block[EXIF_BYTES] = {'E',  'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1,
                                              0x01, 0x12, 0,   3,   0, 0, 0,   1,   0, 0,  0, 0, 0, 0, 0, 0};
    memcpy(out, block, EXIF_BYTES);
    out[25] = (uint8_t)orientation;
}

typedef struct jpeg_recipe {
    J_COLOR_SPACE space; /* of the samples given and of the file, except that RGB is stored as YCbCr */
    int components;
    int progressive;
    int orientation; /* 0: no EXIF */
} jpeg_recipe;

static inline bytes make_jpeg(const uint8_t *samples, int width, int height, jpeg_recipe recipe)
{
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr error;
    unsigned char *data = NULL;
    unsigned long size = 0;
    cinfo.err = jpeg_std_error(&error);
    jpeg_create_compress(&cinfo);
    jpeg_mem_dest(&cinfo, &data, &size);
    cinfo.image_width = (JDIMENSION)width;
    cinfo.image_height = (JDIMENSION)height;
    cinfo.input_components = recipe.components;
    cinfo.in_color_space = recipe.space;
    jpeg_set_defaults(&cinfo);
    if (recipe.space == JCS_CMYK) cinfo.write_Adobe_marker = TRUE;
    jpeg_set_quality(&cinfo, 98, TRUE);
    if (recipe.progressive) jpeg_simple_progression(&cinfo);
    jpeg_start_compress(&cinfo, TRUE);
    if (recipe.orientation) {
        uint8_t exif[EXIF_BYTES];
        exif_block(exif, recipe.orientation);
        jpeg_write_marker(&cinfo, JPEG_APP0 + 1, exif, EXIF_BYTES);
    }
    while (cinfo.next_scanline < cinfo.image_height) {
        JSAMPROW row = (JSAMPROW)samples + (size_t)cinfo.next_scanline * (size_t)width * (size_t)recipe.components;
        jpeg_write_scanlines(&cinfo, &row, 1);
    }
    jpeg_finish_compress(&cinfo);
    jpeg_destroy_compress(&cinfo);
    bytes out = {0};
    bytes_add(&out, data, size);
    free(data);
    return out;
}

typedef struct png_recipe {
    int type, depth;
    int interlace;
    int orientation;              /* 0: no EXIF */
    const png_color *palette;     /* with palette_count */
    const png_byte *transparency; /* palette_count values, or NULL */
    int palette_count;
} png_recipe;

static void png_to_bytes(png_structp png, png_bytep data, size_t size)
{
    bytes_add(png_get_io_ptr(png), data, size);
}

/* `rows`: packed rows of row_bytes bytes as PNG stores them. */
static inline bytes make_png(const uint8_t *rows, size_t row_bytes, int width, int height, png_recipe recipe)
{
    bytes out = {0};
    uint8_t exif[EXIF_BYTES];
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &out, png_to_bytes, NULL);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, recipe.depth, recipe.type, recipe.interlace, 0, 0);
    if (recipe.palette) png_set_PLTE(png, info, recipe.palette, recipe.palette_count);
    if (recipe.transparency) png_set_tRNS(png, info, recipe.transparency, recipe.palette_count, NULL);
    if (recipe.orientation) {
        exif_block(exif, recipe.orientation);
        png_set_eXIf_1(png, info, EXIF_BYTES - 6, exif + 6);
    }
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < height; y++) png_write_row(png, rows + (size_t)y * row_bytes);
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return out;
}

/* Lossless; with an orientation the simple file is wrapped into the extended layout. */
static inline bytes make_webp(const uint8_t *rgba, int width, int height, int orientation)
{
    uint8_t *data = NULL;
    bytes out = {0};
    size_t size = WebPEncodeLosslessRGBA(rgba, width, height, width * 4, &data);
    if (!orientation) {
        bytes_add(&out, data, size);
    } else {
        uint8_t extended[18] = {'V', 'P', '8', 'X', 10, 0, 0, 0, 0x08};
        extended[12] = (uint8_t)(width - 1);
        extended[15] = (uint8_t)(height - 1);
        uint8_t head[8] = {'E', 'X', 'I', 'F', EXIF_BYTES}, exif[EXIF_BYTES];
        exif_block(exif, orientation);
        bytes_add(&out, data, 12);
        bytes_add(&out, extended, sizeof extended);
        bytes_add(&out, data + 12, size - 12);
        bytes_add(&out, head, sizeof head);
        bytes_add(&out, exif, sizeof exif);
        uint32_t riff = (uint32_t)out.size - 8;
        for (int i = 0; i < 4; i++) out.data[4 + i] = (uint8_t)(riff >> (8 * i));
    }
    WebPFree(data);
    return out;
}

/* A PNG that begins with a correct header for width x height and then ends. */
static inline bytes make_lying_png(uint32_t width, uint32_t height)
{
    uint8_t pixel[3] = {0};
    bytes out = make_png(pixel, 3, 1, 1, (png_recipe){.type = PNG_COLOR_TYPE_RGB, .depth = 8});
    for (int i = 0; i < 4; i++) {
        out.data[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        out.data[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    uint32_t crc = 0xffffffffu; /* of "IHDR" and its 13 bytes */
    for (int i = 12; i < 29; i++) {
        crc ^= out.data[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
    }
    for (int i = 0; i < 4; i++) out.data[29 + i] = (uint8_t)(~crc >> (24 - 8 * i));
    return out;
}

#endif
