/* The first picture of a TIFF (or BigTIFF) through libtiff: strips and tiles, samples together or in planes, 1 to 16 bits, grey,
 * palette, RGB and CMYK, with or without alpha; packed by LZW, deflate, PackBits, JPEG or the fax codes. Other packings (each a
 * library more, some of which take what memory a file asks for) and samples that are no whole numbers are refused by name.
 *
 * libtiff keeps every entry of a directory, and entries may all claim the same bytes: 4096 of one MiB in a file of one MiB. So it
 * gets to see a directory of our own making behind the file, which has the needed entries only and no successor. Rows are read one
 * by one into 8-bit samples; the buffers of a strip are libtiff's and no larger than the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

#include "image/image_codec.h"

enum { HEAD_BYTES = 16, NEEDED_MAX = 32, TAIL_BYTES = 8 + NEEDED_MAX * 20 + 8, SAMPLES_MAX = 8, PLANES_MAX = 5 };

/* A tile that is larger than the picture is no larger than this. */
#define TILE_PIXELS_MAX ((int64_t)1 << 22)

/* What libtiff may take at once, above the size of the file. */
#define SINGLE_BYTES_MAX ((int64_t)1 << 26)

typedef struct tiff_reader {
    const image_job *job;
    TIFF *tiff;
    char message[DT_TEXT_MAX]; /* the first that libtiff had */
    /* What libtiff sees: the file with another head, then the directory. */
    uint8_t head[HEAD_BYTES], tail[TAIL_BYTES];
    size_t tail_at, tail_size, at;
    /* the picture */
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, compression;
    int plane[PLANES_MAX], plane_count; /* which samples are needed: colours, then alpha */
    bool alpha, multiplied;
    uint8_t *pixels; /* [height, width, plane_count] */
    uint8_t *row;    /* as libtiff gives it, or a tile */
    uint8_t (*palette)[3];
} tiff_reader;

/* ---- what libtiff sees of the file ---- */

/* The layout of a directory in TIFF and BigTIFF. */
typedef struct directory_layout {
    int offset_bytes, count_bytes, entry_bytes;
    size_t first_at; /* where the head says where the first directory is */
} directory_layout;

static bool is_needed(uint32_t tag)
{
    static const uint16_t needed[] = {TIFFTAG_IMAGEWIDTH,         TIFFTAG_IMAGELENGTH,      TIFFTAG_BITSPERSAMPLE,
                                      TIFFTAG_COMPRESSION,        TIFFTAG_PHOTOMETRIC,      TIFFTAG_FILLORDER,
                                      TIFFTAG_STRIPOFFSETS,       TIFFTAG_ORIENTATION,      TIFFTAG_SAMPLESPERPIXEL,
                                      TIFFTAG_ROWSPERSTRIP,       TIFFTAG_STRIPBYTECOUNTS,  TIFFTAG_PLANARCONFIG,
                                      TIFFTAG_GROUP3OPTIONS,      TIFFTAG_GROUP4OPTIONS,    TIFFTAG_PREDICTOR,
                                      TIFFTAG_COLORMAP,           TIFFTAG_TILEWIDTH,        TIFFTAG_TILELENGTH,
                                      TIFFTAG_TILEOFFSETS,        TIFFTAG_TILEBYTECOUNTS,   TIFFTAG_INKSET,
                                      TIFFTAG_EXTRASAMPLES,       TIFFTAG_SAMPLEFORMAT,     TIFFTAG_JPEGTABLES,
                                      TIFFTAG_YCBCRCOEFFICIENTS,  TIFFTAG_YCBCRSUBSAMPLING, TIFFTAG_YCBCRPOSITIONING,
                                      TIFFTAG_REFERENCEBLACKWHITE};
    _Static_assert(sizeof needed / sizeof *needed <= NEEDED_MAX, "room in the directory");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (needed[i] == tag) return true;
    return false;
}

static uint64_t number_in(const tiff_reader *r, const uint8_t *at, int bytes)
{
    const bool big = r->job->data[0] == 'M';
    if (bytes <= 4) return big ? image_big_endian(at, bytes) : image_little_endian(at, bytes);
    const uint64_t first = number_in(r, at, 4), second = number_in(r, at + 4, 4);
    return big ? first << 32 | second : second << 32 | first;
}

static void put_number(const tiff_reader *r, uint8_t *at, int bytes, uint64_t value)
{
    for (int i = 0; i < bytes; i++) at[r->job->data[0] == 'M' ? bytes - 1 - i : i] = (uint8_t)(value >> 8 * i);
}

/* Copies the needed entries of the first directory, each tag once. False where the file is cut short. */
static bool make_directory(tiff_reader *r)
{
    const image_job *job = r->job;
    const bool big = job->size >= HEAD_BYTES && number_in(r, job->data + 2, 2) == TIFF_VERSION_BIG;
    const directory_layout d = big ? (directory_layout){8, 8, 20, 8} : (directory_layout){4, 2, 12, 4};
    bool seen[UINT8_MAX + 1][UINT8_MAX + 1] = {0};
    const uint64_t first = number_in(r, job->data + d.first_at, d.offset_bytes);
    if (first > job->size || job->size - first < (uint64_t)d.count_bytes) return false;
    const uint8_t *entry = job->data + first + d.count_bytes;
    const uint64_t room = (job->size - first - (uint64_t)d.count_bytes) / (uint64_t)d.entry_bytes;
    uint64_t count = number_in(r, job->data + first, d.count_bytes), kept = 0;
    if (count > room) return false;
    for (; count > 0 && kept < NEEDED_MAX; count--, entry += d.entry_bytes) {
        const uint32_t tag = (uint32_t)number_in(r, entry, 2);
        if (!is_needed(tag) || seen[tag >> 8][tag & 255]) continue;
        seen[tag >> 8][tag & 255] = true;
        memcpy(r->tail + d.count_bytes + kept++ * (size_t)d.entry_bytes, entry, (size_t)d.entry_bytes);
    }
    put_number(r, r->tail, d.count_bytes, kept);
    r->tail_size = (size_t)d.count_bytes + kept * (size_t)d.entry_bytes + (size_t)d.offset_bytes; /* no successor: 0 */
    r->tail_at = (job->size + 7) / 8 * 8;
    memcpy(r->head, job->data, job->size < HEAD_BYTES ? job->size : HEAD_BYTES);
    put_number(r, r->head + d.first_at, d.offset_bytes, r->tail_at);
    return true;
}

static uint8_t byte_at(const tiff_reader *r, size_t at, size_t head)
{
    if (at < head) return r->head[at];
    if (at < r->job->size) return r->job->data[at];
    return at < r->tail_at ? 0 : r->tail[at - r->tail_at];
}

static tmsize_t take_bytes(thandle_t handle, void *bytes, tmsize_t count)
{
    tiff_reader *r = handle;
    const size_t end = r->tail_at + r->tail_size, head = r->job->size < HEAD_BYTES ? r->job->size : HEAD_BYTES;
    const size_t n = r->at >= end ? 0 : (size_t)count < end - r->at ? (size_t)count : end - r->at;
    if (r->at >= head && r->at + n <= r->job->size)
        memcpy(bytes, r->job->data + r->at, n);
    else
        for (size_t i = 0; i < n; i++) ((uint8_t *)bytes)[i] = byte_at(r, r->at + i, head);
    r->at += n;
    return (tmsize_t)n;
}

static tmsize_t take_none(thandle_t handle, void *bytes, tmsize_t count)
{
    (void)handle, (void)bytes, (void)count;
    return -1;
}

static toff_t seek_to(thandle_t handle, toff_t offset, int whence)
{
    tiff_reader *r = handle;
    const toff_t from = whence == SEEK_CUR ? r->at : whence == SEEK_END ? r->tail_at + r->tail_size : 0;
    r->at = (size_t)(from + offset);
    return r->at;
}

static int close_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t seen_size(thandle_t handle)
{
    const tiff_reader *r = handle;
    return r->tail_at + r->tail_size;
}

static int note_error(TIFF *tiff, void *user, const char *module, const char *format, va_list values)
{
    tiff_reader *r = user;
    (void)tiff, (void)module;
    if (!r->message[0]) vsnprintf(r->message, sizeof r->message, format, values);
    return 1;
}

/* libjpeg goes on after damage and warns. Other warnings are of things that do no harm. */
static int note_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list values)
{
    return module && !strcmp(module, "JPEGLib") ? note_error(tiff, user, module, format, values) : 1;
}

static dt_status open_tiff(tiff_reader *r)
{
    if (!make_directory(r)) return image_job_broken(r->job, "the file is cut short");
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory to read a TIFF", r->job->name);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)(SINGLE_BYTES_MAX + (int64_t)r->job->size));
    TIFFOpenOptionsSetErrorHandlerExtR(options, note_error, r);
    TIFFOpenOptionsSetWarningHandlerExtR(options, note_warning, r);
    r->tiff =
        TIFFClientOpenExt("", "rmc", r, take_bytes, take_none, seek_to, close_nothing, seen_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return r->tiff ? DT_OK : image_job_broken(r->job, r->message[0] ? r->message : "its directory cannot be read");
}

/* ---- what the file holds ---- */

/* How many bits one bit of a packing makes at most; 0: a packed row may be as good as nothing. */
typedef struct packing {
    uint16_t number;
    int64_t ratio;
} packing;

static const packing *find_packing(uint16_t number)
{
    static const packing known[] = {
        {COMPRESSION_NONE, 1},       {COMPRESSION_LZW, 4096 * 8 / 9}, {COMPRESSION_ADOBE_DEFLATE, 1032},
        {COMPRESSION_DEFLATE, 1032}, {COMPRESSION_PACKBITS, 64},      {COMPRESSION_JPEG, 8 * 512},
        {COMPRESSION_CCITTRLE, 0},   {COMPRESSION_CCITTRLEW, 0},      {COMPRESSION_CCITTFAX3, 0},
        {COMPRESSION_CCITTFAX4, 0}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number) return &known[i];
    return NULL;
}

static dt_status refuse(const tiff_reader *r, const char *what, unsigned number)
{
    return error_set(r->job->err, DT_ERR_FORMAT, "%s: a TIFF of %s %u is not read", r->job->name, what, number);
}

/* How many samples make a colour; 0: such pictures are not read. libtiff unpacks YCbCr of JPEG to RGB. */
static int colour_samples(tiff_reader *r)
{
    uint16_t inks = INKSET_CMYK;
    switch (r->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK: return 1;
    case PHOTOMETRIC_PALETTE: return r->bits <= 8 ? 1 : 0;
    case PHOTOMETRIC_RGB: return 3;
    case PHOTOMETRIC_SEPARATED:
        TIFFGetFieldDefaulted(r->tiff, TIFFTAG_INKSET, &inks);
        return inks == INKSET_CMYK ? 4 : 0;
    case PHOTOMETRIC_YCBCR:
        if (r->compression != COMPRESSION_JPEG || r->planar != PLANARCONFIG_CONTIG) return 0;
        TIFFSetField(r->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        return 3;
    default: return 0;
    }
}

/* Alpha is the first sample behind the colours, where the file says so. */
static dt_status find_samples(tiff_reader *r)
{
    uint16_t extra_count = 0, *extra = NULL, format = SAMPLEFORMAT_UINT;
    const int colours = colour_samples(r);
    if (!colours) return refuse(r, "colours", r->photometric);
    if (r->bits != 1 && r->bits != 2 && r->bits != 4 && r->bits != 8 && r->bits != 16)
        return refuse(r, "bits a sample", r->bits);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLEFORMAT, &format);
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID) return refuse(r, "sample format", format);
    if (r->samples < colours || r->samples > SAMPLES_MAX) return refuse(r, "samples a pixel", r->samples);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra);
    r->alpha = r->samples > colours && extra_count > 0 && extra[0] != EXTRASAMPLE_UNSPECIFIED;
    r->multiplied = r->alpha && extra[0] == EXTRASAMPLE_ASSOCALPHA;
    r->plane_count = colours + (r->alpha ? 1 : 0);
    for (int i = 0; i < r->plane_count; i++) r->plane[i] = i;
    return DT_OK;
}

/* Strips that lie over each other would be unpacked again and again. */
static bool strips_fit(const tiff_reader *r)
{
    uint64_t *counts = NULL, sum = 0;
    const uint32_t strips = TIFFIsTiled(r->tiff) ? TIFFNumberOfTiles(r->tiff) : TIFFNumberOfStrips(r->tiff);
    TIFFGetField(r->tiff, TIFFIsTiled(r->tiff) ? TIFFTAG_TILEBYTECOUNTS : TIFFTAG_STRIPBYTECOUNTS, &counts);
    for (uint32_t i = 0; counts && i < strips && sum <= r->job->size; i++)
        sum = counts[i] > r->job->size ? UINT64_MAX : sum + counts[i];
    return counts && sum <= r->job->size;
}

static dt_status read_header(tiff_reader *r)
{
    const image_job *job = r->job;
    uint16_t orientation = 1;
    TIFFGetField(r->tiff, TIFFTAG_IMAGEWIDTH, &r->width);
    TIFFGetField(r->tiff, TIFFTAG_IMAGELENGTH, &r->height);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_BITSPERSAMPLE, &r->bits);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLESPERPIXEL, &r->samples);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_PLANARCONFIG, &r->planar);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_COMPRESSION, &r->compression);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_ORIENTATION, &orientation);
    if (!TIFFGetField(r->tiff, TIFFTAG_PHOTOMETRIC, &r->photometric))
        return image_job_broken(job, "it does not say what its colours are");
    const packing *p = find_packing(r->compression);
    if (!p) return refuse(r, "compression", r->compression);
    if (find_samples(r) != DT_OK) return job->err->status;
    const int64_t per_byte = p->ratio ? 8 * p->ratio / (r->bits * r->samples) : IMAGE_PIXEL_LIMIT;
    if (image_job_alloc(job, r->width, r->height, per_byte > 0 ? per_byte : 1) != DT_OK) return job->err->status;
    if (!strips_fit(r)) return image_job_broken(job, "its strips or tiles are larger than the file");
    job->origin->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    job->origin->deep = r->bits == 16;
    job->origin->grey = r->photometric <= PHOTOMETRIC_MINISBLACK;
    job->origin->cmyk = r->photometric == PHOTOMETRIC_SEPARATED;
    job->origin->palette = r->photometric == PHOTOMETRIC_PALETTE;
    return DT_OK;
}

/* ---- reading samples ---- */

/* Sample number `at` of a row as 8 bits; of a palette its number. */
static uint8_t sample_at(const tiff_reader *r, const uint8_t *row, int64_t at)
{
    uint16_t deep;
    if (r->bits == 8) return row[at];
    if (r->bits == 16) {
        memcpy(&deep, row + 2 * at, 2);
        return (uint8_t)((deep + 128) / 257);
    }
    const int per_byte = 8 / r->bits, max = (1 << r->bits) - 1;
    const int value = row[at / per_byte] >> (8 - r->bits * (int)(at % per_byte + 1)) & max;
    return (uint8_t)(r->photometric == PHOTOMETRIC_PALETTE ? value : value * 255 / max);
}

/* Spreads `count` pixels of a row of all samples, or of the one sample `plane`, to the picture's pixels from (x, y) on. */
static void spread(const tiff_reader *r, const uint8_t *row, int plane, int64_t x, int64_t y, int64_t count)
{
    const int n = r->plane_count;
    uint8_t *pixels = r->pixels + (y * r->width + x) * n;
    for (int64_t i = 0; i < count; i++) {
        if (r->planar == PLANARCONFIG_SEPARATE)
            pixels[i * n + plane] = sample_at(r, row, i);
        else
            for (int p = 0; p < n; p++) pixels[i * n + p] = sample_at(r, row, i * r->samples + r->plane[p]);
    }
}

static dt_status failed(const tiff_reader *r)
{
    return image_job_broken(r->job, r->message[0] ? r->message : "its data cannot be decoded");
}

/* Bytes of a row of `pixels`, as far as libtiff should give them. */
static int64_t row_bytes(const tiff_reader *r, int64_t pixels)
{
    return (pixels * (r->planar == PLANARCONFIG_SEPARATE ? 1 : r->samples) * r->bits + 7) / 8;
}

static bool take_row(tiff_reader *r, int64_t bytes)
{
    r->row = malloc((size_t)bytes);
    if (!r->row) error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory for its rows", r->job->name);
    return r->row;
}

static dt_status read_strips(tiff_reader *r)
{
    const int planes = r->planar == PLANARCONFIG_SEPARATE ? r->plane_count : 1;
    const int64_t bytes = row_bytes(r, r->width);
    if (TIFFScanlineSize64(r->tiff) != (uint64_t)bytes) return image_job_broken(r->job, "unexpected row length");
    if (!take_row(r, bytes)) return r->job->err->status;
    for (int plane = 0; plane < planes; plane++)
        for (uint32_t y = 0; y < r->height; y++) {
            if (TIFFReadScanline(r->tiff, r->row, y, (uint16_t)plane) != 1 || r->message[0]) return failed(r);
            spread(r, r->row, plane, 0, y, r->width);
        }
    return DT_OK;
}

/* One tile's rows, as far as they lie in the picture. */
static void spread_tile(const tiff_reader *r, int plane, uint32_t x, uint32_t y, uint32_t tile_width,
                        uint32_t tile_height)
{
    const int64_t columns = r->width - x < tile_width ? r->width - x : tile_width, stride = row_bytes(r, tile_width);
    for (int64_t i = 0; i < tile_height && y + i < r->height; i++)
        spread(r, r->row + i * stride, plane, x, y + i, columns);
}

static dt_status read_tiles(tiff_reader *r)
{
    const int planes = r->planar == PLANARCONFIG_SEPARATE ? r->plane_count : 1;
    uint32_t width = 0, height = 0;
    TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &width);
    TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &height);
    const int64_t padded = ((int64_t)r->width + 15) / 16 * 16 * (((int64_t)r->height + 15) / 16 * 16);
    const int64_t most = padded > TILE_PIXELS_MAX ? padded : TILE_PIXELS_MAX;
    if (width < 1 || height < 1 || width > most / height)
        return image_job_broken(r->job, "the size of its tiles is impossible");
    const int64_t bytes = row_bytes(r, width) * height;
    if (TIFFTileSize64(r->tiff) != (uint64_t)bytes) return image_job_broken(r->job, "unexpected size of a tile");
    if (!take_row(r, bytes)) return r->job->err->status;
    for (int plane = 0; plane < planes; plane++)
        for (int64_t y = 0; y < r->height; y += height)
            for (int64_t x = 0; x < r->width; x += width) {
                const bool read = TIFFReadTile(r->tiff, r->row, (uint32_t)x, (uint32_t)y, 0, (uint16_t)plane) == bytes;
                if (!read || r->message[0]) return failed(r);
                spread_tile(r, plane, (uint32_t)x, (uint32_t)y, width, height);
            }
    return DT_OK;
}

/* ---- samples to RGB ---- */

/* Maps have 16 bits, of which some writers fill the lower 8 only. */
static dt_status read_palette(tiff_reader *r)
{
    uint16_t *map[3] = {NULL};
    bool deep = false;
    if (!TIFFGetField(r->tiff, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2]) || !map[2])
        return image_job_broken(r->job, "its colour map is missing");
    r->palette = calloc(256, sizeof *r->palette);
    if (!r->palette) return error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory for its colours", r->job->name);
    for (int i = 0; i < 3 << r->bits; i++) deep = deep || map[i >> r->bits][i & ((1 << r->bits) - 1)] > 255;
    for (int i = 0; i < 1 << r->bits; i++)
        for (int c = 0; c < 3; c++) r->palette[i][c] = (uint8_t)(map[c][i] >> (deep ? 8 : 0));
    return DT_OK;
}

static void convert_pixel(const tiff_reader *r, uint8_t rgb[3], const uint8_t *samples)
{
    const uint8_t light = r->photometric == PHOTOMETRIC_MINISWHITE ? (uint8_t)(255 - samples[0]) : samples[0];
    uint8_t inks[4];
    switch (r->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK: memset(rgb, light, 3); break;
    case PHOTOMETRIC_PALETTE: memcpy(rgb, r->palette[samples[0]], 3); break;
    case PHOTOMETRIC_SEPARATED:
        for (int i = 0; i < 4; i++) inks[i] = (uint8_t)(255 - samples[i]);
        image_inks_to_rgb(rgb, inks, 1);
        break;
    default: memcpy(rgb, samples, 3); break;
    }
}

static void convert_pixels(tiff_reader *r)
{
    const int64_t count = (int64_t)r->width * r->height;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *samples = r->pixels + i * r->plane_count;
        uint8_t *rgb = r->job->out->rgb + 3 * i, rgba[4];
        convert_pixel(r, rgb, samples);
        if (!r->alpha) continue;
        memcpy(rgba, rgb, 3);
        rgba[3] = samples[r->plane_count - 1];
        if (r->multiplied)
            image_lay_multiplied(rgb, rgba, 1, r->job);
        else
            image_lay_over(rgb, rgba, 1, r->job);
    }
}

static dt_status read_picture(tiff_reader *r)
{
    if (read_header(r) != DT_OK) return r->job->err->status;
    if (r->photometric == PHOTOMETRIC_PALETTE && read_palette(r) != DT_OK) return r->job->err->status;
    r->pixels = malloc((size_t)r->width * r->height * (size_t)r->plane_count);
    if (!r->pixels) return error_set(r->job->err, DT_ERR_MEMORY, "%s: no memory for its pixels", r->job->name);
    if ((TIFFIsTiled(r->tiff) ? read_tiles(r) : read_strips(r)) == DT_OK) convert_pixels(r);
    return r->job->err->status;
}

bool image_is_tiff(const uint8_t *data, size_t size)
{
    return size >= 8 && (!memcmp(data, "II*\0", 4) || !memcmp(data, "MM\0*", 4) || !memcmp(data, "II+\0", 4) ||
                         !memcmp(data, "MM\0+", 4));
}

dt_status image_decode_tiff(const image_job *job)
{
    tiff_reader r = {.job = job};
    job->origin->format = IMAGE_TIFF;
    if (open_tiff(&r) == DT_OK) read_picture(&r);
    if (r.tiff) TIFFClose(r.tiff);
    free(r.pixels);
    free(r.row);
    free(r.palette);
    return job->err->status;
}
