#include "engine/device.h"

#include <dlfcn.h>
#include <string.h>

#define MODULE "libdifftune_cuda.so"

/* The module is looked for where the dynamic linker looks: beside the library and the program (their run path), and in the
 * system's folders. It stays loaded. */
dt_status device_load(engine *e, int number, dt_error *err)
{
    void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "device cuda: the CUDA engine is not there (cmake -DDT_CUDA=ON builds it): %s", dlerror());
    dt_status (*fill)(engine *, int, dt_error *);
    void *symbol = dlsym(module, "difftune_engine_cuda");
    if (!symbol) return error_set(err, DT_ERR_UNSUPPORTED, "device cuda: " MODULE " is of another version");
    memcpy(&fill, &symbol, sizeof fill);
    return fill(e, number, err);
}
