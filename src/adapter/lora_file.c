#include "adapter/lora_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft_config.h"

static const char *const prefixes[] = {PEFT_PREFIX,        "transformer.", "unet.",
                                       "diffusion_model.", "lora_unet_",   "lora_transformer_"};
static const char *const down_ends[] = {".lora_A.weight", ".lora_down.weight", ".lora.down.weight",
                                        ".lora_A.default.weight", "_lora.down.weight"};
static const char *const up_ends[] = {".lora_B.weight", ".lora_up.weight", ".lora.up.weight", ".lora_B.default.weight",
                                      "_lora.up.weight"};
#define MAGNITUDE ".lora_magnitude_vector"
enum { ENDS = sizeof down_ends / sizeof *down_ends };

/* ---- names ---- */

const char *lora_bare_name(const char *name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return name + strlen(prefixes[i]);
    return name;
}

/* Length of what stands before `end`; -1 where the name ends otherwise. */
static int before(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && !strcmp(name + length - tail, end) ? (int)(length - tail) : -1;
}

static int end_of(const char *name, const char *const ends[ENDS], int *length)
{
    for (int i = 0; i < ENDS; i++)
        if ((*length = before(name, ends[i])) >= 0) return i;
    return -1;
}

bool lora_is_name(const char *name)
{
    int length;
    return end_of(name, down_ends, &length) >= 0 || end_of(name, up_ends, &length) >= 0 ||
           before(name, ".alpha") >= 0 || before(name, MAGNITUDE) >= 0;
}

/* Equal but for dots and underscores, of which kohya's names have the second only. `b` may go on with ".weight". */
static bool same_module(const char *a, int length, const char *b)
{
    for (int i = 0; i < length; i++) {
        const char x = a[i] == '.' ? '_' : a[i], y = b[i] == '.' ? '_' : b[i];
        if (x != y) return false;
    }
    return !strcmp(b + length, ".weight");
}

/* ---- where a module is here ---- */

/* A module of the file that is a part of one of this program's maps, or all of it. */
typedef struct module {
    const tensor_entry *down, *up, *map;
    const tensor_entry *magnitude; /* NULL: none */
    int part, parts;               /* from 1; 0 of 1 is not used */
    int64_t rank;
    double scale;
} module;

typedef struct reading {
    const tensor_file *f, *base;
    const alias_table *names;
    int64_t blocks;
    arena *memory;
    peft_config config; /* in the file, else beside it */
    dt_error *err;
} reading;

static bool find_map(const reading *r, module *m, const char *name, int length)
{
    for (size_t i = 0; i < r->base->count; i++)
        if (same_module(name, length, r->base->entries[i].name)) {
            *m = (module){.map = &r->base->entries[i], .part = 1, .parts = 1};
            return true;
        }
    for (int i = 0; r->names && i < alias_count(r->names, r->blocks); i++) {
        alias_name theirs, own;
        const alias *a = alias_at(theirs, own, r->names, i);
        if (a->copy || !same_module(name, length, theirs)) continue;
        *m = (module){
            .map = tensor_file_find(r->base, own), .part = a->parts ? a->part : 1, .parts = a->parts ? a->parts : 1};
        return m->map != NULL;
    }
    return false;
}

/* ---- scale ---- */

/* By the description, which knows a module by the name that it has in the file. */
static double scale_of_config(const reading *r, const char *bare, int module_length, int64_t rank)
{
    char name[ALIAS_NAME_MAX + 64];
    double scale;
    snprintf(name, sizeof name, "%.*s", module_length, bare);
    peft_config_scale(&scale, &r->config, name, rank, r->err);
    return scale;
}

/* alpha stands beside the matrices, under the same prefix. */
static double find_scale(const reading *r, const tensor_entry *down, int module_length, int64_t rank)
{
    char name[ALIAS_NAME_MAX + 64];
    float alpha;
    const int skipped = (int)(lora_bare_name(down->name) - down->name);
    snprintf(name, sizeof name, "%.*s.alpha", skipped + module_length, down->name);
    const tensor_entry *e = tensor_file_find(r->f, name);
    if (!e) return scale_of_config(r, lora_bare_name(down->name), module_length, rank);
    if (e->count != 1)
        error_set(r->err, DT_ERR_SHAPE, "%s: tensor %s: one value expected", r->f->path, name);
    else
        tensor_read_finite(&alpha, e, r->err);
    return r->err->status == DT_OK ? (double)alpha / (double)rank : 1;
}

static void open_config(reading *r)
{
    char path[DT_PATH_MAX];
    const char *text = tensor_file_metadata(r->f, PEFT_CONFIG_METADATA);
    file_beside(path, r->f->path, ADAPTER_CONFIG);
    if (text)
        peft_config_take(&r->config, r->f->path, text, r->err);
    else
        peft_config_open(&r->config, path, r->err);
}

/* ---- matrices ---- */

static dt_status refuse(const reading *r, const char *name, const char *why)
{
    return error_set(r->err, DT_ERR_SHAPE, "%s: tensor %s %s", r->f->path, name, why);
}

/* The matrix B that belongs to A: the same name with the other end. */
static const tensor_entry *find_up(const reading *r, const tensor_entry *down, int end)
{
    char name[ALIAS_NAME_MAX + 96];
    const int length = before(down->name, down_ends[end]);
    snprintf(name, sizeof name, "%.*s%s", length, down->name, up_ends[end]);
    const tensor_entry *up = tensor_file_find(r->f, name);
    if (!up) refuse(r, down->name, "has no counterpart");
    return up;
}

/* Convolutions of the size of a patch or of one pixel are matrices too. */
static dt_status check_module(const reading *r, module *m)
{
    const int64_t rank = m->down->dim_count >= 2 ? m->down->dims[0] : 0;
    if (rank < 1 || m->up->dim_count < 2 || m->up->count % rank)
        return refuse(r, m->down->name, "is no matrix of a LoRA");
    const int64_t out = m->map->dims[0], in = m->map->count / out;
    m->rank = rank;
    if (m->down->count / rank != in || m->up->count / rank != out / m->parts)
        return error_set(r->err, DT_ERR_SHAPE,
                         "%s: tensor %s: a LoRA of a map of %lld inputs and %lld outputs; that of this network has "
                         "%lld and %lld: it was made for another base",
                         r->f->path, m->down->name, (long long)(m->down->count / rank),
                         (long long)(m->up->count / rank), (long long)in, (long long)(out / m->parts));
    return DT_OK;
}

/* DoRA's magnitudes stand beside the matrices too. */
static const tensor_entry *find_magnitude(const reading *r, const module *m, int module_length)
{
    char name[ALIAS_NAME_MAX + 96];
    const int skipped = (int)(lora_bare_name(m->down->name) - m->down->name);
    snprintf(name, sizeof name, "%.*s" MAGNITUDE, skipped + module_length, m->down->name);
    const tensor_entry *e = tensor_file_find(r->f, name);
    if (e && e->count != m->map->dims[0] / m->parts) refuse(r, name, "has another size: it was made for another base");
    return e;
}

/* Magnitudes without matrices would be passed over. */
static void check_magnitude(const reading *r, const tensor_entry *e, int module_length)
{
    char name[ALIAS_NAME_MAX + 96];
    const int skipped = (int)(lora_bare_name(e->name) - e->name);
    for (int i = 0; i < ENDS; i++) {
        snprintf(name, sizeof name, "%.*s%s", skipped + module_length, e->name, down_ends[i]);
        if (tensor_file_find(r->f, name)) return;
    }
    refuse(r, e->name, "has no matrices");
}

/* The module that the first `length` bytes name: "X.processor.to_out" of old diffusers is X.to_out.0. */
static int module_of(char out[ALIAS_NAME_MAX], const char *name, int length)
{
    static const char processor[] = ".processor.", last[] = ".to_out";
    const char *at = strstr(name, processor), *end = name + length;
    const bool old = at && at < end;
    const int before_it = old ? (int)(at + 1 - name) : length;
    const char *behind = old ? at + strlen(processor) : end;
    snprintf(out, ALIAS_NAME_MAX, "%.*s%.*s", before_it, name, (int)(end - behind), behind);
    if (old && before(out, last) > 0 && strlen(out) + 2 < ALIAS_NAME_MAX) strcat(out, ".0");
    return (int)strlen(out);
}

/* Text encoders keep their weights here. */
static bool is_of_text_encoder(const char *name)
{
    return !strncmp(name, "lora_te", 7) || !strncmp(name, "text_encoder", 12);
}

static dt_status read_module(const reading *r, module *m, const tensor_entry *down)
{
    int length = 0;
    char text[ALIAS_NAME_MAX];
    const char *bare = lora_bare_name(down->name);
    const int end = end_of(bare, down_ends, &length), module_length = module_of(text, bare, length);
    if (is_of_text_encoder(bare))
        return refuse(r, down->name, "is of a text encoder's LoRA: only the network itself takes one here");
    if (!find_map(r, m, text, module_length) || m->map->dim_count < 2 || m->map->count == 0)
        return refuse(r, down->name, "belongs to no linear map of this network");
    m->down = down;
    m->up = find_up(r, down, end);
    if (m->up && check_module(r, m) == DT_OK) {
        m->scale = find_scale(r, down, length, m->rank);
        m->magnitude = find_magnitude(r, m, length);
    }
    return r->err->status;
}

/* Puts a module's matrices into their pair: rows `first` to first + rank - 1 of A, and in B the columns of those in the rows of
 * its part. Where others are in the pair, the scale goes into B. */
static dt_status place(const reading *r, lora_pair *p, const module *m, int64_t first)
{
    const int64_t rows = p->out / m->parts, start = (m->part - 1) * rows;
    float *up = arena_alloc(r->memory, (size_t)m->up->count * sizeof *up, r->err);
    if (!up || tensor_read_finite(up, m->up, r->err) != DT_OK ||
        tensor_read_finite(p->a + first * p->in, m->down, r->err) != DT_OK)
        return r->err->status;
    if (m->magnitude && tensor_read_finite(p->magnitude + start, m->magnitude, r->err) != DT_OK) return r->err->status;
    const bool alone = m->rank == p->rank;
    const double factor = alone ? 1 : m->scale;
    for (int64_t o = 0; o < rows; o++)
        for (int64_t k = 0; k < m->rank; k++)
            p->b[(start + o) * p->rank + first + k] = (float)(factor * up[o * m->rank + k]);
    if (alone) p->scale = m->scale;
    return DT_OK;
}

static dt_status make_pair(const reading *r, lora_pair *p, const module *modules, int count, const tensor_entry *map)
{
    int64_t first = 0;
    bool stretched = false;
    *p = (lora_pair){.out = map->dims[0], .in = map->count / map->dims[0], .scale = 1};
    snprintf(p->map, sizeof p->map, "%.*s", before(map->name, ".weight"), map->name);
    for (int i = 0; i < count; i++) {
        if (modules[i].map != map) continue;
        p->rank += modules[i].rank;
        stretched = stretched || modules[i].magnitude;
    }
    if (stretched) p->magnitude = arena_alloc(r->memory, (size_t)p->out * sizeof *p->magnitude, r->err);
    for (int64_t i = 0; p->magnitude && i < p->out; i++) p->magnitude[i] = (float)NAN;
    p->a = arena_alloc_zeroed(r->memory, (size_t)(p->rank * p->in) * sizeof *p->a, r->err);
    p->b = arena_alloc_zeroed(r->memory, (size_t)(p->rank * p->out) * sizeof *p->b, r->err);
    for (int i = 0; i < count && r->err->status == DT_OK; i++) {
        if (modules[i].map != map) continue;
        place(r, p, &modules[i], first);
        first += modules[i].rank;
    }
    return r->err->status;
}

/* ---- the whole ---- */

static int read_modules(const reading *r, module *modules)
{
    int count = 0, length;
    for (size_t i = 0; i < r->f->count && r->err->status == DT_OK; i++) {
        const tensor_entry *e = &r->f->entries[i];
        const char *bare = lora_bare_name(e->name);
        if ((length = before(bare, MAGNITUDE)) >= 0)
            check_magnitude(r, e, length);
        else if (end_of(bare, down_ends, &length) >= 0)
            read_module(r, &modules[count++], e);
    }
    return count;
}

static bool seen(const module *modules, int i)
{
    for (int k = 0; k < i; k++)
        if (modules[k].map == modules[i].map) return true;
    return false;
}

/* A map in ALIAS_PARTS_MAX parts has so many times the columns of theirs; B is read into room of its own besides. */
size_t lora_room(const tensor_file *f)
{
    enum { EACH = sizeof(lora_pair) + 256 };
    const size_t value = sizeof(float) * (ALIAS_PARTS_MAX + 2);
    size_t bytes = EACH;
    for (size_t i = 0; i < f->count && bytes < LORA_ROOM_MAX; i++) {
        const size_t values = (size_t)f->entries[i].count;
        bytes += EACH + (values < LORA_ROOM_MAX / value ? values * value : LORA_ROOM_MAX);
    }
    return bytes;
}

dt_status lora_read(lora_pairs *out, const tensor_file *f, const tensor_file *base, const alias_table *names,
                    arena *memory, dt_error *err)
{
    reading r = {.f = f, .base = base, .names = names, .memory = memory, .err = err};
    *out = (lora_pairs){0};
    r.blocks = names ? alias_own_blocks(names, base) : 0;
    open_config(&r);
    module *modules = calloc(f->count + 1, sizeof *modules);
    if (!modules) error_set(err, DT_ERR_MEMORY, "%s: no memory to list its matrices", f->path);
    const int count = modules ? read_modules(&r, modules) : 0;
    out->pair = arena_alloc(memory, (size_t)(count + 1) * sizeof *out->pair, err);
    for (int i = 0; i < count && err->status == DT_OK; i++)
        if (!seen(modules, i)) make_pair(&r, &out->pair[out->count++], modules, count, modules[i].map);
    free(modules);
    peft_config_close(&r.config);
    return err->status;
}
