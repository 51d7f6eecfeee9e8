/* The first frame of a GIF on its canvas, through giflib, record by record: reading the whole file, as giflib's own loop does,
 * would hold every frame. As Pillow and browsers do: a frame larger than the canvas enlarges it. What the frame leaves bare is
 * transparent, as in browsers. */
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "image/image_codec.h"

/* A code of 12 bits stands for fewer than 4096 pixels. */
enum { PIXELS_PER_BYTE = 4096 * 8 / 12 };

typedef struct gif_reader {
    const image_job *job;
    size_t at; /* of the next byte that giflib gets */
    GifFileType *gif;
    int transparent; /* index of that colour, or -1 */
    uint8_t colour[256][4];
    GifPixelType *row;
} gif_reader;

static int take_bytes(GifFileType *gif, GifByteType *bytes, int count)
{
    gif_reader *r = gif->UserData;
    const size_t left = r->job->size - r->at, n = (size_t)count < left ? (size_t)count : left;
    memcpy(bytes, r->job->data + r->at, n);
    r->at += n;
    return (int)n;
}

static dt_status broken(const gif_reader *r, int code)
{
    const char *why = GifErrorString(code);
    return image_job_broken(r->job, why ? why : "unknown error");
}

static dt_status refuse_record(const gif_reader *r)
{
    return broken(r, r->gif->Error);
}

/* Passes over an extension; of a graphics control block the transparent colour is kept. */
static bool read_extension(gif_reader *r)
{
    int code;
    GifByteType *block;
    GraphicsControlBlock control;
    if (DGifGetExtension(r->gif, &code, &block) == GIF_ERROR) return false;
    if (block && code == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
        r->transparent = control.TransparentColor;
    while (block)
        if (DGifGetExtensionNext(r->gif, &block) == GIF_ERROR) return false;
    return true;
}

/* Reads up to the first frame's header. */
static dt_status find_frame(gif_reader *r)
{
    GifRecordType type;
    for (;;) {
        if (DGifGetRecordType(r->gif, &type) == GIF_ERROR) return refuse_record(r);
        if (type == TERMINATE_RECORD_TYPE) return image_job_broken(r->job, "it holds no frame");
        if (type == IMAGE_DESC_RECORD_TYPE) return DGifGetImageDesc(r->gif) == GIF_OK ? DT_OK : refuse_record(r);
        if (type == EXTENSION_RECORD_TYPE && !read_extension(r)) return refuse_record(r);
    }
}

/* Colours that the table lacks are black. */
static dt_status read_colours(gif_reader *r)
{
    const ColorMapObject *map = r->gif->Image.ColorMap ? r->gif->Image.ColorMap : r->gif->SColorMap;
    if (!map) return image_job_broken(r->job, "it has no colours");
    for (int i = 0; i < 256; i++) {
        const GifColorType c = i < map->ColorCount ? map->Colors[i] : (GifColorType){0, 0, 0};
        memcpy(r->colour[i], (uint8_t[]){c.Red, c.Green, c.Blue, i == r->transparent ? 0 : 255}, 4);
    }
    r->job->origin->palette = true;
    return DT_OK;
}

/* Row number `stored` of an interlaced frame is seen here: every eighth row, those between, then every fourth, every second. */
static int64_t interlaced_row(int64_t stored, int64_t height)
{
    static const int first[4] = {0, 4, 2, 1}, step[4] = {8, 8, 4, 2};
    for (int pass = 0; pass < 3; pass++) {
        const int64_t rows = (height - first[pass] + step[pass] - 1) / step[pass];
        if (height <= first[pass]) continue;
        if (stored < rows) return first[pass] + stored * step[pass];
        stored -= rows;
    }
    return first[3] + stored * step[3];
}

static dt_status read_frame(gif_reader *r)
{
    const GifImageDesc *frame = &r->gif->Image;
    const image *out = r->job->out;
    r->row = malloc((size_t)frame->Width);
    if (!r->row) return error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory for a row", r->job->name);
    for (int64_t i = 0; i < frame->Height; i++) {
        if (DGifGetLine(r->gif, r->row, frame->Width) == GIF_ERROR) return refuse_record(r);
        const int64_t y = frame->Top + (frame->Interlace ? interlaced_row(i, frame->Height) : i);
        uint8_t *rgb = out->rgb + 3 * (y * out->width + frame->Left);
        for (int64_t x = 0; x < frame->Width; x++) image_lay_over(rgb + 3 * x, r->colour[r->row[x]], 1, r->job);
    }
    return DT_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static dt_status read_gif(gif_reader *r)
{
    static const uint8_t bare[4] = {0};
    const image *out = r->job->out;
    const GifImageDesc *frame = &r->gif->Image;
    if (find_frame(r) != DT_OK) return r->job->err->status;
    const int64_t width = larger(r->gif->SWidth, (int64_t)frame->Left + frame->Width);
    const int64_t height = larger(r->gif->SHeight, (int64_t)frame->Top + frame->Height);
    if (frame->Width < 1 || frame->Height < 1) return image_job_broken(r->job, "its first frame is empty");
    if (image_job_alloc(r->job, width, height, PIXELS_PER_BYTE) != DT_OK || read_colours(r) != DT_OK)
        return r->job->err->status;
    if (frame->Width < width || frame->Height < height)
        for (int64_t i = 0; i < out->width * out->height; i++) image_lay_over(out->rgb + 3 * i, bare, 1, r->job);
    return read_frame(r);
}

dt_status image_decode_gif(const image_job *job)
{
    gif_reader r = {.job = job, .transparent = NO_TRANSPARENT_COLOR};
    int code = 0;
    job->origin->format = IMAGE_GIF;
    r.gif = DGifOpen(&r, take_bytes, &code);
    if (!r.gif) return broken(&r, code);
    read_gif(&r);
    DGifCloseFile(r.gif, NULL);
    free(r.row);
    return job->err->status;
}
