/* libFuzzer target: any bytes as what a report is made of: run.json, data_report.json, config.yaml, metrics.jsonl, an
 * experiment.json, a sample grid and a chain.json. A part that is left empty is a file that is missing. No text gets into the page but as
 * text. */
#include "fuzz_folder.h"
#include "report/report.h"

static void check_page(void)
{
    const fuzz_bytes page = fuzz_get("report.html");
    assert(!memmem(page.data, page.size, "<script", 7) && !memmem(page.data, page.size, "onerror=\"", 9));
    assert(page.size > 10 && !memcmp(page.data, "<!", 2));
    free((void *)page.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "e/run/run.json",    "e/run/data_report.json",        "e/run/config.yaml",     "e/run/metrics.jsonl",
        "e/experiment.json", "e/run/samples/step_000001.png", "e/run/chain/chain.json"};
    enum { PARTS = sizeof names / sizeof *names, EXPERIMENT = 4 };
    fuzz_bytes rest = {data, size}, part[PARTS];
    dt_error err = {0};
    fuzz_make_dirs("e/run/samples");
    fuzz_make_dirs("e/run/chain");
    for (int i = 0; i < PARTS; i++) {
        part[i] = i + 1 < PARTS ? fuzz_part(&rest) : rest;
        fuzz_put(names[i], part[i]);
        if (part[i].size == 0) remove(fuzz_path(names[i]));
    }
    if (report_write(fuzz_path("report.html"), fuzz_path(part[EXPERIMENT].size ? "e" : "e/run"), "Title", &err) ==
        DT_OK)
        check_page();
    fuzz_check_error(&err);
    return 0;
}
