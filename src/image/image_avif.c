/* AVIF through libavif (of a sequence the first frame), turned as its own boxes say: where those and EXIF disagree, the format
 * lets the boxes count. Colours as Pillow has them; colour profiles are ignored as everywhere. Of damaged data dav1d, which
 * decodes them, prints a line to stderr; libavif 0.11 has no way to stop it.
 *
 * libavif takes memory and time by numbers in the file before it compares them with anything, and a picture's data may hold any
 * number of frames that are never shown. So the boxes are looked at first, and so are the data when libavif asks for them. */
#include <stdlib.h>
#include <string.h>

#include <avif/avif.h>

#include "image/image_codec.h"

/* Bytes of boxes. Each item takes some 20 of the list of items, and libavif 1.6 KB and a search through all others; a picture in
 * tiles has an item for each, and a decoder of 0.5 MB. A frame of a sequence takes 4 bytes of its tables. Data among the boxes
 * are never asked for, so that nobody looks at their frames. What is said of a sequence may hold lists of items too. */
enum { ITEMS_MAX = 1 << 13, DATA_MAX = 256, DESCRIPTION_MAX = 1 << 16, PROPERTIES_MAX = 1 << 22 };
enum { SEQUENCE_MAX = 1 << 16, FRAMES_MAX = 16 };

typedef struct avif_reader {
    const image_job *job;
    avifDecoder *decoder;
    avifIO io;
    bool decoding; /* what is asked for is data of pictures, not boxes */
    bool crowded;  /* and holds too many frames */
    uint8_t *row;
} avif_reader;

/* ---- boxes ---- */

typedef struct box {
    const uint8_t *type, *data;
    size_t size;
} box;

/* The box at *at, which moves behind it; false at the end, and where a box does not fit. */
static bool next_box(box *b, const uint8_t *data, size_t size, size_t *at)
{
    if (size - *at < 8) return false;
    uint64_t length = image_big_endian(data + *at, 4);
    size_t head = 8;
    if (length == 1 && size - *at >= 16) {
        length = (uint64_t)image_big_endian(data + *at + 8, 4) << 32 | image_big_endian(data + *at + 12, 4);
        head = 16;
    }
    if (length == 0) length = size - *at; /* to the end */
    if (length < head || length > size - *at) return false;
    *b = (box){data + *at + 4, data + *at + head, (size_t)length - head};
    *at += (size_t)length;
    return true;
}

static bool box_is(const box *b, const char *type)
{
    return !memcmp(b->type, type, 4);
}

static bool meta_is_small(const box *meta)
{
    enum { FULL_BOX = 4 };
    size_t rest = meta->size, properties = 0;
    box b, inner;
    for (size_t at = FULL_BOX; at <= meta->size && next_box(&b, meta->data, meta->size, &at);) {
        if ((box_is(&b, "iinf") && b.size > ITEMS_MAX) || (box_is(&b, "idat") && b.size > DATA_MAX)) return false;
        if (!box_is(&b, "iprp")) continue;
        for (size_t in = 0; next_box(&inner, b.data, b.size, &in);)
            if (box_is(&inner, "ipco")) properties += inner.size; /* colour profiles are in there */
    }
    rest -= properties < rest ? properties : rest;
    return rest <= DESCRIPTION_MAX && properties <= PROPERTIES_MAX;
}

static bool boxes_are_small(const image_job *job)
{
    box b;
    for (size_t at = 0; next_box(&b, job->data, job->size, &at);)
        if ((box_is(&b, "meta") && !meta_is_small(&b)) || (box_is(&b, "moov") && b.size > DESCRIPTION_MAX))
            return false;
    return true;
}

/* ---- data of pictures ---- */

/* Walks the units (OBUs) of AV1 data: a byte of type and flags, maybe another, the length in groups of 7 bits. */
static bool has_few_frames(const uint8_t *data, size_t size)
{
    enum { FRAME_HEADER = 3, FRAME = 6, HAS_SIZE = 2, HAS_EXTENSION = 4 };
    int frames = 0;
    for (size_t at = 0; at < size;) {
        const uint8_t head = data[at];
        const int type = head >> 3 & 15;
        uint64_t length = 0;
        at += head & HAS_EXTENSION ? 2 : 1;
        if (type == FRAME_HEADER || type == FRAME) frames++;
        if (frames > FRAMES_MAX) return false;
        if (!(head & HAS_SIZE)) return true; /* up to the end */
        for (int shift = 0; at < size && shift < 56; shift += 7) {
            length |= (uint64_t)(data[at] & 127) << shift;
            if (!(data[at++] & 128)) break;
        }
        if (at >= size || length > size - at) return true;
        at += (size_t)length;
    }
    return true;
}

static avifResult take_bytes(avifIO *io, uint32_t flags, uint64_t offset, size_t size, avifROData *out)
{
    avif_reader *r = io->data;
    if (flags) return AVIF_RESULT_IO_ERROR;
    if (offset > r->job->size) return AVIF_RESULT_TRUNCATED_DATA;
    const size_t left = r->job->size - (size_t)offset;
    *out = (avifROData){r->job->data + offset, size < left ? size : left};
    r->crowded = r->crowded || (r->decoding && !has_few_frames(out->data, out->size));
    return r->crowded ? AVIF_RESULT_IO_ERROR : AVIF_RESULT_OK;
}

static dt_status broken(const avif_reader *r, avifResult result)
{
    if (r->crowded) return image_job_broken(r->job, "more than one frame of a picture");
    if (result == AVIF_RESULT_OUT_OF_MEMORY)
        return error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory to read an AVIF", r->job->name);
    return image_job_broken(r->job, r->decoder->diag.error[0] ? r->decoder->diag.error : avifResultToString(result));
}

/* ---- the picture ---- */

/* The EXIF orientation that is the same as turning left by quarters, then mirroring. */
static int orientation_of(const avifImage *im)
{
    static const int turned[4] = {1, 8, 3, 6}, then_upside[4] = {4, 5, 2, 7}, then_sideways[4] = {2, 7, 4, 5};
    const int quarters = im->transformFlags & AVIF_TRANSFORM_IROT ? im->irot.angle & 3 : 0;
    if (!(im->transformFlags & AVIF_TRANSFORM_IMIR)) return turned[quarters];
    return im->imir.mode ? then_sideways[quarters] : then_upside[quarters];
}

static void lay_over_rows(avif_reader *r)
{
    const avifImage *im = r->decoder->image;
    const image *out = r->job->out;
    const int64_t max = ((int64_t)1 << im->depth) - 1;
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *alpha = im->alphaPlane + y * im->alphaRowBytes;
        uint8_t *rgb = out->rgb + 3 * y * out->width;
        for (int64_t x = 0; x < out->width; x++) {
            uint16_t deep = alpha[x];
            if (im->depth > 8) memcpy(&deep, alpha + 2 * x, 2);
            memcpy(r->row + 4 * x, rgb + 3 * x, 3);
            r->row[4 * x + 3] = (uint8_t)((deep * 255 + max / 2) / max);
        }
        if (im->alphaPremultiplied)
            image_lay_multiplied(rgb, r->row, out->width, r->job);
        else
            image_lay_over(rgb, r->row, out->width, r->job);
    }
}

static dt_status convert(avif_reader *r)
{
    const image *out = r->job->out;
    const avifImage *im = r->decoder->image;
    avifRGBImage rgb;
    if (im->width != out->width || im->height != out->height)
        return image_job_broken(r->job, "its picture has another size than its header says");
    avifImage opaque = *im;
    opaque.alphaPlane = NULL; /* else the colours are laid over black */
    avifRGBImageSetDefaults(&rgb, &opaque);
    rgb.depth = 8;
    rgb.format = AVIF_RGB_FORMAT_RGB;
    rgb.pixels = out->rgb;
    rgb.rowBytes = (uint32_t)out->width * 3;
    const avifResult result = avifImageYUVToRGB(&opaque, &rgb);
    if (result != AVIF_RESULT_OK) return broken(r, result);
    if (!im->alphaPlane) return DT_OK;
    r->row = malloc((size_t)out->width * 4);
    if (!r->row) return error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory for a row", r->job->name);
    lay_over_rows(r);
    return DT_OK;
}

static dt_status read_avif(avif_reader *r)
{
    const image_job *job = r->job;
    avifDecoder *d = r->decoder;
    d->ignoreExif = d->ignoreXMP = AVIF_TRUE;
    d->maxThreads = 1;
    d->imageCountLimit = SEQUENCE_MAX;
    d->strictFlags = AVIF_STRICT_ALPHA_ISPE_REQUIRED; /* as Pillow has it */
    avifDecoderSetIO(d, &r->io);
    avifResult result = avifDecoderParse(d);
    if (result != AVIF_RESULT_OK) return broken(r, result);
    if (image_job_alloc(job, d->image->width, d->image->height, IMAGE_PIXEL_LIMIT) != DT_OK) return job->err->status;
    job->origin->orientation = orientation_of(d->image);
    d->imageSizeLimit = d->image->width * d->image->height; /* of the data, which have a size of their own */
    r->decoding = true;
    result = avifDecoderNextImage(d);
    if (result != AVIF_RESULT_OK) return broken(r, result);
    job->origin->grey = d->image->yuvFormat == AVIF_PIXEL_FORMAT_YUV400;
    return convert(r);
}

bool image_is_avif(const uint8_t *data, size_t size)
{
    const avifROData start = {data, size};
    return size >= 12 && !memcmp(data + 4, "ftyp", 4) && avifPeekCompatibleFileType(&start);
}

dt_status image_decode_avif(const image_job *job)
{
    avif_reader r = {.job = job};
    job->origin->format = IMAGE_AVIF;
    if (!boxes_are_small(job)) return image_job_broken(job, "its boxes of description are too large");
    r.io = (avifIO){.read = take_bytes, .sizeHint = job->size, .persistent = AVIF_TRUE, .data = &r};
    r.decoder = avifDecoderCreate();
    if (!r.decoder) return error_set(job->err, DT_ERR_MEMORY, "%s: no memory to read an AVIF", job->name);
    read_avif(&r);
    avifDecoderDestroy(r.decoder);
    free(r.row);
    return job->err->status;
}
