/* What was found while a data set was read: formats, conversions, sizes, and the files that were passed over. */
#ifndef DATA_DATASET_REPORT_H
#define DATA_DATASET_REPORT_H

#include "base/say.h"
#include "image/image.h"

/* What `data prepare` leaves beside the splits; no picture, and not listed as passed over. */
#define DATASET_DESCRIPTION "data_set.json"
/* What `annotate` leaves beside maps; neither is this. */
#define DATASET_MAPS "maps.txt"

typedef struct dataset_skip {
    char *file, *reason;
} dataset_skip;

typedef struct dataset_report {
    int64_t format[IMAGE_FORMAT_COUNT]; /* images of each format */
    /* Images converted so; enlarged: were below resolution. */
    int64_t grey, palette, alpha, cmyk, deep, rotated, enlarged;
    int64_t short_min, short_median, short_max; /* sides of the upright originals in pixels */
    int64_t long_min, long_median, long_max;
    dataset_skip *skip; /* in order of file names */
    int64_t skip_count;
} dataset_report;

/* Lists `file` as passed over. */
dt_status report_skip(dataset_report *report, const char *file, const char *reason, dt_error *err);

/* Tells what was passed over, in lines of few: files with one reason share one. Names are made printable. */
void report_tell_skips(const dataset_report *report, say_log *log, void *user);

void report_close(dataset_report *report);

#endif
