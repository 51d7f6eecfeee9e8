/* Model files: what is written comes back, what is wrong is named, new classes start as told, and the published sizes. */
#include "context_fixture.h"
#include "file/folder.h"
#include "run_fixture.h"

#include <sys/resource.h>

#include "base/half.h"
#include "container/tensor_open.h"

static void no_failure(void)
{
    if (ctx_failed(&context)) fail_msg("%s", context.error.message);
}

/* ---- round trips ---- */

static float rounded(float x, dt_file_dtype dtype)
{
    if (dtype == DT_FILE_BF16) return half_f32_from_bf16(half_bf16_from_f32(x));
    return dtype == DT_FILE_F16 ? half_f32_from_f16(half_f16_from_f32(x)) : x;
}

static void check_round_trip(dit_config config, dt_file_dtype dtype)
{
    dit m, back;
    model_info info;
    assert_int_equal(dit_open(&context, &m, &config), DT_OK);
    fixture_randomise(&context, &m, 3);
    assert_int_equal(fixture_save(&context, &m, NULL, temp_path("trip"), dtype, NULL, 0), DT_OK);
    fixture_load(&context, &back, &info, temp_path("trip"));
    no_failure();
    const dit_config *k = &back.config;
    assert_true(k->input_size == config.input_size && k->patch == config.patch && k->channels == config.channels);
    assert_true(k->hidden == config.hidden && k->depth == config.depth && k->heads == config.heads);
    assert_true(k->class_count == config.class_count && k->learn_sigma == config.learn_sigma);
    assert_int_equal(back.params.count, m.params.count);
    for (int i = 0; i < m.params.count; i++) {
        const tensor *a = m.params.row[i].tensor, *b = back.params.row[i].tensor;
        assert_string_equal(back.params.row[i].name, m.params.row[i].name);
        for (int64_t j = 0; j < tensor_count(a); j++) assert_true(b->data[j] == rounded(a->data[j], dtype));
    }
    file_hash hash;
    assert_int_equal(file_sha256(&hash, temp_path("trip"), &context.error), DT_OK);
    assert_string_equal(info.sha256, hash.hex);
    assert_null(info.class_name);
    model_info_free(&info);
    arena_clear(&context.model);
}

static void every_shape_and_type_comes_back(void **state)
{
    (void)state;
    for (dt_file_dtype dtype = DT_FILE_F32; dtype <= DT_FILE_F16; dtype++)
        for (int64_t patch = 1; patch <= 8; patch *= 2)
            for (int sigma = 0; sigma < 2; sigma++)
                check_round_trip((dit_config){.input_size = 8,
                                              .patch = patch,
                                              .channels = 1 + patch % 3,
                                              .hidden = 16,
                                              .depth = 1 + sigma,
                                              .heads = 2 + 2 * sigma,
                                              .class_count = 1 + patch,
                                              .learn_sigma = sigma},
                                 dtype);
}

static void other_values_may_be_saved_in_the_weights_place(void **state)
{
    (void)state;
    dit m, back;
    dit_config config = fixture_config();
    assert_int_equal(dit_open(&context, &m, &config), DT_OK);
    fixture_randomise(&context, &m, 3);
    real **values = arena_alloc_zeroed(&context.model, (size_t)m.params.count * sizeof *values, &context.error);
    int64_t n = tensor_count(m.final.b);
    int row = (int)(params_find(&m.params, "final_layer.linear.bias") - m.params.row);
    values[row] = arena_alloc(&context.model, (size_t)n * sizeof(real), &context.error);
    for (int64_t i = 0; i < n; i++) values[row][i] = (real)i;
    fixture_save(&context, &m, values, temp_path("values"), DT_FILE_F32, NULL, 0);
    fixture_load(&context, &back, NULL, temp_path("values"));
    no_failure();
    for (int64_t i = 0; i < n; i++) assert_true(back.final.b->data[i] == (real)i);
    assert_memory_equal(back.final.w->data, m.final.w->data, (size_t)tensor_count(m.final.w) * sizeof(real));
}

static void the_heads_of_published_files_follow_from_the_width(void **state)
{
    (void)state;
    static const struct {
        int64_t hidden, heads;
    } published[] = {{384, 6}, {768, 12}, {1024, 16}, {1152, 16}, {128, 2}};
    for (size_t k = 0; k < sizeof published / sizeof published[0]; k++) {
        int64_t d = published[k].hidden, pos[3] = {1, 4, d}, patch[4] = {d, 3, 2, 2}, table[2] = {11, d},
                final[2] = {24, d};
        float *zero = calloc((size_t)(24 * d), sizeof *zero);
        tensor_file f;
        dit_config config;
        const tensor_source source[] = {
            {.name = "pos_embed", .dtype = SAFETENSORS_F32, .dim_count = 3, .dims = pos, .values = zero},
            {.name = "x_embedder.proj.weight", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = patch, .values = zero},
            {.name = "y_embedder.embedding_table.weight",
             .dtype = SAFETENSORS_F32,
             .dim_count = 2,
             .dims = table,
             .values = zero},
            {.name = "final_layer.linear.weight",
             .dtype = SAFETENSORS_F32,
             .dim_count = 2,
             .dims = final,
             .values = zero},
            {.name = "blocks.0.attn.qkv.weight",
             .dtype = SAFETENSORS_F32,
             .dim_count = 2,
             .dims = (int64_t[]){1, 1},
             .values = zero},
        };
        assert_int_equal(safetensors_write(temp_path("heads"), source, 5, NULL, 0, NULL, &context.error), DT_OK);
        free(zero);
        assert_int_equal(safetensors_open(&f, temp_path("heads"), &context.error), DT_OK);
        assert_int_equal(dit_file_config(&config, &f, &context.error), DT_OK);
        assert_int_equal(config.heads, published[k].heads);
        assert_true(config.depth == 1 && config.input_size == 4 && config.class_count == 10 && config.learn_sigma);
        tensor_file_close(&f);
    }
}

static void a_run_folder_stands_for_its_result(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    assert_int_equal(file_make_dirs(temp_path("some_run/final"), &context.error), DT_OK);
    assert_int_equal(model_path(path, temp_path("some_run"), &context.error), DT_ERR_IO);
    assert_says(context.error.message, "some_run");
    error_clear(&context.error);
    temp_write("some_run/final/model.safetensors", "x", 1);
    assert_int_equal(model_path(path, temp_path("some_run"), &context.error), DT_OK);
    assert_says(path, "some_run/final/model.safetensors");
    assert_int_equal(model_path(path, temp_path("any.safetensors"), &context.error), DT_OK);
    assert_string_equal(path, temp_path("any.safetensors"));
}

/* vectors/pytorch/dit.pt is {model, ema, opt, args}; its `ema` is the model of dit_patch8, its `model` is all zeros. */
static void a_training_checkpoint_loads_as_its_average(void **state)
{
    (void)state;
    dit m;
    model_info info;
    tensor_file f;
    file_hash hash;
    fixture_load(&context, &m, &info, "vectors/pytorch/dit.pt");
    no_failure();
    assert_true(m.config.heads == 1 && m.config.hidden == 16 && m.config.patch == 8 && m.config.class_count == 4);
    assert_int_equal(file_sha256(&hash, "vectors/pytorch/dit.pt", &context.error), DT_OK);
    assert_string_equal(info.sha256, hash.hex);
    assert_int_equal(tensor_file_open(&f, "vectors/dit_patch8.safetensors", &context.error), DT_OK);
    assert_true(tensor_file_enter(&f, "w."));
    assert_int_equal(f.count, m.params.count);
    for (int i = 0; i < m.params.count; i++) {
        const tensor_entry *e = tensor_file_find(&f, m.params.row[i].name);
        assert_memory_equal(m.params.row[i].tensor->data, e->data, e->bytes);
    }
    tensor_file_close(&f);
    model_info_free(&info);
}

/* ---- what is wrong ---- */

enum { ENTRY_MAX = 64 };

/* The tensors of a sound file, to be spoiled one at a time. */
static tensor_file sound;
static tensor_source spoiled[ENTRY_MAX];
static int64_t spoiled_dims[ENTRY_MAX][TENSOR_DIM_MAX];

static void open_sound(void)
{
    if (safetensors_open(&sound, temp_path("base.safetensors"), &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
    assert_true(sound.count < ENTRY_MAX);
    for (size_t i = 0; i < sound.count; i++) {
        const tensor_entry *e = &sound.entries[i];
        memcpy(spoiled_dims[i], e->dims, (size_t)e->dim_count * sizeof e->dims[0]);
        spoiled[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = spoiled_dims[i], .data = e->data};
    }
}

/* Loads what `spoiled` holds; the message must name the file and each of the parts. */
static void refuse(size_t count, const char *part, const char *other)
{
    dit m;
    metadata_pair heads = {"difftune.heads", "2"};
    assert_int_equal(safetensors_write(temp_path("spoiled"), spoiled, count, &heads, 1, NULL, &context.error), DT_OK);
    assert_int_equal(fixture_load(&context, &m, NULL, temp_path("spoiled")), DT_ERR_SHAPE);
    assert_says(context.error.message, "spoiled");
    assert_says(context.error.message, part);
    if (other) assert_says(context.error.message, other);
    error_clear(&context.error);
    arena_clear(&context.model);
    arena_clear(&context.scratch);
}

static void every_missing_tensor_is_named(void **state)
{
    (void)state;
    open_sound();
    for (size_t i = 0; i < sound.count; i++) {
        tensor_source kept = spoiled[i];
        spoiled[i] = spoiled[sound.count - 1];
        bool last_block = !strcmp(kept.name, "blocks.1.attn.qkv.weight"); /* without it the others are strangers */
        refuse(sound.count - 1, last_block ? "blocks.1." : kept.name, last_block ? "not part" : "missing");
        spoiled[i] = kept;
    }
    tensor_file_close(&sound);
}

static void every_tensor_that_does_not_belong_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {"blocks.2.attn.proj.weight", "blocks.0.extra", "ema",
                                        "x_embedder.proj.weight "};
    open_sound();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        spoiled[sound.count] = (tensor_source){
            .name = names[i], .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){1}, .values = (float[]){0}};
        refuse(sound.count + 1, names[i], "not part");
    }
    tensor_file_close(&sound);
}

/* Another shape of the same size, another size, other dimensions: name, expected and found. */
static void every_misshapen_tensor_is_named(void **state)
{
    (void)state;
    static const char *const decides[] = {"pos_embed", "x_embedder.proj.weight", "y_embedder.embedding_table.weight",
                                          "final_layer.linear.weight"};
    open_sound();
    for (size_t i = 0; i < sound.count; i++) {
        tensor_source kept = spoiled[i];
        int64_t dims[TENSOR_DIM_MAX], *last = &spoiled_dims[i][kept.dim_count - 1];
        memcpy(dims, spoiled_dims[i], sizeof dims);
        bool shapes_the_model = false; /* those are compared with each other, whichever is at fault */
        for (int k = 0; k < 4; k++) shapes_the_model |= !strcmp(kept.name, decides[k]);
        const char *name = shapes_the_model ? "expected" : kept.name;
        if (*last % 2 == 0) {
            *last /= 2;
            refuse(sound.count, shapes_the_model ? "" : name, shapes_the_model ? NULL : "expected");
            spoiled_dims[i][0] *= 2;
            if (kept.dim_count > 1) refuse(sound.count, shapes_the_model ? "" : name, NULL);
            memcpy(spoiled_dims[i], dims, sizeof dims);
        }
        spoiled[i].dim_count++;
        spoiled_dims[i][kept.dim_count] = 1;
        refuse(sound.count, kept.name, "dimensions expected");
        spoiled[i] = kept;
    }
    tensor_file_close(&sound);
}

static void a_tensor_of_whole_numbers_is_refused(void **state)
{
    (void)state;
    open_sound();
    spoiled[3].dtype = SAFETENSORS_I32;
    refuse(sound.count, spoiled[3].name, NULL);
    tensor_file_close(&sound);
}

/* A table narrower than the model would be read beyond its end when classes are made new. */
static void a_label_table_of_another_width_is_refused_for_new_classes_too(void **state)
{
    (void)state;
    dit m;
    label_start labels = {.class_count = 5, .init = DT_LABEL_ROWS};
    metadata_pair heads = {"difftune.heads", "2"};
    open_sound();
    for (size_t i = 0; i < sound.count; i++)
        if (!strcmp(spoiled[i].name, "y_embedder.embedding_table.weight")) spoiled_dims[i][1] = 4;
    assert_int_equal(safetensors_write(temp_path("narrow"), spoiled, sound.count, &heads, 1, NULL, &context.error),
                     DT_OK);
    assert_int_equal(fixture_load_for_classes(&context, &m, NULL, temp_path("narrow"), &labels), DT_ERR_SHAPE);
    assert_says(context.error.message, "[4,32] expected, found [4,4]");
    tensor_file_close(&sound);
}

/* A small file whose shapes add up to terabytes, of which the tensors are not there. */
static void a_file_that_claims_a_huge_model_costs_no_memory(void **state)
{
    (void)state;
    enum { DEPTH = 1000, D = 16384 };
    static tensor_source source[DEPTH + 4];
    static char name[DEPTH][64];
    static const int64_t nothing[2] = {0, D};
    float *zero = calloc(8 * D, sizeof *zero);
    struct rusage before, after;
    source[0] = (tensor_source){
        .name = "pos_embed", .dtype = SAFETENSORS_F32, .dim_count = 3, .dims = (int64_t[]){1, 1, D}, .values = zero};
    source[1] = (tensor_source){.name = "x_embedder.proj.weight",
                                .dtype = SAFETENSORS_F32,
                                .dim_count = 4,
                                .dims = (int64_t[]){D, 1, 1, 1},
                                .values = zero};
    source[2] = (tensor_source){.name = "y_embedder.embedding_table.weight",
                                .dtype = SAFETENSORS_F32,
                                .dim_count = 2,
                                .dims = (int64_t[]){2, D},
                                .values = zero};
    source[3] = (tensor_source){.name = "final_layer.linear.weight",
                                .dtype = SAFETENSORS_F32,
                                .dim_count = 2,
                                .dims = (int64_t[]){1, D},
                                .values = zero};
    for (int i = 0; i < DEPTH; i++) {
        snprintf(name[i], sizeof name[i], "blocks.%d.attn.qkv.weight", i);
        source[4 + i] =
            (tensor_source){.name = name[i], .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = nothing, .values = zero};
    }
    safetensors_write(temp_path("huge"), source, DEPTH + 4, NULL, 0, NULL, &context.error);
    no_failure();
    free(zero);
    getrusage(RUSAGE_SELF, &before);
    dit m;
    dt_status status = fixture_load(&context, &m, NULL, temp_path("huge"));
    getrusage(RUSAGE_SELF, &after);
    assert_true(status == DT_ERR_MEMORY || status == DT_ERR_SHAPE);
    print_message("%s\n", context.error.message);
    assert_true((size_t)(after.ru_maxrss - before.ru_maxrss) < context.model.limit >> 14); /* KiB: a sixteenth of it */
}

static void metadata_that_lies_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *says;
    } lies[] = {{"difftune.heads", "0", "heads"},
                {"difftune.heads", "-2", "heads"},
                {"difftune.heads", "3", "heads"},
                {"difftune.heads", "99999999999999999999", "heads"},
                {"difftune.heads", "two", "heads"},
                {"difftune.classes", "[\"a\"]", "difftune.classes"},
                {"difftune.classes", "{\"a\": 1}", "difftune.classes"},
                {"difftune.classes", "[[[", "difftune.classes"},
                {"difftune.classes", "", "difftune.classes"}};
    open_sound();
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        dit m;
        metadata_pair pairs[] = {{lies[i].key, lies[i].value}, {"difftune.heads", "2"}};
        size_t count = !strcmp(lies[i].key, "difftune.heads") ? 1 : 2;
        assert_int_equal(safetensors_write(temp_path("lie"), spoiled, sound.count, pairs, count, NULL, &context.error),
                         DT_OK);
        assert_int_not_equal(fixture_load(&context, &m, NULL, temp_path("lie")), DT_OK);
        assert_says(context.error.message, lies[i].says);
        error_clear(&context.error);
    }
    tensor_file_close(&sound);
}

static void files_that_are_no_models_are_refused(void **state)
{
    (void)state;
    dit m;
    assert_int_equal(fixture_load(&context, &m, NULL, temp_path("absent")), DT_ERR_IO);
    error_clear(&context.error);
    temp_write("text", "not a model", 11);
    assert_int_equal(fixture_load(&context, &m, NULL, temp_path("text")), DT_ERR_FORMAT);
    error_clear(&context.error);
    assert_int_not_equal(fixture_load(&context, &m, NULL, temp_folder), DT_OK);
}

/* ---- new classes ---- */

static char said[512];

static void hear(void *user, const char *line)
{
    (void)user;
    snprintf(said, sizeof said, "%s", line);
}

/* The base of the fixture has the classes c0, c1, c2; its table is `old`, of 4 rows. */
static dit old, new;

static dt_status load_for(dt_label_init init, int64_t count, char *const *names)
{
    label_start labels = {.class_count = count, .class_name = names, .init = init, .seed = 5, .log = hear};
    said[0] = '\0';
    if (fixture_load(&context, &old, NULL, temp_path("base.safetensors")) != DT_OK)
        fail_msg("%s", context.error.message);
    return fixture_load_for_classes(&context, &new, NULL, temp_path("base.safetensors"), &labels);
}

static const real *row_of(const dit *m, int64_t i)
{
    return m->y_table->data + i * m->config.hidden;
}

static bool same_row(int64_t i, int64_t of_old)
{
    return !memcmp(row_of(&new, i), row_of(&old, of_old), (size_t) new.config.hidden * sizeof(real));
}

static char *names[] = {"C2", "c", "something-else", "c1x", "c0"};

static void the_null_row_and_all_other_weights_are_kept(void **state)
{
    (void)state;
    for (dt_label_init init = DT_LABEL_MEAN; init <= DT_LABEL_NEAREST_NAME; init++) {
        load_for(init, 5, names);
        no_failure();
        assert_int_equal(dit_null_class(&new), 5);
        assert_true(same_row(5, 3));
        for (int i = 0; i < old.params.count; i++) {
            const tensor *a = old.params.row[i].tensor, *b = new.params.row[i].tensor;
            if (a == old.y_table) continue;
            assert_memory_equal(a->data, b->data, (size_t)tensor_count(a) * sizeof(real));
        }
        assert_says(said, "5 classes instead of the model's 3");
    }
}

static void classes_start_from_the_mean_without_the_null_row(void **state)
{
    (void)state;
    load_for(DT_LABEL_MEAN, 5, names);
    no_failure();
    for (int64_t i = 0; i < 4; i++) /* the last one is known */
        for (int64_t j = 0; j < 32; j++) {
            double mean = 0;
            for (int k = 0; k < 3; k++) mean += (double)row_of(&old, k)[j] / 3;
            assert_true(fabs((double)row_of(&new, i)[j] - mean) < 1e-7);
        }
    assert_says(said, "mean");
}

static void classes_start_from_small_random_rows(void **state)
{
    (void)state;
    load_for(DT_LABEL_RANDOM, 500, NULL);
    no_failure();
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < 500 * 32; i++) {
        sum += (double)row_of(&new, 0)[i];
        squares += (double)row_of(&new, 0)[i] * (double)row_of(&new, 0)[i];
    }
    assert_true(fabs(sum / 16000) < 5 * 0.02 / sqrt(16000));
    assert_true(fabs(sqrt(squares / 16000) - 0.02) < 0.001);
    assert_memory_not_equal(row_of(&new, 0), row_of(&new, 1), 32 * sizeof(real));
    assert_says(said, "random");
}

static void classes_start_from_the_rows_in_order_and_then_from_the_mean(void **state)
{
    (void)state;
    load_for(DT_LABEL_ROWS, 5, names);
    no_failure();
    for (int64_t i = 0; i < 3; i++) assert_true(same_row(i, i));
    assert_true(same_row(4, 0));
    load_for(DT_LABEL_ROWS, 5, NULL);
    no_failure();
    assert_memory_equal(row_of(&new, 3), row_of(&new, 4), 32 * sizeof(real));
    load_for(DT_LABEL_ROWS, 2, names);
    no_failure();
    assert_true(same_row(0, 0) && same_row(1, 1) && same_row(2, 3));
}

static void classes_start_from_the_nearest_name(void **state)
{
    (void)state;
    load_for(DT_LABEL_NEAREST_NAME, 5, names);
    no_failure();
    assert_true(same_row(0, 2)); /* C2: letters' case does not count */
    assert_true(same_row(1, 0)); /* c: as near to all, the first is taken */
    assert_true(same_row(3, 1)); /* c1x */
    assert_true(same_row(4, 0)); /* c0 */
    assert_int_equal(load_for(DT_LABEL_NEAREST_NAME, 5, NULL), DT_ERR_ARG);
    assert_says(context.error.message, "nearest-name");
}

/* One class more, before the others in the order of folders: what is known is not forgotten. */
static void classes_of_a_name_keep_their_rows_in_every_way_of_starting(void **state)
{
    (void)state;
    char *more[] = {"bird", "c2", "c0", "c1", "C0"};
    for (dt_label_init init = DT_LABEL_MEAN; init <= DT_LABEL_NEAREST_NAME; init++) {
        load_for(init, 5, more);
        no_failure();
        assert_true(same_row(1, 2) && same_row(2, 0) && same_row(3, 1) && same_row(5, 3));
        if (init != DT_LABEL_NEAREST_NAME) assert_false(same_row(4, 0)); /* names differ by case too */
        assert_says(said, "3 with the name of a class of the model keep its row, 2 new start from");
    }
    load_for(DT_LABEL_MEAN, 4, NULL);
    no_failure();
    assert_says(said, "0 with the name of a class of the model keep its row, 4 new start from the mean");
}

static void a_table_that_fits_is_kept(void **state)
{
    (void)state;
    char *same[] = {"c0", "c1", "c2"}, *other[] = {"c0", "c2", "c1"};
    load_for(DT_LABEL_MEAN, 3, same);
    no_failure();
    assert_true(same_row(0, 0) && same_row(1, 1) && same_row(2, 2) && same_row(3, 3));
    assert_string_equal(said, "");
    load_for(DT_LABEL_MEAN, 3, NULL);
    no_failure();
    assert_true(same_row(0, 0));
    load_for(DT_LABEL_MEAN, 3, other); /* the same number in another order are other classes */
    no_failure();
    assert_true(same_row(0, 0) && same_row(1, 2) && same_row(2, 1) && same_row(3, 3));
    assert_says(said, "3 with the name of a class of the model keep its row, 0 new");
    assert_says(said, "mean");
}

static void names_of_any_length_are_compared(void **state)
{
    (void)state;
    char *long_name = calloc(1, 5000), *long_names[] = {long_name, ""};
    memset(long_name, 'x', 4999);
    load_for(DT_LABEL_NEAREST_NAME, 2, long_names);
    no_failure();
    free(long_name);
}

/* ---- published sizes ---- */

/* Values of a published model at 256 pixels: latents of 32x32x4, 1000 classes, learned variance. */
static int64_t published_count(int64_t d, int64_t depth, int64_t patch)
{
    int64_t tokens = (32 / patch) * (32 / patch), out = patch * patch * 8;
    int64_t outside = tokens * d + (4 * patch * patch + 1) * d + (256 + 1) * d + (d + 1) * d + 1001 * d;
    int64_t block = (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d + (d + 1) * 6 * d;
    return outside + depth * block + (d + 1) * out + (d + 1) * 2 * d;
}

static const struct {
    const char *name;
    int64_t count;
} published[] = {
    {"DiT-S/2", 32963360},  {"DiT-S/4", 32945024},   {"DiT-S/8", 33148160},   {"DiT-B/2", 130512416},
    {"DiT-B/4", 130475648}, {"DiT-B/8", 130881536},  {"DiT-L/2", 458102816},  {"DiT-L/4", 458053760},
    {"DiT-L/8", 458594816}, {"DiT-XL/2", 675129632}, {"DiT-XL/4", 675074432}, {"DiT-XL/8", 675683072},
};

/* The arena is an address range: memory is taken when a weight is filled, which none is but the positions. */
static void the_named_models_have_the_published_number_of_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        dit m;
        dit_config k = {.input_size = 32, .channels = 4, .class_count = 1000, .learn_sigma = true};
        assert_true(dit_named(&k, published[i].name));
        assert_int_equal(published_count(k.hidden, k.depth, k.patch), published[i].count);
        bool fits = (size_t)published[i].count * 5 < context.model.limit; /* not all do under AddressSanitizer */
        if (fits && (k.hidden == 384 || !strcmp(published[i].name, "DiT-XL/2"))) {
            dit_open(&context, &m, &k);
            no_failure();
            assert_int_equal(params_count(&m.params, true), published[i].count);
            assert_int_equal(params_count(&m.params, false),
                             published[i].count - k.hidden * (32 / k.patch) * (32 / k.patch));
            assert_int_equal(m.params.count, k.depth == 28 ? 292 : 132);
        }
        arena_clear(&context.model);
    }
    dit_config k;
    static const char *const no_names[] = {"", "DiT-S", "DiT-S/1", "DiT-S/16", "dit-s/2", "DiT-XL/22", "DiT-H/2"};
    for (size_t i = 0; i < sizeof no_names / sizeof no_names[0]; i++) assert_false(dit_named(&k, no_names[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_shape_and_type_comes_back, context_make, context_remove),
        cmocka_unit_test_setup_teardown(other_values_may_be_saved_in_the_weights_place, context_make, context_remove),
        cmocka_unit_test_setup_teardown(the_heads_of_published_files_follow_from_the_width, context_make,
                                        context_remove),
        cmocka_unit_test_setup_teardown(a_run_folder_stands_for_its_result, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_training_checkpoint_loads_as_its_average, context_make, context_remove),
        cmocka_unit_test_setup_teardown(every_missing_tensor_is_named, context_make, context_remove),
        cmocka_unit_test_setup_teardown(every_tensor_that_does_not_belong_is_named, context_make, context_remove),
        cmocka_unit_test_setup_teardown(every_misshapen_tensor_is_named, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_tensor_of_whole_numbers_is_refused, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_label_table_of_another_width_is_refused_for_new_classes_too, context_make,
                                        context_remove),
        cmocka_unit_test_setup_teardown(a_file_that_claims_a_huge_model_costs_no_memory, context_make, context_remove),
        cmocka_unit_test_setup_teardown(metadata_that_lies_is_refused, context_make, context_remove),
        cmocka_unit_test_setup_teardown(files_that_are_no_models_are_refused, context_make, context_remove),
        cmocka_unit_test_setup_teardown(the_null_row_and_all_other_weights_are_kept, context_make, context_remove),
        cmocka_unit_test_setup_teardown(classes_start_from_the_mean_without_the_null_row, context_make, context_remove),
        cmocka_unit_test_setup_teardown(classes_start_from_small_random_rows, context_make, context_remove),
        cmocka_unit_test_setup_teardown(classes_start_from_the_rows_in_order_and_then_from_the_mean, context_make,
                                        context_remove),
        cmocka_unit_test_setup_teardown(classes_start_from_the_nearest_name, context_make, context_remove),
        cmocka_unit_test_setup_teardown(classes_of_a_name_keep_their_rows_in_every_way_of_starting, context_make,
                                        context_remove),
        cmocka_unit_test_setup_teardown(a_table_that_fits_is_kept, context_make, context_remove),
        cmocka_unit_test_setup_teardown(names_of_any_length_are_compared, context_make, context_remove),
        cmocka_unit_test_setup_teardown(the_named_models_have_the_published_number_of_weights, context_make,
                                        context_remove),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
