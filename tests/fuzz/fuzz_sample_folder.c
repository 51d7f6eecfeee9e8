/* libFuzzer target: any bytes as what a folder of samples holds: samples.txt (empty: the right one), features.f32 and the
 * picture. The grid and the stack are made of what is there. */
#include "fuzz_folder.h"

#include "api/sample_folder.h"
#include "fuzz_context.h"

enum { SIDE = 2, WIDTH = 3 };

static void read_back(ctx *c, sample_folder *f)
{
    bool labelled;
    statistics s;
    sample_folder_grid(f, &labelled, &c->error);
    fuzz_check_error(&c->error);
    error_clear(&c->error);
    sample_folder_stack(c, f, fuzz_path("stack.npz"));
    fuzz_check_error(&c->error);
    error_clear(&c->error);
    assert(statistics_open(&s, &(statistics_kind){.measure = "M", .dim = WIDTH}, false, &c->error) == DT_OK);
    feature_rows_add_to(c, &s, &f->rows, f->rows.count);
    statistics_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    static int32_t class;
    const class_list classes = {.class = &class, .count = 1, .order = DT_CLASSES_IN_TURN};
    const model_info info = {0};
    sample_folder f = {.s = &s,
                       .classes = &classes,
                       .info = &info,
                       .channels = 3,
                       .size = SIDE,
                       .saved = 1,
                       .text = "text",
                       .feature = "feature",
                       .feature_dim = WIDTH};
    fuzz_bytes rest = {data, size};
    ctx *c = fuzz_context();
    const fuzz_bytes text = fuzz_part(&rest), rows = fuzz_part(&rest);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", fuzz_path("samples"));
    s.num_samples = 1;
    fuzz_make_dirs("samples/images");
    fuzz_put("samples/samples.txt", text.size ? text : fuzz_text("text, features feature"));
    fuzz_put("samples/features.f32", rows);
    fuzz_put("samples/images/000000.png", rest);
    if (sample_folder_open(&f, &c->error) == DT_OK) {
        assert(f.done <= 1 && f.rows.count <= (int64_t)(rows.size / (WIDTH * sizeof(float))));
        read_back(c, &f);
        sample_folder_close(&f);
    }
    fuzz_check_error(&c->error);
    return 0;
}
