/* Draws the emoji of a colour bitmap font (Debian: fonts-noto-color-emoji) into class folders, as the demo's pictures.
 *
 * What to draw, and the group that becomes its class, is said by Unicode's emoji-test.txt (Debian: unicode-data).
 * HarfBuzz finds the one glyph of a sequence (flags, families, professions), FreeType its bitmap; laid on white with a
 * margin, made small by the library's bicubic filter, and saved as DIR/{train,heldout}/GROUP/U+XXXX-name.png. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ft2build.h>
#include FT_FREETYPE_H
#include <hb-ft.h>
#include <hb.h>

#include "file/folder.h"
#include "image/image.h"
#include "image/resample.h"

enum { CODES_MAX = 16, GROUPS_MAX = 16, NAME_MAX_BYTES = 96, SIDE_MAX = 512 };

typedef struct options {
    const char *font, *emoji_test, *output;
    int64_t size;
    double held_out;
    bool skin_tones;
} options;

typedef struct emoji {
    uint32_t code[CODES_MAX];
    int count;
    char name[NAME_MAX_BYTES];  /* as a file name: lower case, words joined by hyphens */
    char group[NAME_MAX_BYTES]; /* likewise */
} emoji;

typedef struct painter {
    FT_Library library;
    FT_Face face;
    hb_font_t *shaper;
    hb_buffer_t *buffer;
} painter;

enum { TRAIN, HELD_OUT, SPLITS };
static const char *const split_names[SPLITS] = {"train", "heldout"};

typedef struct tally {
    int64_t group_count, missing; /* missing: listed by Unicode, not one glyph of this font */
    char group[GROUPS_MAX][NAME_MAX_BYTES];
    int64_t drawn[GROUPS_MAX][SPLITS];
} tally;

/* ---- reading emoji-test.txt ---- */

/* "Smileys & Emotion" to "smileys-emotion"; letters beyond ASCII are left out. */
static void make_slug(char slug[NAME_MAX_BYTES], const char *text)
{
    int length = 0;
    for (; *text && *text != '\n' && length < NAME_MAX_BYTES - 1; text++) {
        bool letter = (*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9');
        bool capital = *text >= 'A' && *text <= 'Z';
        if (letter || capital)
            slug[length++] = (char)(capital ? *text - 'A' + 'a' : *text);
        else if (length > 0 && slug[length - 1] != '-' && !((unsigned char)*text & 0x80))
            slug[length++] = '-';
    }
    while (length > 0 && slug[length - 1] == '-') length--;
    slug[length] = '\0';
}

/* One line: "1F1E6 1F1E8 ; fully-qualified # X E2.0 flag: Ascension Island". False for any other kind of line; a line
 * with a new group only sets e->group. */
static bool parse_line(emoji *e, const char *line)
{
    if (strncmp(line, "# group: ", 9) == 0) make_slug(e->group, line + 9);
    const char *status = strstr(line, "; fully-qualified"), *comment = strchr(line, '#'), *name;
    if (line[0] == '#' || !status || !comment) return false;
    e->count = 0;
    for (char *end; line < status && e->count < CODES_MAX; line = end) {
        e->code[e->count] = (uint32_t)strtoul(line, &end, 16);
        if (end == line) break;
        e->count++;
    }
    name = strstr(comment, " E");
    name = name ? strchr(name + 2, ' ') : NULL;
    if (!name || e->count == 0) return false;
    make_slug(e->name, name + 1);
    return true;
}

static bool is_skin_tone(uint32_t code)
{
    return code >= 0x1F3FB && code <= 0x1F3FF;
}

static bool has_skin_tone(const emoji *e)
{
    for (int i = 0; i < e->count; i++)
        if (is_skin_tone(e->code[i])) return true;
    return false;
}

/* The side of the split, by a hash of the code points (FNV-1a, mixed as in MurmurHash3's last step), so that it depends
 * on neither order nor number of the others. Variants of one picture by gender or skin tone hash alike: near copies of
 * training images must not be held out. */
static int choose_split(const emoji *e, double held_out)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < e->count; i++) {
        uint32_t code = e->code[i];
        if (is_skin_tone(code) || code == 0x200D || code == 0xFE0F || code == 0x2640 || code == 0x2642) continue;
        if (code == 0x1F468 || code == 0x1F469) code = 0x1F9D1; /* man, woman: person */
        hash = (hash ^ code) * 0x100000001b3u;
    }
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    hash ^= hash >> 33;
    return (double)(hash >> 11) * 0x1p-53 < held_out ? HELD_OUT : TRAIN;
}

/* ---- drawing ---- */

static void painter_close(painter *p)
{
    if (p->buffer) hb_buffer_destroy(p->buffer);
    if (p->shaper) hb_font_destroy(p->shaper);
    if (p->face) FT_Done_Face(p->face);
    if (p->library) FT_Done_FreeType(p->library);
}

static dt_status painter_open(painter *p, const char *font, dt_error *err)
{
    int largest = 0;
    *p = (painter){0};
    if (FT_Init_FreeType(&p->library)) return error_set(err, DT_ERR_MEMORY, "FreeType does not start");
    if (FT_New_Face(p->library, font, 0, &p->face))
        return error_set(err, DT_ERR_IO, "%s: not a font, or not readable", font);
    if (!FT_HAS_COLOR(p->face) || p->face->num_fixed_sizes < 1)
        return error_set(err, DT_ERR_FORMAT, "%s: expected a font of colour bitmaps", font);
    for (int i = 1; i < p->face->num_fixed_sizes; i++)
        if (p->face->available_sizes[i].height > p->face->available_sizes[largest].height) largest = i;
    if (FT_Select_Size(p->face, largest)) return error_set(err, DT_ERR_FORMAT, "%s: its bitmaps are damaged", font);
    p->shaper = hb_ft_font_create_referenced(p->face);
    p->buffer = hb_buffer_create();
    return DT_OK;
}

/* The glyph of a sequence; 0 where the font has none of its own and would show several side by side. */
static uint32_t find_glyph(painter *p, const emoji *e)
{
    unsigned int count = 0;
    hb_buffer_reset(p->buffer);
    hb_buffer_set_flags(p->buffer, HB_BUFFER_FLAG_REMOVE_DEFAULT_IGNORABLES);
    hb_buffer_add_utf32(p->buffer, e->code, e->count, 0, e->count);
    hb_buffer_guess_segment_properties(p->buffer);
    hb_shape(p->shaper, p->buffer, NULL, 0);
    const hb_glyph_info_t *glyph = hb_buffer_get_glyph_infos(p->buffer, &count);
    return count == 1 ? glyph[0].codepoint : 0;
}

/* The bitmap over white in the middle of a square, with a margin of a thirty-second of its side. FreeType gives BGRA
 * with colours already multiplied by alpha: out = colour + (1 - alpha) white. */
static dt_status lay_on_white(image *out, const FT_Bitmap *bitmap, dt_error *err)
{
    int64_t width = bitmap->width, height = bitmap->rows, longest = width > height ? width : height;
    int64_t side = (longest * 16 + 14) / 15, left = (side - width) / 2, top = (side - height) / 2;
    if (side > SIDE_MAX)
        return error_set(err, DT_ERR_FORMAT, "a bitmap of the font is larger than %d pixels", SIDE_MAX);
    dt_status status = image_alloc(out, side, side, err);
    if (status != DT_OK) return status;
    memset(out->rgb, 255, (size_t)(3 * side * side));
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++) {
            const unsigned char *bgra = bitmap->buffer + y * bitmap->pitch + 4 * x;
            uint8_t *rgb = out->rgb + 3 * ((top + y) * side + left + x);
            for (int c = 0; c < 3; c++) {
                int sum = bgra[2 - c] + 255 - bgra[3];
                rgb[c] = (uint8_t)(sum > 255 ? 255 : sum);
            }
        }
    }
    return DT_OK;
}

static dt_status draw(image *out, painter *p, uint32_t glyph, int64_t size, dt_error *err)
{
    image large = {0};
    if (FT_Load_Glyph(p->face, glyph, FT_LOAD_COLOR))
        return error_set(err, DT_ERR_FORMAT, "glyph %u of the font is damaged", glyph);
    const FT_Bitmap *bitmap = &p->face->glyph->bitmap;
    if (bitmap->pixel_mode != FT_PIXEL_MODE_BGRA || bitmap->width < 1 || bitmap->rows < 1)
        return error_set(err, DT_ERR_FORMAT, "glyph %u of the font is not a colour bitmap", glyph);
    dt_status status = lay_on_white(&large, bitmap, err);
    if (status == DT_OK) status = resample_image(out, &large, size, size, RESAMPLE_BICUBIC, err);
    image_close(&large);
    return status;
}

/* ---- writing ---- */

/* Written plainly: the pictures can be drawn again at any time, and syncing thousands of files would take longer. */
static dt_status write_file(const char *path, const void *data, size_t size, dt_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file) return error_set_errno(err, "%s: cannot be written", path);
    bool whole = fwrite(data, 1, size, file) == size;
    if (fclose(file) != 0 || !whole) return error_set_errno(err, "%s: cannot be written", path);
    return DT_OK;
}

static dt_status save(const image *im, const emoji *e, const options *o, int split, dt_error *err)
{
    char path[DT_PATH_MAX];
    uint8_t *png = NULL;
    size_t png_size = 0;
    int length = snprintf(path, sizeof path, "%s/%s/%s", o->output, split_names[split], e->group);
    dt_status status = length < DT_PATH_MAX ? file_make_dirs(path, err) : DT_OK;
    for (int i = 0; i < e->count && length < DT_PATH_MAX; i++)
        length +=
            snprintf(path + length, sizeof path - (size_t)length, "%s%04X", i ? "_" : "/U+", (unsigned)e->code[i]);
    if (length < DT_PATH_MAX) length += snprintf(path + length, sizeof path - (size_t)length, "-%s.png", e->name);
    if (length >= DT_PATH_MAX) return error_set(err, DT_ERR_ARG, "--output: the path is too long");
    if (status == DT_OK) status = image_encode_png(&png, &png_size, im->rgb, im->width, im->height, NULL, 0, err);
    if (status == DT_OK) status = write_file(path, png, png_size, err);
    free(png);
    return status;
}

static dt_status count(tally *t, const emoji *e, int split, dt_error *err)
{
    int64_t at = 0;
    while (at < t->group_count && strcmp(t->group[at], e->group) != 0) at++;
    if (at == GROUPS_MAX) return error_set(err, DT_ERR_FORMAT, "more than %d groups of emoji", GROUPS_MAX);
    if (at == t->group_count) strcpy(t->group[t->group_count++], e->group);
    t->drawn[at][split]++;
    return DT_OK;
}

static dt_status draw_one(tally *t, painter *p, const emoji *e, const options *o, dt_error *err)
{
    image small = {0};
    int split = choose_split(e, o->held_out);
    uint32_t glyph = find_glyph(p, e);
    if (glyph == 0) {
        t->missing++;
        return DT_OK;
    }
    dt_status status = draw(&small, p, glyph, o->size, err);
    if (status == DT_OK) status = save(&small, e, o, split, err);
    if (status == DT_OK) status = count(t, e, split, err);
    image_close(&small);
    return status;
}

static dt_status draw_all(tally *t, painter *p, const options *o, dt_error *err)
{
    emoji e = {0};
    char line[1024];
    FILE *list = fopen(o->emoji_test, "r");
    if (!list) return error_set_errno(err, "%s: cannot be read", o->emoji_test);
    dt_status status = DT_OK;
    while (status == DT_OK && fgets(line, sizeof line, list))
        if (parse_line(&e, line) && (o->skin_tones || !has_skin_tone(&e))) status = draw_one(t, p, &e, o, err);
    fclose(list);
    if (status == DT_OK && t->group_count == 0)
        status = error_set(err, DT_ERR_FORMAT, "%s: lists no emoji that this font has", o->emoji_test);
    return status;
}

static void print_tally(const tally *t)
{
    int64_t total[SPLITS] = {0};
    printf("%-20s %6s %8s\n", "class", "train", "heldout");
    for (int64_t i = 0; i < t->group_count; i++) {
        printf("%-20s %6lld %8lld\n", t->group[i], (long long)t->drawn[i][TRAIN], (long long)t->drawn[i][HELD_OUT]);
        for (int s = 0; s < SPLITS; s++) total[s] += t->drawn[i][s];
    }
    printf("%-20s %6lld %8lld\n", "all", (long long)total[TRAIN], (long long)total[HELD_OUT]);
    if (t->missing) printf("%lld emoji of the list are not in this font\n", (long long)t->missing);
}

/* ---- the command line ---- */

static const char usage[] =
    "usage: emoji --output DIR [options]\n"
    "Draws the emoji of a font into DIR/train/GROUP/*.png and DIR/heldout/GROUP/*.png.\n\n"
    "  --output DIR        where the folders go\n"
    "  --font FILE         font of colour bitmaps (/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf)\n"
    "  --emoji-test FILE   Unicode's list (/usr/share/unicode/emoji/emoji-test.txt)\n"
    "  --size N            side of the pictures in pixels, 8 to 512 (32)\n"
    "  --held-out SHARE    share kept out of training, 0 to 0.9 (0.2)\n"
    "  --skin-tones        also draw the variants by skin tone\n";

static bool parse_number(double *out, const char *text, double low, double high)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= low && *out <= high;
}

static dt_status parse_options(options *o, int argc, char **argv, dt_error *err)
{
    static const struct option known[] = {
        {"font", required_argument, NULL, 'f'},     {"emoji-test", required_argument, NULL, 'e'},
        {"size", required_argument, NULL, 's'},     {"output", required_argument, NULL, 'o'},
        {"held-out", required_argument, NULL, 'p'}, {"skin-tones", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},           {0}};
    double size = 32;
    for (int key; (key = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (key == 'f') o->font = optarg;
        if (key == 'e') o->emoji_test = optarg;
        if (key == 'o') o->output = optarg;
        if (key == 't') o->skin_tones = true;
        if (key == 's' && (!parse_number(&size, optarg, 8, SIDE_MAX) || size != (int64_t)size))
            return error_set(err, DT_ERR_ARG, "--size: expected a whole number from 8 to %d, found '%s'", SIDE_MAX,
                             optarg);
        if (key == 'p' && !parse_number(&o->held_out, optarg, 0, 0.9))
            return error_set(err, DT_ERR_ARG, "--held-out: expected a number from 0 to 0.9, found '%s'", optarg);
        if (key == '?') return error_set(err, DT_ERR_ARG, "see emoji --help");
        if (key == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
    }
    o->size = (int64_t)size;
    if (optind < argc) return error_set(err, DT_ERR_ARG, "unexpected argument '%s'; see emoji --help", argv[optind]);
    if (!o->output) return error_set(err, DT_ERR_ARG, "--output is missing; see emoji --help");
    return DT_OK;
}

int main(int argc, char **argv)
{
    options o = {.font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
                 .emoji_test = "/usr/share/unicode/emoji/emoji-test.txt",
                 .held_out = 0.2};
    dt_error err = {0};
    painter p = {0};
    tally t = {0};
    dt_status status = parse_options(&o, argc, argv, &err);
    if (status == DT_OK) status = painter_open(&p, o.font, &err);
    if (status == DT_OK) status = draw_all(&t, &p, &o, &err);
    painter_close(&p);
    if (status == DT_OK)
        print_tally(&t);
    else
        fprintf(stderr, "emoji: %s\n", err.message);
    return status == DT_OK ? 0 : status == DT_ERR_ARG ? 2 : 1;
}
