#include "data/dataset_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"

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

/* What a decoder says begins with the file's name, printable, which is told already. */
static const char *reason_of(const dataset_skip *skip)
{
    char name[DT_PATH_MAX];
    snprintf(name, sizeof name, "%s", skip->file);
    text_make_printable(name);
    const size_t length = strlen(name);
    const bool named = !strncmp(skip->reason, name, length) && !strncmp(skip->reason + length, ": ", 2);
    return skip->reason + (named ? length + 2 : 0);
}

static bool same_reason(const dataset_skip *a, const dataset_skip *b)
{
    return !strcmp(reason_of(a), reason_of(b));
}

static bool told_before(const dataset_report *report, const int64_t first[], int64_t groups, int64_t i)
{
    for (int64_t g = 0; g < groups; g++)
        if (same_reason(&report->skip[first[g]], &report->skip[i])) return true;
    return false;
}

void report_tell_skips(const dataset_report *report, say_log *log, void *user)
{
    enum { GROUPS_MAX = 8 };
    int64_t first[GROUPS_MAX], groups = 0, told = 0;
    for (int64_t i = 0; i < report->skip_count && groups < GROUPS_MAX; i++) {
        const dataset_skip *skip = &report->skip[i];
        int64_t count = 0;
        if (told_before(report, first, groups, i)) continue;
        for (int64_t k = i; k < report->skip_count; k++) count += same_reason(skip, &report->skip[k]);
        if (count == 1)
            say(log, user, "  skipped %.300s: %.300s", skip->file, reason_of(skip));
        else
            say(log, user, "  skipped %lld files, the first %.300s: %.300s", (long long)count, skip->file,
                reason_of(skip));
        first[groups++] = i;
        told += count;
    }
    if (told == report->skip_count) return;
    say(log, user, "  skipped %lld more files for other reasons", (long long)(report->skip_count - told));
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
