/* Rows and columns of pixels mixed, all channels alike. */
#include "op/conv.h"

typedef struct mix_saved {
    const tensor *rows, *columns;
} mix_saved;

/* Per sample t = rows x, where a row of x is one of W*C numbers; then y = columns t line by line.
 * dt = columns^T dy, dx += rows^T dt. */
static void mix_pixels_bwd(ctx *c, const tape_record *r)
{
    const mix_saved *s = r->saved;
    const tensor *x = r->in[0];
    const int64_t h = x->dim[1], w = x->dim[2], k = x->dim[3], out_h = s->rows->dim[0], out_w = s->columns->dim[0];
    real *dx = tensor_grad(c, r->in[0]);
    const arena_place mark = arena_mark(&c->scratch);
    real *dt = numbers_alloc(c, &c->scratch, (size_t)(out_h * w * k) * sizeof *dt);
    if (!dx || ctx_failed(c)) return;
    for (int64_t n = 0; n < x->dim[0]; n++) {
        const real *dy = r->out->grad + n * out_h * out_w * k;
        for (int64_t line = 0; line < out_h; line++)
            c->engine.gemm(dt + line * w * k, s->columns->data, dy + line * out_w * k, NULL, w, k, out_w, w, k, k,
                           GEMM_TRANS_A);
        c->engine.gemm(dx + n * h * w * k, s->rows->data, dt, NULL, h, w * k, out_h, h, w * k, w * k,
                       GEMM_TRANS_A | GEMM_ACCUMULATE);
    }
    arena_release(&c->scratch, mark);
}

tensor *op_mix_pixels(ctx *c, tensor *x, const tensor *rows, const tensor *columns)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4 && rows->dim_count == 2 && rows->dim[1] == x->dim[1], x, rows);
    TENSOR_CHECK(columns->dim_count == 2 && columns->dim[1] == x->dim[2], x, columns);
    const int64_t h = x->dim[1], w = x->dim[2], k = x->dim[3], out_h = rows->dim[0], out_w = columns->dim[0];
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){x->dim[0], out_h, out_w, k});
    const arena_place mark = arena_mark(&c->scratch);
    real *t = numbers_alloc(c, &c->scratch, (size_t)(out_h * w * k) * sizeof *t);
    if (ctx_failed(c)) return NULL;
    for (int64_t n = 0; n < x->dim[0]; n++) {
        c->engine.gemm(t, rows->data, x->data + n * h * w * k, NULL, out_h, w * k, h, h, w * k, w * k, 0);
        for (int64_t line = 0; line < out_h; line++)
            c->engine.gemm(y->data + (n * out_h + line) * out_w * k, columns->data, t + line * w * k, NULL, out_w, k, w,
                           w, k, k, 0);
    }
    arena_release(&c->scratch, mark);
    const mix_saved s = {rows, columns};
    if (tape_wants(c, y, &x, 1)) tape_push(c, mix_pixels_bwd, y, &x, 1, &s, sizeof s);
    return y;
}
