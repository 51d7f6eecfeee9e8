/* libFuzzer target: any bytes as a table of psi; what is accepted can be drawn from. */
#include <math.h>

#include "fuzz_folder.h"
#include "method/difftuning.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    static difftuning d;
    dt_error err = {0};
    fuzz_put("psi.txt", (fuzz_bytes){data, size});
    dt_settings_init(&s);
    s.psi = DT_PSI_TABLE;
    snprintf(s.psi_table, sizeof s.psi_table, "%s", fuzz_path("psi.txt"));
    if (difftuning_open(&d, &s, (noise_law){0}, &err) == DT_OK) {
        const difftuning_time drawn = difftuning_draw(&d, false, (rng_key){.purpose = RNG_TIMESTEP});
        assert(drawn.t >= 0 && drawn.t < METHOD_T && isfinite(drawn.weight) && isfinite(d.psi.sum));
    }
    fuzz_check_error(&err);
    return 0;
}
