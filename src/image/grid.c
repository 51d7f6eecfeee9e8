#include "image/grid.h"

#include <stdio.h>
#include <string.h>

#include "image/label.h"

enum { GAP = 2, GROUP_GAP = 6, MARGIN = 4, LINES_MAX = 2 };

/* A group is the pictures of one class, `span` columns of cells; a band is groups side by side under their names. */
typedef struct layout {
    const grid_pictures *g;
    label_font *font; /* NULL: no names */
    int64_t classes;  /* that have a picture */
    int64_t groups, bands, span;
    int64_t scale, cell_width, cell_height, group_width, label_height;
} layout;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Rows of band `b`: those of its first class, which has the most pictures. */
static int64_t band_rows(const layout *l, int64_t b)
{
    int64_t n = l->g->class_list_count, pictures = ceil_div(l->g->count - b * l->groups, n);
    return ceil_div(pictures, l->span);
}

/* The upper edge of band `b`'s names; for b = bands, where the next band would begin. */
static int64_t band_top(const layout *l, int64_t b)
{
    int64_t top = MARGIN;
    for (int64_t i = 0; i < b; i++) top += l->label_height + band_rows(l, i) * (l->cell_height + GAP) - GAP + GROUP_GAP;
    return top;
}

static int64_t group_left(const layout *l, int64_t group)
{
    return MARGIN + group * (l->group_width + GROUP_GAP);
}

static void measure_cells(layout *l, int64_t channels, int64_t size)
{
    l->scale = size < GRID_SIDE_MIN ? ceil_div(GRID_SIDE_MIN, size) : 1;
    l->cell_height = size * l->scale;
    l->cell_width = channels == 1 || channels == 3 ? l->cell_height : l->cell_height * channels;
}

/* Bands of equal width, as few as possible; few classes get as many columns each as make the grid about square. */
static void arrange(layout *l)
{
    const grid_pictures *g = l->g;
    int64_t per_class = ceil_div(g->count, g->class_list_count);
    l->classes = g->count < g->class_list_count ? g->count : g->class_list_count;
    l->bands = ceil_div(l->classes, GRID_COLUMNS_MAX);
    l->groups = ceil_div(l->classes, l->bands);
    l->span = 1;
    while (l->groups * l->span < ceil_div(per_class, l->span) && l->groups * (l->span + 1) <= GRID_COLUMNS_MAX)
        l->span++;
    measure_cells(l, g->channels, g->size);
    l->group_width = l->span * (l->cell_width + GAP) - GAP;
}

/* ---- names ---- */

static void name_of(char out[DT_TEXT_MAX], const layout *l, int64_t index)
{
    const grid_pictures *g = l->g;
    int64_t y = g->class_list ? g->class_list[index] : index;
    const char *name = y >= 0 && y < g->class_name_count ? g->class_name[y] : "";
    if (*name)
        snprintf(out, DT_TEXT_MAX, "%s", name);
    else
        snprintf(out, DT_TEXT_MAX, "%lld", (long long)y);
}

static void measure_names(layout *l)
{
    int64_t most = 0;
    if (!l->font) return;
    for (int64_t i = 0; i < l->classes; i++) {
        char name[DT_TEXT_MAX];
        name_of(name, l, i);
        int64_t lines = label_lines(l->font, name, l->group_width, LINES_MAX);
        if (lines > most) most = lines;
    }
    l->label_height = most * label_line_height(l->font) + GAP;
}

static void put_names(image *out, const layout *l)
{
    if (!l->font) return;
    for (int64_t i = 0; i < l->classes; i++) {
        char name[DT_TEXT_MAX];
        name_of(name, l, i);
        label_box box = {group_left(l, i % l->groups), band_top(l, i / l->groups), l->group_width,
                         l->label_height - GAP};
        label_draw(out, l->font, name, box);
    }
}

/* ---- pictures ---- */

static void put_enlarged(image *out, const image *cell, int64_t left, int64_t top, int64_t scale)
{
    for (int64_t y = 0; y < cell->height * scale; y++) {
        uint8_t *row = out->rgb + 3 * ((top + y) * out->width + left);
        for (int64_t x = 0; x < cell->width * scale; x++)
            memcpy(row + 3 * x, cell->rgb + 3 * (y / scale * cell->width + x / scale), 3);
    }
}

static dt_status put_picture(image *out, const layout *l, int64_t i, dt_error *err)
{
    const grid_pictures *g = l->g;
    int64_t shown = g->channels == 3 ? 3 : 1, planes = g->channels / shown;
    int64_t class = i % g->class_list_count, nth = i / g->class_list_count, band = class / l->groups;
    int64_t left = group_left(l, class % l->groups) + nth % l->span * (l->cell_width + GAP);
    int64_t top = band_top(l, band) + l->label_height + nth / l->span * (l->cell_height + GAP);
    image cell;
    if (image_grid(&cell, g->x + i * g->channels * g->size * g->size, planes, shown, g->size, g->size, planes, err) !=
        DT_OK)
        return err->status;
    put_enlarged(out, &cell, left, top, l->scale);
    image_close(&cell);
    return DT_OK;
}

static dt_status put_all(image *out, const layout *l, dt_error *err)
{
    int64_t width = group_left(l, l->groups) - GROUP_GAP + MARGIN;
    int64_t height = band_top(l, l->bands) - GROUP_GAP + MARGIN;
    if (image_alloc(out, width, height, err) != DT_OK) return err->status;
    memset(out->rgb, 255, (size_t)(out->width * out->height * 3));
    put_names(out, l);
    dt_status status = DT_OK;
    for (int64_t i = 0; i < l->g->count && status == DT_OK; i++) status = put_picture(out, l, i, err);
    if (status != DT_OK) image_close(out);
    return status;
}

dt_status grid_draw(image *out, bool *labelled, const grid_pictures *g, dt_error *err)
{
    enum { SIDE_MAX = 1 << 14, CHANNELS_MAX = 1 << 10 };
    *out = (image){0};
    if (g->count < 1 || g->count > IMAGE_PIXEL_LIMIT || g->class_list_count < 1 || g->size < 1 || g->size > SIDE_MAX ||
        g->channels < 1 || g->channels > CHANNELS_MAX)
        return error_set(
            err, DT_ERR_SHAPE,
            "a sample grid of %lld pictures of %lld classes, %lld x %lld with %lld channels, is impossible",
            (long long)g->count, (long long)g->class_list_count, (long long)g->size, (long long)g->size,
            (long long)g->channels);
    layout l = {.g = g};
    arrange(&l);
    l.font = label_font_open(8 + l.cell_height / 16, err);
    if (err->status != DT_OK) return err->status;
    measure_names(&l);
    *labelled = l.font != NULL;
    put_all(out, &l, err);
    if (l.font && label_font_starved(l.font)) error_set(err, DT_ERR_MEMORY, "no memory for the class names of a grid");
    label_font_close(l.font);
    if (err->status != DT_OK) image_close(out);
    return err->status;
}

/* The picture, and a file of up to as many bytes. */
int64_t grid_bytes(int64_t count, int64_t channels, int64_t size)
{
    layout l = {0};
    measure_cells(&l, channels, size);
    return 2 * 3 * count * l.cell_width * l.cell_height;
}
