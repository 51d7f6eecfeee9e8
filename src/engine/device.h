/* Engines that are not part of the library but loaded when they are asked for, so that one program runs on machines with
 * and without what they need. */
#ifndef ENGINE_DEVICE_H
#define ENGINE_DEVICE_H

#include "base/error.h"
#include "tensor/engine.h"

/* The CUDA engine of the GPU with this number, counted round where there are fewer; one for a process. DT_ERR_UNSUPPORTED, saying
 * what is missing, where this build, this machine or its driver has none. */
dt_status device_load(engine *e, int number, dt_error *err);

#endif
