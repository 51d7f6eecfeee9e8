/* Sample grids: pictures in columns by class, with the class names above. */
#ifndef IMAGE_GRID_H
#define IMAGE_GRID_H

#include "image/image.h"

/* A small picture is enlarged by the least whole factor that makes its side at least this long, so that a name fits
 * above it; each pixel becomes a square. Larger pictures stay as they are. */
enum { GRID_SIDE_MIN = 64, GRID_COLUMNS_MAX = 12 };

/* Picture i is of class class_list[i % class_list_count]. */
typedef struct grid_pictures {
    const float *x; /* [count, channels, size, size] in [-1, 1]; channels other than 1 and 3: grey, side by side */
    int64_t count, channels, size;
    const int32_t *class_list; /* [class_list_count]; NULL: 0, 1, 2, .. */
    int64_t class_list_count;
    char *const *class_name; /* [class_name_count]; a class beyond, or of an empty name, is labelled by its number */
    int64_t class_name_count;
} grid_pictures;

/* Draws the grid on white. Each class of the list has a column, or, where columns are few, several side by side;
 * classes beyond GRID_COLUMNS_MAX columns follow in bands below. Names too long for their columns are broken into two
 * lines, then shortened. *labelled is false where label_font_open finds no font: there are then no names, nor room for
 * them. Errors: DT_ERR_SHAPE (no pictures, or impossible numbers), DT_ERR_FORMAT (above IMAGE_PIXEL_LIMIT),
 * DT_ERR_MEMORY. Close *out with image_close. */
dt_status grid_draw(image *out, bool *labelled, const grid_pictures *pictures, dt_error *err);

/* Bytes that drawing a grid of so many pictures and writing it as a PNG take, the gaps and names left out. */
int64_t grid_bytes(int64_t count, int64_t channels, int64_t size);

#endif
