#include "api/chain_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "file/names.h"
#include "file/text_file.h"

/* ---- shares ---- */

/* Closer ones would have one name. */
#define SHARES_APART 1e-4

int64_t chain_read_tails(double shares[DT_CHAIN_POINTS_MAX], const char *text, dt_error *err)
{
    const int count = text_read_numbers(shares, DT_CHAIN_POINTS_MAX, text);
    bool good = count > 0 && count <= DT_CHAIN_POINTS_MAX;
    for (int i = 0; good && i < count; i++)
        good = shares[i] >= 0 && shares[i] <= 1 && (i == 0 || shares[i] >= shares[i - 1] + SHARES_APART);
    if (good) return count;
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
    for (int i = 0; i < COLUMNS; i++) json_put(&out, columns[i].name, json_number(value_of(p, i)));
    return out;
}

static dt_status write_json(const char *folder, json_t *about, const dt_chain_result *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    json_t *points = json_array();
    for (int64_t i = 0; i < r->count; i++) json_add(&points, point_json(&r->point[i]));
    json_put(&about, "best", json_integer(r->best));
    json_put(&about, "points", points);
    file_join(path, folder, CHAIN_FILE);
    return json_file_write(path, about, NULL, err);
}

static void print_rows(FILE *out, const void *user)
{
    const dt_chain_result *r = user;
    fputs("tail,tail_steps", out);
    for (int i = 0; i < COLUMNS; i++) fprintf(out, ",%s", columns[i].name);
    fputc('\n', out);
    for (int64_t k = 0; k < r->count; k++) {
        fprintf(out, "%.9g,%" PRId64, r->point[k].tail, r->point[k].tail_steps);
        for (int i = 0; i < COLUMNS; i++) {
            fputc(',', out);
            text_file_number(out, value_of(&r->point[k], i));
        }
        fputc('\n', out);
    }
}

dt_status chain_write(const char *folder, json_t *about, const dt_chain_result *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, "chain.csv");
    return write_json(folder, about, r, err) == DT_OK ? text_file_write(path, print_rows, r, err) : err->status;
}
