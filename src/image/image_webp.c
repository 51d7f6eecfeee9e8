/* Still WebP pictures through libwebp. */
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>

#include "image/image_codec.h"

/* Walks the RIFF chunks (name, length, data padded to even) for the first EXIF. False when the file is shorter than it says. */
static bool read_chunks(const image_job *job)
{
    bool found = false;
    size_t end = (size_t)image_little_endian(job->data + 4, 4) + 8, at = 12;
    if (end > job->size || end < at) return false;
    while (end - at >= 8) {
        size_t length = image_little_endian(job->data + at + 4, 4);
        if (length > end - at - 8) return false;
        if (!found && memcmp(job->data + at, "EXIF", 4) == 0) {
            found = true;
            job->origin->orientation = image_exif_orientation(job->data + at + 8, length);
        }
        size_t padded = 8 + length + (length & 1);
        if (padded >= end - at) break;
        at += padded;
    }
    return true;
}

static bool decode_opaque(const image_job *job)
{
    size_t stride = (size_t)job->out->width * 3, bytes = stride * (size_t)job->out->height;
    return WebPDecodeRGBInto(job->data, job->size, job->out->rgb, bytes, (int)stride) != NULL;
}

static dt_status decode_alpha(bool *good, const image_job *job)
{
    int64_t pixels = job->out->width * job->out->height;
    uint8_t *rgba = malloc((size_t)pixels * 4);
    if (!rgba) return error_set(job->err, DT_ERR_MEMORY, "%s: no memory for %lld pixels", job->name, (long long)pixels);
    int stride = (int)job->out->width * 4;
    *good = WebPDecodeRGBAInto(job->data, job->size, rgba, (size_t)pixels * 4, stride) != NULL;
    if (*good) image_lay_over(job->out->rgb, rgba, pixels, job);
    free(rgba);
    return DT_OK;
}

dt_status image_decode_webp(const image_job *job)
{
    job->origin->format = IMAGE_WEBP;
    WebPBitstreamFeatures has;
    if (!read_chunks(job) || WebPGetFeatures(job->data, job->size, &has) != VP8_STATUS_OK) {
        return image_job_broken(job, "the file is cut short or its header is wrong");
    }
    if (has.has_animation) return error_set(job->err, DT_ERR_FORMAT, "%s: animated WebP is not read", job->name);
    dt_status status = image_job_alloc(job, has.width, has.height, IMAGE_PIXEL_LIMIT);
    if (status != DT_OK) return status;
    bool good = true;
    if (has.has_alpha) {
        status = decode_alpha(&good, job);
    } else {
        good = decode_opaque(job);
    }
    return good ? status : image_job_broken(job, "its data cannot be decoded");
}
