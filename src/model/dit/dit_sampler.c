#include "model/dit/dit_sampler.h"

static tensor *ask(ctx *c, const void *m, tensor *x, const int32_t t[], const int32_t y[])
{
    return dit_forward(c, m, x, t, y);
}

dt_status dit_sampler_open(sampler *s, const dit *m, const dt_settings *settings, dt_error *err)
{
    if (sampler_from_settings(s, settings, err) != DT_OK) return err->status;
    s->model = ask;
    s->weights = m;
    s->channels = m->config.channels;
    s->size = m->config.input_size;
    s->null_class = (int32_t)dit_null_class(m);
    return DT_OK;
}
