/* The data report as JSON. */
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "file/json_file.h"

/* JSON holds UTF-8 only; of a name in another encoding the strange bytes are shown as '?'. */
static json_t *any_string(const char *text)
{
    json_t *string = json_string(text);
    if (string) return string;
    char *copy = strdup(text);
    for (char *p = copy; p && *p; p++) {
        if ((unsigned char)*p > 126) *p = '?';
    }
    string = copy ? json_string(copy) : NULL;
    free(copy);
    return string;
}

static json_t *class_list(const dataset *d)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < d->class_count; i++) {
        json_add(&list,
                 JSON_OBJECT({"name", any_string(d->class_name[i])}, {"images", json_integer(d->class_size[i])}));
    }
    return list;
}

static json_t *format_counts(const dataset_report *report)
{
    json_t *counts = json_object();
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++) {
        json_put(&counts, image_format_name((image_format)i), json_integer(report->format[i]));
    }
    return counts;
}

static json_t *converted_counts(const dataset_report *report)
{
    return JSON_OBJECT({"grey", json_integer(report->grey)}, {"palette", json_integer(report->palette)},
                       {"transparent", json_integer(report->alpha)}, {"cmyk", json_integer(report->cmyk)},
                       {"16-bit", json_integer(report->deep)}, {"rotated", json_integer(report->rotated)},
                       {"enlarged", json_integer(report->enlarged)});
}

static json_t *side(int64_t min, int64_t median, int64_t max)
{
    return JSON_OBJECT({"min", json_integer(min)}, {"median", json_integer(median)}, {"max", json_integer(max)});
}

static json_t *skip_list(const dataset_report *report)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < report->skip_count; i++) {
        json_add(&list, JSON_OBJECT({"file", any_string(report->skip[i].file)},
                                    {"reason", any_string(report->skip[i].reason)}));
    }
    return list;
}

/* Only what was asked for. */
static void put_told(json_t **out, const dataset *d)
{
    if (d->caption_first) {
        const int64_t without = d->count - d->captioned;
        json_put(out, "captions",
                 JSON_OBJECT({"captions", json_integer(d->caption_first[d->count] - without)},
                             {"images", json_integer(d->captioned)}, {"default_prompt", json_integer(without)}));
    }
    if (d->control) json_put(out, "controls", json_integer(d->count));
}

json_t *dataset_report_json(const dataset *d)
{
    const dataset_report *report = &d->report;
    json_t *short_side = side(report->short_min, report->short_median, report->short_max);
    json_t *long_side = side(report->long_min, report->long_median, report->long_max);
    json_t *out = JSON_OBJECT({"path", any_string(d->path)}, {"split", json_string(d->split)},
                              {"resolution", json_integer(d->resolution)}, {"images", json_integer(d->count)},
                              {"sha256", json_string(d->sha256)}, {"classes", class_list(d)},
                              {"short_side", short_side}, {"long_side", long_side}, {"formats", format_counts(report)},
                              {"converted", converted_counts(report)}, {"skipped", skip_list(report)});
    put_told(&out, d);
    return out;
}
