#include "api/chain_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/text_stream.h"
#include "run/run_log.h"

/* ---- shares ---- */

/* Closer ones would have one name. */
#define SHARES_APART 1e-4

static bool read_share(double *share, const char **at)
{
    char *end;
    *share = strtod(*at, &end);
    if (end == *at || !(*share >= 0 && *share <= 1)) return false;
    *at = end;
    return true;
}

int64_t chain_read_tails(double shares[DT_CHAIN_POINTS_MAX], const char *text, dt_error *err)
{
    text_c_numbers numbers;
    const char *at = text;
    int64_t count = 0;
    bool good = true;
    text_enter_c_numbers(&numbers);
    while (good && count < DT_CHAIN_POINTS_MAX) {
        good = read_share(&shares[count], &at) && (count == 0 || shares[count] >= shares[count - 1] + SHARES_APART);
        count++;
        if (*at != ',') break;
        at++;
    }
    text_leave_c_numbers(&numbers);
    if (good && !*at) return count;
    error_set(err, DT_ERR_ARG, "tails must be at most %d rising numbers from 0 to 1, as in 0,0.05,0.1,1, not '%.200s'",
              DT_CHAIN_POINTS_MAX, text);
    return 0;
}

void chain_point_name(char name[CHAIN_NAME_MAX], double tail)
{
    text_c_numbers numbers;
    text_enter_c_numbers(&numbers);
    snprintf(name, CHAIN_NAME_MAX, "p%g", 100 * tail);
    text_leave_c_numbers(&numbers);
}

/* ---- files ---- */

/* The columns behind share and steps. */
static const struct {
    const char *name;
    size_t offset; /* of the double in dt_eval_result */
} columns[] = {{"frechet_distance", offsetof(dt_eval_result, frechet_distance)},
               {"kernel_distance", offsetof(dt_eval_result, kernel_distance)},
               {"kernel_distance_std", offsetof(dt_eval_result, kernel_distance_std)},
               {"precision", offsetof(dt_eval_result, precision)},
               {"recall", offsetof(dt_eval_result, recall)},
               {"spatial_frechet_distance", offsetof(dt_eval_result, spatial_frechet_distance)},
               {"inception_score", offsetof(dt_eval_result, inception_score)},
               {"inception_score_std", offsetof(dt_eval_result, inception_score_std)}};
enum { COLUMNS = sizeof columns / sizeof *columns };

static double value_of(const dt_chain_point *p, int column)
{
    return *(const double *)((const char *)&p->distance + columns[column].offset);
}

static json_t *point_json(const dt_chain_point *p)
{
    char name[CHAIN_NAME_MAX];
    chain_point_name(name, p->tail);
    json_t *out = JSON_OBJECT({"tail", json_real(p->tail)}, {"tail_steps", json_integer(p->tail_steps)},
                              {"folder", json_string(name)});
    for (int i = 0; i < COLUMNS; i++) json_put(&out, columns[i].name, run_log_number(value_of(p, i)));
    return out;
}

static dt_status write_json(const char *folder, json_t *about, const dt_chain_result *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    json_t *points = json_array();
    for (int64_t i = 0; i < r->count; i++) json_add(&points, point_json(&r->point[i]));
    json_put(&about, "best", json_integer(r->best));
    json_put(&about, "points", points);
    file_join(path, folder, "chain.json");
    return json_file_write(path, about, NULL, err);
}

static void print_rows(text_stream *out, const dt_chain_result *r)
{
    fputs("tail,tail_steps", out->out);
    for (int i = 0; i < COLUMNS; i++) fprintf(out->out, ",%s", columns[i].name);
    fputc('\n', out->out);
    for (int64_t k = 0; k < r->count; k++) {
        fprintf(out->out, "%.9g,%" PRId64, r->point[k].tail, r->point[k].tail_steps);
        for (int i = 0; i < COLUMNS; i++) {
            fputc(',', out->out);
            if (isfinite(value_of(&r->point[k], i))) fprintf(out->out, "%.9g", value_of(&r->point[k], i));
        }
        fputc('\n', out->out);
    }
}

static dt_status write_csv(const char *folder, const dt_chain_result *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    text_stream text;
    text_c_numbers numbers;
    text_enter_c_numbers(&numbers);
    if (text_stream_open(&text)) print_rows(&text, r);
    text_leave_c_numbers(&numbers);
    file_join(path, folder, "chain.csv");
    if (text_stream_end(&text))
        file_write_atomic(path, text.text, text.size, err);
    else
        error_set(err, DT_ERR_MEMORY, "%s: no memory for it", path);
    text_stream_free(&text);
    return err->status;
}

dt_status chain_write(const char *folder, json_t *about, const dt_chain_result *r, dt_error *err)
{
    return write_json(folder, about, r, err) == DT_OK ? write_csv(folder, r, err) : err->status;
}
