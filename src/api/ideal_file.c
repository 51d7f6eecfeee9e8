#include "api/ideal_file.h"

#include <math.h>
#include <stddef.h>

#include "file/json_file.h"
#include "file/names.h"
#include "file/text_file.h"

enum { BAND_STEPS = 1000 / DT_IDEAL_BANDS };

static const struct {
    const char *name;
    size_t offset; /* of the double in dt_ideal_band */
    bool of_model;
} columns[] = {{"nearest", offsetof(dt_ideal_band, nearest), false},
               {"mean", offsetof(dt_ideal_band, mean), false},
               {"ideal_loss", offsetof(dt_ideal_band, ideal_loss), false},
               {"model_loss", offsetof(dt_ideal_band, model_loss), true},
               {"apart", offsetof(dt_ideal_band, apart), true},
               {"apart_x0", offsetof(dt_ideal_band, apart_x0), true}};
enum { COLUMNS = sizeof columns / sizeof *columns };

static double value_of(const dt_ideal_result *r, const dt_ideal_band *b, int column)
{
    if (columns[column].of_model && !r->has_model) return (double)NAN;
    return *(const double *)((const char *)b + columns[column].offset);
}

static json_t *bands_json(const dt_ideal_result *r, const dt_ideal_band bands[DT_IDEAL_BANDS])
{
    json_t *out = json_array();
    for (int i = 0; i < DT_IDEAL_BANDS; i++) {
        json_t *band =
            JSON_OBJECT({"t_first", json_integer(i * BAND_STEPS)}, {"t_last", json_integer((i + 1) * BAND_STEPS - 1)});
        for (int k = 0; k < COLUMNS; k++) json_put(&band, columns[k].name, json_number(value_of(r, &bands[i], k)));
        json_add(&out, band);
    }
    return out;
}

static dt_status write_json(const dt_settings *s, const char *model_sha256, const dt_ideal_result *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    json_t *all = JSON_OBJECT({"format", json_string("difftune ideal 1")}, {"known", json_string(s->train_data)},
                              {"pictures", json_integer(r->count)}, {"seed", json_integer(s->seed)},
                              {"examples", json_integer(s->validation_count)},
                              {"nearest_at_first", json_number(r->nearest_at_first)},
                              {"mean_at_last", json_number(r->mean_at_last)});
    if (r->has_model) {
        json_put(&all, "model", json_string(s->pretrained_model));
        json_put(&all, "model_sha256", json_string(model_sha256));
    }
    json_put(&all, "known_bands", bands_json(r, r->known));
    if (r->has_other) {
        json_put(&all, "other", json_string(s->validation_data));
        json_put(&all, "other_bands", bands_json(r, r->other));
    }
    file_join(path, s->output_dir, IDEAL_FILE);
    return json_file_write(path, all, NULL, err);
}

static void print_bands(FILE *out, const char *set, const dt_ideal_result *r, const dt_ideal_band bands[])
{
    for (int i = 0; i < DT_IDEAL_BANDS; i++) {
        fprintf(out, "%s,%d,%d", set, i * BAND_STEPS, (i + 1) * BAND_STEPS - 1);
        for (int k = 0; k < COLUMNS; k++) {
            fputc(',', out);
            text_file_number(out, value_of(r, &bands[i], k));
        }
        fputc('\n', out);
    }
}

static void print_table(FILE *out, const void *user)
{
    const dt_ideal_result *r = user;
    fputs("set,t_first,t_last", out);
    for (int k = 0; k < COLUMNS; k++) fprintf(out, ",%s", columns[k].name);
    fputc('\n', out);
    print_bands(out, "known", r, r->known);
    if (r->has_other) print_bands(out, "other", r, r->other);
}

dt_status ideal_write(const dt_settings *s, const char *model_sha256, const dt_ideal_result *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, s->output_dir, "ideal.csv");
    return text_file_write(path, print_table, r, err) == DT_OK ? write_json(s, model_sha256, r, err) : err->status;
}
