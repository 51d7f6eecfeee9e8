/* The one place that knows which engines there are. */
#ifndef ENGINE_OPEN_H
#define ENGINE_OPEN_H

#include "tensor/context.h"

/* Fills `host` with the kernels of the CPU, up to those of instruction set `isa`, and `e` with those of the device, which may
 * be the same; of GPUs the one with this number, counted round where there are fewer. DT_ERR_UNSUPPORTED without such a device or
 * instruction set. Aborts where a kernel is missing. */
dt_status engine_open(engine *e, engine *host, dt_device device, int number, dt_isa isa, dt_error *err);

/* A context with the engine of that device, the first, or the one with this number; threads 0: all cores. May be closed after a
 * failure too, which c->error tells. */
dt_status ctx_open(ctx *c, dt_device device, int threads, dt_isa isa);
dt_status ctx_open_on(ctx *c, dt_device device, int number, int threads, dt_isa isa);

#endif
