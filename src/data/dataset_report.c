#include "data/dataset_report.h"

#include <stdlib.h>
#include <string.h>

void *grow_array(void *array, int64_t count, size_t element_size)
{
    if ((count & (count - 1)) != 0) return array; /* the block holds the next power of two */
    return realloc(array, (count ? 2 * (size_t)count : 1) * element_size);
}

dt_status report_skip(dataset_report *report, const char *file, const char *reason, dt_error *err)
{
    dataset_skip *skip = grow_array(report->skip, report->skip_count, sizeof *skip);
    if (!skip) return error_set(err, DT_ERR_MEMORY, "no memory to list the images");
    report->skip = skip;
    skip[report->skip_count] = (dataset_skip){strdup(file), strdup(reason)};
    bool whole = skip[report->skip_count].file && skip[report->skip_count].reason;
    report->skip_count++;
    return whole ? DT_OK : error_set(err, DT_ERR_MEMORY, "no memory to list the images");
}

void report_close(dataset_report *report)
{
    for (int64_t i = 0; i < report->skip_count; i++) {
        free(report->skip[i].file);
        free(report->skip[i].reason);
    }
    free(report->skip);
    *report = (dataset_report){0};
}
