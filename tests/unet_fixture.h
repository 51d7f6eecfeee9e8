/* A small UNet and files of its layouts made by hand; comes behind context_fixture.h and run_fixture.h. */
#ifndef TESTS_UNET_FIXTURE_H
#define TESTS_UNET_FIXTURE_H

#include "container/tensor_open.h"
#include "model/sd/unet.h"
#include "model/sd/unet_names.h"

static inline void no_failure(void)
{
    if (ctx_failed(&context)) fail_msg("%s", context.error.message);
}

static inline void assert_refused(dt_status status, const char *said)
{
    if (context.error.status != status || !strstr(context.error.message, said))
        fail_msg("%d: %s", context.error.status, context.error.message);
    error_clear(&context.error);
}

/* ---- networks ---- */

static inline unet_config unet_small(void)
{
    return (unet_config){.input_size = 64, /* as Stable Diffusion 1: no shape shows it */
                         .in_channels = 4,
                         .out_channels = 4,
                         .level_count = 3,
                         .width = {32, 64, 64},
                         .heads = {8, 8, 8},
                         .down_attends = {true, false, true},
                         .up_attends = {true, false, false},
                         .layers = 1,
                         .context_width = 12,
                         .groups = 32,
                         .epsilon = 1e-5,
                         .noise = NOISE_SCALED_LINEAR};
}

static inline void unet_make(unet *m, const unet_config *k, uint64_t seed)
{
    unet_open(&context, m, k);
    params_init(&context, &m->params, seed);
    for (int i = 0; i < m->params.count; i++) {
        const param *row = &m->params.row[i];
        if (row->init != PARAM_ZERO) continue;
        rng_normal(row->tensor->data, tensor_count(row->tensor),
                   (rng_key){.seed = seed, .purpose = RNG_INIT, .step = 1000 + (uint32_t)i});
    }
    no_failure();
}

/* ---- names ---- */

static inline int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* SHA-256 of "own original shape" lines of all rows in byte order: vectors/make_unet_names.py makes the same with diffusers. Each
 * name leads to the other one and back. */
static inline void assert_names(const params *p, const unet_names *names, const char *sha256)
{
    enum { LINE = 3 * ALIAS_NAME_MAX };
    char **line = test_calloc((size_t)p->count, sizeof *line);
    char *text = test_calloc((size_t)p->count, LINE);
    size_t used = 0;
    for (int i = 0; i < p->count; i++) {
        alias_name original, back;
        char shape[TENSOR_SHAPE_TEXT];
        const param *row = &p->row[i];
        assert_true(unet_names_original(original, names, row->name));
        assert_true(unet_names_own(back, names, original));
        assert_string_equal(back, row->name);
        tensor_describe_shape(shape, row->file_dim_count, row->file_dim);
        line[i] = test_calloc(1, LINE);
        snprintf(line[i], LINE, "%s %s %s\n", row->name, original, shape);
    }
    qsort(line, (size_t)p->count, sizeof *line, compare_lines);
    for (int i = 0; i < p->count; i++) {
        used += (size_t)snprintf(text + used, LINE, "%s", line[i]);
        test_free(line[i]);
    }
    file_hash hash;
    file_sha256_bytes(&hash, text, used);
    assert_string_equal(hash.hex, sha256);
    test_free(line);
    test_free(text);
}

/* ---- files ---- */

typedef struct file_tensor {
    const char *name;
    int dim_count;
    int64_t dims[4];
    const float *values;
} file_tensor;

/* The tensors of a file, without metadata, each name begun with `prefix`; less one and with others. */
static inline void rewrite(const char *from, const char *to, const char *prefix, const char *without,
                           const file_tensor more[], size_t count)
{
    tensor_file f;
    tensor_file_open(&f, temp_path(from), &context.error);
    no_failure();
    tensor_source *source = test_calloc(f.count + count, sizeof *source);
    char(*name)[256] = test_calloc(f.count, sizeof *name);
    size_t used = 0;
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        if (without && !strcmp(e->name, without)) continue;
        snprintf(name[i], sizeof name[i], "%s%s", prefix, e->name);
        source[used++] = (tensor_source){
            .name = name[i], .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .data = e->data};
    }
    for (size_t i = 0; i < count; i++)
        source[used++] = (tensor_source){.name = more[i].name,
                                         .dtype = SAFETENSORS_F32,
                                         .dim_count = more[i].dim_count,
                                         .dims = more[i].dims,
                                         .values = more[i].values};
    safetensors_write(temp_path(to), source, used, NULL, 0, NULL, &context.error);
    no_failure();
    test_free(source);
    test_free(name);
    tensor_file_close(&f);
}

static const float one[] = {0.5f};

#endif
