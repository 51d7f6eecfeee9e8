#include "api/chain_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "eval/eval_values.h"
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
    snprintf(name, CHAIN_NAME_MAX, "p%g", 100 * tail);
}

/* ---- files ---- */

static json_t *point_json(const dt_chain_point *p)
{
    char name[CHAIN_NAME_MAX];
    chain_point_name(name, p->tail);
    json_t *out = JSON_OBJECT({"tail", json_real(p->tail)}, {"tail_steps", json_integer(p->tail_steps)},
                              {"folder", json_string(name)});
    for (int i = 0; i < EVAL_DISTANCES; i++)
        json_put(&out, eval_values[i].name, json_number(eval_value_of(&p->distance, i)));
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
    for (int i = 0; i < EVAL_DISTANCES; i++) fprintf(out, ",%s", eval_values[i].name);
    fputc('\n', out);
    for (int64_t k = 0; k < r->count; k++) {
        fprintf(out, "%.9g,%" PRId64, r->point[k].tail, r->point[k].tail_steps);
        for (int i = 0; i < EVAL_DISTANCES; i++) {
            fputc(',', out);
            text_file_number(out, eval_value_of(&r->point[k].distance, i));
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
