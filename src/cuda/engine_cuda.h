/* Opens the CUDA engine: the device, its memory, and the kernels of every file here. */
#ifndef CUDA_ENGINE_CUDA_H
#define CUDA_ENGINE_CUDA_H

extern "C" {
#include "tensor/engine.h"
}

/* What device_load (engine/device.c) looks for in this module. */
extern "C" __attribute__((visibility("default"))) dt_status difftune_engine_cuda(engine *e, int number, dt_error *err);

#endif
