#include "run/psi_file.h"

#include "file/names.h"
#include "file/numbers_file.h"
#include "measure/psi.h"

static bool is_measured(const training *r)
{
    return r->s->method == DT_METHOD_DIFF_TUNING && r->s->psi == DT_PSI_MEASURED;
}

static void path_of(char path[DT_PATH_MAX], const training *r)
{
    file_join(path, r->folder, PSI_FILE);
}

static dt_status measure(training *r, const char *path)
{
    trainer *t = &r->trainer;
    ctx *c = t->c;
    measured_psi psi;
    const dt_status status = psi_measure(&r->measures, t, &psi);
    if (status == DT_ERR_INTERRUPTED) {
        error_clear(&c->error);
        error_set(&c->error, DT_ERR_INTERRUPTED, "stopped while psi was measured; the same command begins it again");
    }
    if (ctx_failed(c) || numbers_file_write(psi.psi, METHOD_T, path, &c->error) != DT_OK) return c->error.status;
    trainer_log(t,
                "psi measured on %lld pictures and as many of the base's own samples in %d bands of t: the loss on the "
                "pictures is %.3g of the other at clean t, %.3g at noisy t; wrote %s",
                (long long)psi.examples, PSI_BANDS, psi.target[0] / psi.own[0],
                psi.target[PSI_BANDS - 1] / psi.own[PSI_BANDS - 1], path);
    return DT_OK;
}

dt_status psi_file_take(training *r)
{
    trainer *t = &r->trainer;
    char path[DT_PATH_MAX];
    path_of(path, r);
    if (!is_measured(r) || (!file_exists(path) && measure(r, path) != DT_OK)) return t->c->error.status;
    return difftuning_take_psi(&t->method, r->s, t->model.process.noise, path, &t->c->error);
}

dt_status psi_file_look(training *r)
{
    trainer *t = &r->trainer;
    char path[DT_PATH_MAX];
    path_of(path, r);
    if (!is_measured(r)) return DT_OK;
    if (file_exists(path)) return difftuning_take_psi(&t->method, r->s, t->model.process.noise, path, &t->c->error);
    trainer_log(t, "psi would be measured first; the steps below are drawn by t in its place");
    return DT_OK;
}
