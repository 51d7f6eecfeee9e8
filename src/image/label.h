/* Words in pictures: dark, level text in the system's sans font, for the class names of a sample grid.
 *
 * fontconfig finds the fonts, FreeType draws their outlines. A character that the first font lacks is taken from the
 * next one that has it. Characters stand one after the other: scripts that join or reorder letters are drawn unjoined.
 * Text is UTF-8; control characters and bytes that are not UTF-8 are drawn as U+FFFD, so that nothing vanishes. At most
 * LABEL_TEXT_MAX characters of a text are looked at. */
#ifndef IMAGE_LABEL_H
#define IMAGE_LABEL_H

#include "image/image.h"

enum { LABEL_TEXT_MAX = 256 };

typedef struct label_font label_font;

typedef struct label_box {
    int64_t left, top, width, height; /* in pixels; may stick out of the picture */
} label_box;

/* The system's sans font with `pixels` to the em. NULL where fontconfig names none that FreeType can open: the
 * caller then goes on without labels and says so; NULL with DT_ERR_MEMORY where memory is out. The environment and the
 * files of fontconfig are read anew each time, and nothing is kept; about a configuration that is not XML fontconfig itself
 * prints a line. */
label_font *label_font_open(int64_t pixels, dt_error *err);
void label_font_close(label_font *font);

/* Whether memory was out for a character since the font was opened: what was measured and drawn lacks it. */
bool label_font_starved(const label_font *font);

/* From one line of text to the next, in pixels. */
int64_t label_line_height(const label_font *font);

/* Lines that `text` takes in a column of `width` pixels, broken at spaces and behind '_', '-', '/' and ',', else inside
 * a word: 0 for an empty text, and never more than `most`, because the last line is then shortened. */
int64_t label_lines(label_font *font, const char *text, int64_t width, int64_t most);

/* Draws `text` over what is in the box, lines centred, the last one on the floor of the box. What does not fit in as
 * many whole lines as the box is high ends in an ellipsis. Pixels outside the box never change. */
void label_draw(image *im, label_font *font, const char *text, label_box box);

#endif
