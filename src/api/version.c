#include "difftune.h"

#ifdef DT_X86_KERNELS
#define ENGINES "cpu (portable, avx2, avx512, avx512bf16, amx)"
#else
#define ENGINES "cpu (portable)"
#endif

#ifdef DT_CUDA_BUILT
#define DEVICES ", cuda"
#else
#define DEVICES ""
#endif

/* DT_LIBRARIES: names and versions of what the build found. */
const char *dt_version(void)
{
    return "difftune " DT_VERSION "\nengines: " ENGINES DEVICES "\nlibraries: " DT_LIBRARIES "\n";
}
