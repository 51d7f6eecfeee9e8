#include "image/label.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include FT_FREETYPE_H

enum { INK = 32, REPLACEMENT = 0xfffd, ELLIPSIS = 0x2026 };

struct label_font {
    FcConfig *config;
    FcFontSet *found; /* best first */
    FT_Library library;
    FT_Face *face; /* [found->nfont], NULL until a character needs it, and where a font cannot be used */
    bool *tried;   /* [found->nfont] */
    FT_Face first; /* the face that has the last word on sizes */
    int64_t pixels;
    bool starved;
};

/* Characters in a row: a line, or what is left of a text. */
typedef struct run {
    uint32_t code[LABEL_TEXT_MAX + 1]; /* room for an ellipsis */
    int64_t count;
} run;

/* ---- fonts ---- */

/* Sorted for the family "sans", outlines only. The configuration is private, and read without complaints because
 * fontconfig would print them. */
static bool find_fonts(label_font *f)
{
    FcResult result;
    f->config = FcConfigCreate();
    if (!f->config || !FcConfigParseAndLoad(f->config, NULL, FcFalse) || !FcConfigBuildFonts(f->config)) return false;
    FcPattern *wanted = FcPatternBuild(NULL, FC_FAMILY, FcTypeString, "sans", FC_OUTLINE, FcTypeBool, FcTrue, FC_COLOR,
                                       FcTypeBool, FcFalse, NULL);
    if (!wanted) return false;
    if (FcConfigSubstitute(f->config, wanted, FcMatchPattern)) {
        FcDefaultSubstitute(wanted);
        f->found = FcFontSort(f->config, wanted, FcTrue, NULL, &result);
    }
    FcPatternDestroy(wanted);
    return f->found && f->found->nfont > 0;
}

/* Whether a call of FreeType went well, before which errno was 0: of missing memory it does not always tell. */
static bool works(label_font *f, FT_Error error)
{
    if (errno == ENOMEM) f->starved = true;
    return !error;
}

/* Font number i of those found; NULL when it has no outlines or is not what fontconfig thinks. */
static FT_Face face_at(label_font *f, int i)
{
    FcChar8 *path;
    FcBool outline, color = FcFalse;
    int index;
    FcPattern *p = f->found->fonts[i];
    if (f->tried[i]) return f->face[i];
    f->tried[i] = true;
    if (FcPatternGetBool(p, FC_OUTLINE, 0, &outline) != FcResultMatch || !outline ||
        (FcPatternGetBool(p, FC_COLOR, 0, &color) == FcResultMatch && color) ||
        FcPatternGetString(p, FC_FILE, 0, &path) != FcResultMatch ||
        FcPatternGetInteger(p, FC_INDEX, 0, &index) != FcResultMatch)
        return NULL;
    errno = 0;
    if (!works(f, FT_New_Face(f->library, (const char *)path, index, &f->face[i]))) return f->face[i] = NULL;
    if (!works(f, FT_Set_Pixel_Sizes(f->face[i], 0, (FT_UInt)f->pixels))) {
        FT_Done_Face(f->face[i]);
        f->face[i] = NULL;
    }
    return f->face[i];
}

/* The first font that has the character, else the first of all, which then draws its box for missing ones. */
static FT_Face face_for(label_font *f, uint32_t code)
{
    for (int i = 0; i < f->found->nfont; i++) {
        FcCharSet *has;
        if (FcPatternGetCharSet(f->found->fonts[i], FC_CHARSET, 0, &has) == FcResultMatch &&
            FcCharSetHasChar(has, code) && face_at(f, i))
            return face_at(f, i);
    }
    return f->first;
}

static bool open_font(label_font *f)
{
    if (!find_fonts(f)) return false;
    errno = 0;
    if (!works(f, FT_Init_FreeType(&f->library))) return false;
    f->face = calloc((size_t)f->found->nfont, sizeof *f->face);
    f->tried = calloc((size_t)f->found->nfont, sizeof *f->tried);
    if (!f->face || !f->tried) f->starved = true; /* FreeType passes over a module it has no memory for */
    if (f->starved) return false;
    for (int i = 0; i < f->found->nfont && !f->first; i++) f->first = face_at(f, i);
    return f->first && !f->starved;
}

label_font *label_font_open(int64_t pixels, dt_error *err)
{
    label_font *f = calloc(1, sizeof *f);
    if (f) f->pixels = pixels;
    if (f && open_font(f)) return f;
    if (!f || f->starved) error_set(err, DT_ERR_MEMORY, "no memory for the font of class names");
    label_font_close(f);
    return NULL;
}

bool label_font_starved(const label_font *f)
{
    return f->starved;
}

void label_font_close(label_font *f)
{
    if (!f) return;
    if (f->library) FT_Done_FreeType(f->library); /* and all its faces */
    free(f->face);
    free(f->tried);
    if (f->found) FcFontSetDestroy(f->found);
    if (f->config) FcConfigDestroy(f->config);
    free(f);
}

/* From the highest to the lowest stroke: what fonts call their height is, in whole pixels, often one less. */
int64_t label_line_height(const label_font *f)
{
    int64_t height = (f->first->size->metrics.ascender - f->first->size->metrics.descender + 63) >> 6;
    return height > 0 ? height : f->pixels;
}

/* The character's glyph in its face, drawn if `render`; NULL when the font is broken there. */
static FT_GlyphSlot load(label_font *f, uint32_t code, bool render)
{
    FT_Face face = face_for(f, code);
    FT_Int32 flags = FT_LOAD_TARGET_LIGHT | FT_LOAD_NO_BITMAP | (render ? FT_LOAD_RENDER : 0);
    errno = 0;
    return works(f, FT_Load_Char(face, code, flags)) ? face->glyph : NULL;
}

static int64_t advance(FT_GlyphSlot glyph)
{
    return (glyph->advance.x + 32) >> 6;
}

/* ---- text ---- */

/* The next character of a text that is not at its end. Overlong forms, surrogates and what lies above U+10FFFF are not
 * UTF-8 (RFC 3629, section 3); of a broken sequence only the first byte is taken. */
static uint32_t next_code(const unsigned char **text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = *text;
    int more = *p < 0x80 ? 0 : *p >> 5 == 6 ? 1 : *p >> 4 == 14 ? 2 : *p >> 3 == 30 ? 3 : -1;
    uint32_t code = more > 0 ? *p & (0x3f >> more) : *p;
    *text = p + 1;
    if (more < 0) return REPLACEMENT;
    for (int i = 1; i <= more; i++) {
        if (p[i] >> 6 != 2) return REPLACEMENT; /* also the end */
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < least[more] || code > 0x10ffff || code >> 11 == 0x1b) return REPLACEMENT;
    *text = p + 1 + more;
    return code < 0x20 || (code >= 0x7f && code < 0xa0) ? REPLACEMENT : code;
}

static void read_text(run *r, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    for (r->count = 0; *p && r->count < LABEL_TEXT_MAX;) r->code[r->count++] = next_code(&p);
    if (*p) r->code[LABEL_TEXT_MAX - 1] = ELLIPSIS;
}

static int64_t run_width(label_font *f, const run *r)
{
    int64_t width = 0;
    for (int64_t i = 0; i < r->count; i++) {
        FT_GlyphSlot glyph = load(f, r->code[i], false);
        if (glyph) width += advance(glyph);
    }
    return width;
}

/* How many of the first characters fit into `width`. */
static int64_t fitting(label_font *f, const run *r, int64_t width)
{
    for (int64_t i = 0; i < r->count; i++) {
        FT_GlyphSlot glyph = load(f, r->code[i], false);
        if (glyph) width -= advance(glyph);
        if (width < 0) return i;
    }
    return r->count;
}

static bool breaks_behind(uint32_t code)
{
    return code == ' ' || code == '_' || code == '-' || code == '/' || code == ',';
}

/* Takes one line off the front of `rest`; the last line takes all, shortened. */
static void take_line(label_font *f, run *line, run *rest, int64_t width, bool last)
{
    int64_t fits = fitting(f, rest, width), taken = rest->count;
    *line = *rest;
    if (fits < rest->count && !last) {
        int64_t end = fits;
        while (end > 0 && rest->code[end] != ' ' && !breaks_behind(rest->code[end - 1])) end--;
        taken = end > 0 ? end : fits > 0 ? fits : 1;
        line->count = taken;
    } else if (fits < rest->count) {
        const run ellipsis = {{ELLIPSIS}, 1};
        line->count = fitting(f, rest, width - run_width(f, &ellipsis));
        line->code[line->count++] = ELLIPSIS;
    }
    while (line->count > 0 && line->code[line->count - 1] == ' ') line->count--;
    while (taken < rest->count && rest->code[taken] == ' ') taken++;
    rest->count -= taken;
    memmove(rest->code, rest->code + taken, (size_t)rest->count * sizeof *rest->code);
}

int64_t label_lines(label_font *f, const char *text, int64_t width, int64_t most)
{
    run rest, line;
    int64_t lines = 0;
    for (read_text(&rest, text); rest.count > 0 && lines < most; lines++) {
        take_line(f, &line, &rest, width, lines + 1 == most);
    }
    return lines;
}

/* ---- ink ---- */

/* Darkens what the glyph covers of the part of the box that lies in the picture. */
static void put_glyph(image *im, const FT_Bitmap *ink, int64_t left, int64_t top, label_box box)
{
    if (ink->pixel_mode != FT_PIXEL_MODE_GRAY) return;
    for (int64_t row = 0; row < ink->rows; row++) {
        for (int64_t column = 0; column < ink->width; column++) {
            int64_t x = left + column, y = top + row;
            if (x < box.left || y < box.top || x >= box.left + box.width || y >= box.top + box.height) continue;
            if (x < 0 || y < 0 || x >= im->width || y >= im->height) continue;
            uint8_t *pixel = im->rgb + 3 * (y * im->width + x);
            int cover = ink->buffer[row * ink->pitch + column];
            for (int c = 0; c < 3; c++) pixel[c] = (uint8_t)((pixel[c] * (255 - cover) + INK * cover) / 255);
        }
    }
}

static void put_line(image *im, label_font *f, const run *line, int64_t top, label_box box)
{
    int64_t ascent = (f->first->size->metrics.ascender + 63) >> 6;
    int64_t x = box.left + (box.width - run_width(f, line)) / 2;
    for (int64_t i = 0; i < line->count; i++) {
        FT_GlyphSlot glyph = load(f, line->code[i], true);
        if (!glyph) continue;
        put_glyph(im, &glyph->bitmap, x + glyph->bitmap_left, top + ascent - glyph->bitmap_top, box);
        x += advance(glyph);
    }
}

void label_draw(image *im, label_font *f, const char *text, label_box box)
{
    run rest, line;
    int64_t height = label_line_height(f), most = box.height / height;
    int64_t lines = label_lines(f, text, box.width, most), top = box.top + box.height - lines * height;
    read_text(&rest, text);
    for (int64_t i = 0; i < lines; i++) {
        take_line(f, &line, &rest, box.width, i + 1 == most);
        put_line(im, f, &line, top + i * height, box);
    }
}
