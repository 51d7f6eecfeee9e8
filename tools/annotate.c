#include "cli.h"

#include <inttypes.h>

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    dt_annotated r;
    const dt_status status = dt_annotate(ctx, operand[0], operand[1], operand[2], s, observer, &r);
    if (status != DT_OK) return status;
    printf("%s: %" PRId64 " map%s made", operand[2], r.made, r.made == 1 ? "" : "s");
    if (r.found) printf(", %" PRId64 " there already", r.found);
    if (r.passed_over) printf(", %" PRId64 " picture%s passed over", r.passed_over, r.passed_over == 1 ? "" : "s");
    putchar('\n');
    return DT_OK;
}

const verb annotate_verb = {
    .section = VERB_FILES,
    .name = "annotate",
    .summary = "makes control pictures: edges, sketches, depth, normals, parts",
    .description =
        "Makes of each picture of IN the control picture that ControlNet's demos make: canny (edges, of OpenCV's "
        "algorithm), hed (soft edges), sketch (hed's, thinned to strokes), pidinet (soft edges of a smaller network), "
        "depth, normal (of surfaces, made of that depth), seg (the 150 classes of ADE20K). IN is a picture, a folder "
        "with its sub-folders, or a tar or zip of pictures; OUT becomes a folder in which "
        "each map is a PNG with its picture's name, or for one picture a file NAME.png. All but canny need "
        "--annotator-weights. With --resolution pictures are cropped to squares as training pictures are, or with "
        "--no-crop resized as ControlNet's demos do: the shorter side becomes it, both multiples of 64. Without, a map "
        "has its picture's size. Maps that are there are not made again, so that an interrupted call goes on "
        "with the same command; the map of another picture under a picture's name is told and left, and the call "
        "fails.",
    .example = "  difftune annotate canny my_images edges\n"
               "  difftune annotate pidinet cat.jpg cat_edges.png --annotator-weights table5_pidinet.pth\n",
    .often = "annotator_weights resolution crop device",
    .keys = SETTINGS_ANNOTATE,
    .operands = "KIND IN OUT",
    .run = run,
};
