#include "engine/open.h"

#include <string.h>

#include "cpu/engine_cpu.h"
#include "engine/device.h"

dt_status engine_open(engine *e, engine *host, dt_device device, int number, dt_isa isa, dt_error *err)
{
    if (engine_cpu_fill(host, isa, err) != DT_OK) return err->status;
    engine_check_complete(host);
    *e = *host;
    if (device != DT_DEVICE_CUDA) return DT_OK;
    if (device_load(e, number, err) == DT_OK) engine_check_complete(e);
    return err->status;
}

dt_status ctx_open_on(ctx *c, dt_device device, int number, int threads, dt_isa isa)
{
    engine e, host;
    memset(c, 0, sizeof *c);
    if (engine_open(&e, &host, device, number, isa, &c->error) != DT_OK) return c->error.status;
    return ctx_start(c, &e, &host, threads);
}

dt_status ctx_open(ctx *c, dt_device device, int threads, dt_isa isa)
{
    return ctx_open_on(c, device, 0, threads, isa);
}
