/* JPEG through libjpeg-turbo, with its default (accurate) transform and upsampling, as Pillow uses it. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "image/image_codec.h"

/* A progressive file with more is an attack on the reader's time: a scan of a few bytes goes over the whole picture. */
enum { SCANS_MAX = 500 };
#define SCANNED_PIXELS_MAX ((int64_t)1 << 33)

enum { SCAN_MARKER = 0xda };

enum { HUFFMAN_PIXELS_PER_BYTE = 512 }; /* a block of 64 pixels takes a bit at least */

typedef struct jpeg_reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    jmp_buf stop;
    char message[JMSG_LENGTH_MAX];
    const image_job *job;
    dt_status status; /* a failure that is already told in job->err */
} jpeg_reader;

/* libjpeg must not return from here, and by default would end the program. */
static void stop_reading(j_common_ptr cinfo)
{
    jpeg_reader *r = cinfo->client_data;
    cinfo->err->format_message(cinfo, r->message);
    longjmp(r->stop, 1);
}

/* libjpeg goes on after damage and invents grey; such a picture must not be trained on. Harmless oddities pass: bytes between
 * segments, and spectral ranges that a scan of a sequential picture states and nothing reads (some writers leave zeros). */
static void judge_message(j_common_ptr cinfo, int level)
{
    int code = cinfo->err->msg_code;
    bool damage = code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
                  code == JWRN_ARITH_BAD_CODE || code == JWRN_MUST_RESYNC;
    if (level < 0 && damage) stop_reading(cinfo);
}

static void limit_scans(j_common_ptr cinfo)
{
    jpeg_reader *r = cinfo->client_data;
    const int64_t scans = r->cinfo.input_scan_number;
    const int64_t pixels = (int64_t)r->cinfo.image_width * r->cinfo.image_height;
    if (scans <= SCANS_MAX && scans * pixels <= SCANNED_PIXELS_MAX) return;
    snprintf(r->message, sizeof r->message, "more than %lld scans of its %lld pixels", (long long)scans - 1,
             (long long)pixels);
    longjmp(r->stop, 1);
}

static void print_nothing(j_common_ptr cinfo)
{
    (void)cinfo;
}

/* Walks the segments (marker, length, data) before the first scan for the first EXIF. libjpeg would copy them all. */
static void find_exif(const image_job *job)
{
    static const char exif[] = "Exif"; /* its zero byte belongs to it */
    const uint8_t *data = job->data;
    for (size_t at = 2; at + 4 <= job->size && data[at] == 0xff && data[at + 1] != SCAN_MARKER;) {
        const size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
        if (data[at + 1] == 0xff) { /* markers may be padded */
            at++;
            continue;
        }
        if (length < 2 || length > job->size - at - 2) return;
        if (data[at + 1] == JPEG_APP0 + 1 && length >= 2 + sizeof exif && !memcmp(data + at + 4, exif, sizeof exif)) {
            job->origin->orientation = image_exif_orientation(data + at + 4, length - 2);
            return;
        }
        at += 2 + length;
    }
}

static void note_origin(jpeg_reader *r)
{
    image_origin *origin = r->job->origin;
    origin->format = IMAGE_JPEG;
    origin->grey = r->cinfo.jpeg_color_space == JCS_GRAYSCALE;
    origin->cmyk = r->cinfo.jpeg_color_space == JCS_CMYK || r->cinfo.jpeg_color_space == JCS_YCCK;
    find_exif(r->job);
}

/* Four-ink files come from Adobe programs, which store the inks inverted: 255 is no ink. Readers (Pillow among them)
 * therefore take all of them so, with or without Adobe's marker, and so does this. */
static void read_rows(jpeg_reader *r)
{
    j_decompress_ptr cinfo = &r->cinfo;
    image *out = r->job->out;
    bool four = cinfo->out_color_space == JCS_CMYK;
    JSAMPARRAY inks = NULL; /* freed with cinfo */
    if (four) inks = cinfo->mem->alloc_sarray((j_common_ptr)cinfo, JPOOL_IMAGE, cinfo->output_width * 4, 1);
    while (cinfo->output_scanline < cinfo->output_height) {
        uint8_t *rgb = out->rgb + 3 * out->width * (int64_t)cinfo->output_scanline;
        jpeg_read_scanlines(cinfo, four ? inks : &rgb, 1);
        if (four) image_inks_to_rgb(rgb, inks[0], out->width);
    }
}

/* False when libjpeg stopped; everything that changes after setjmp lives in *r. */
static bool read_image(jpeg_reader *r)
{
    if (setjmp(r->stop)) return false;
    j_decompress_ptr cinfo = &r->cinfo;
    jpeg_create_decompress(cinfo);
    cinfo->progress = &r->progress;
    jpeg_mem_src(cinfo, r->job->data, r->job->size);
    jpeg_read_header(cinfo, TRUE);
    note_origin(r);
    const int64_t per_byte = cinfo->arith_code ? IMAGE_PIXEL_LIMIT : HUFFMAN_PIXELS_PER_BYTE;
    r->status = image_job_alloc(r->job, cinfo->image_width, cinfo->image_height, per_byte);
    if (r->status != DT_OK) return true;
    cinfo->out_color_space = r->job->origin->cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(cinfo);
    read_rows(r);
    jpeg_finish_decompress(cinfo);
    return true;
}

dt_status image_decode_jpeg(const image_job *job)
{
    jpeg_reader r = {.job = job};
    r.cinfo.client_data = &r;
    r.cinfo.err = jpeg_std_error(&r.error);
    r.error.error_exit = stop_reading;
    r.error.emit_message = judge_message;
    r.error.output_message = print_nothing;
    r.progress.progress_monitor = limit_scans;
    bool whole = read_image(&r);
    jpeg_destroy_decompress(&r.cinfo);
    return whole ? r.status : image_job_broken(job, r.message);
}
