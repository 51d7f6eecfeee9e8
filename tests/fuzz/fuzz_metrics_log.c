/* libFuzzer target: any bytes as the metrics.jsonl that a run goes on with. */
#include "fuzz_folder.h"
#include "run/metrics_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    metrics_log m;
    bool found;
    dt_error err = {0};
    fuzz_put("metrics.jsonl", (fuzz_bytes){data, size});
    if (metrics_log_open(&m, fuzz_path("metrics.jsonl"), 5, &err) == DT_OK) {
        metrics_log_find(&found, &m, 5, "validation", "target", &err);
        json_t *line = json_pack("{s:i, s:s, s:s}", "step", 5, "kind", "validation", "set", "target");
        metrics_log_write(&m, line, &err);
        json_decref(line);
        metrics_log_find(&found, &m, 5, "validation", "target", &err);
        assert(err.status == DT_OK && found);
    }
    metrics_log_close(&m);
    fuzz_check_error(&err);
    return 0;
}
