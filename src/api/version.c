#include "difftune.h"

#ifdef DT_HAVE_AVX2
#define ENGINES "cpu (portable, avx2)"
#else
#define ENGINES "cpu (portable)"
#endif

/* DT_LIBRARIES: names and versions of what the build found. */
const char *dt_version(void)
{
    return "difftune " DT_VERSION "\nengines: " ENGINES "\nlibraries: " DT_LIBRARIES "\n";
}
