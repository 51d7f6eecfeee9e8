#include "difftune.h"

#ifdef DT_X86_KERNELS
#define ENGINES "cpu (portable, avx2, avx512, avx512bf16, amx)"
#else
#define ENGINES "cpu (portable)"
#endif

/* DT_LIBRARIES: names and versions of what the build found. */
const char *dt_version(void)
{
    return "difftune " DT_VERSION "\nengines: " ENGINES "\nlibraries: " DT_LIBRARIES "\n";
}
