/* The tape: what it records, what it gives back, that recomputed blocks are the same blocks, and that memory which runs
 * out anywhere in a pass is a status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "engine/open.h"
#include "op/op.h"

static ctx c;

static int setup(void **state)
{
    (void)state;
    return ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO) == DT_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    ctx_close(&c);
    return 0;
}

static tensor *weights(int64_t rows, int64_t columns, uint32_t number)
{
    tensor *t = tensor_new(&c, &c.model, 2, (int64_t[]){rows, columns});
    rng_normal(t->data, tensor_count(t), (rng_key){1, RNG_INIT, number, 0});
    t->need_grad = true;
    t->grad = arena_alloc_zeroed(&c.model, (size_t)tensor_count(t) * sizeof(real), &c.error);
    return t;
}

static tensor *input(int64_t rows, int64_t columns)
{
    tensor *t = tensor_new(&c, &c.step, 2, (int64_t[]){rows, columns});
    if (!t) return NULL;
    rng_normal(t->data, tensor_count(t), (rng_key){1, RNG_NOISE, 0, 0});
    return t;
}

static void seed(tensor *y)
{
    real *d = tensor_grad(&c, y);
    assert_non_null(d);
    for (int64_t i = 0; i < tensor_count(y); i++) d[i] = (real)cos((double)i);
}

static void nothing_is_recorded_unless_asked(void **state)
{
    (void)state;
    tensor *w = weights(4, 3, 0), *y = op_linear(&c, input(2, 3), w, NULL);
    assert_null(c.tape);
    assert_false(y->need_grad);
    assert_null(tensor_grad(&c, y));
}

static void what_has_nothing_trainable_in_it_leaves_no_record(void **state)
{
    (void)state;
    c.recording = true;
    tensor *x = input(2, 3), *w = weights(4, 3, 0);
    assert_false(op_silu(&c, x)->need_grad);
    assert_null(c.tape);
    assert_true(op_linear(&c, x, w, NULL)->need_grad);
    assert_non_null(c.tape);
    assert_null(tensor_grad(&c, x));
}

static void gradients_of_several_uses_add_up(void **state)
{
    (void)state;
    c.recording = true;
    tensor *w = weights(2, 3, 0), *y = op_add(&c, op_add(&c, w, w), w);
    seed(y);
    tape_backward(&c, NULL);
    for (int64_t i = 0; i < 6; i++) assert_true(fabs((double)w->grad[i] - 3 * cos((double)i)) < 1e-6);
    assert_null(c.tape);
}

static void gradients_add_up_over_passes_until_cleared(void **state)
{
    (void)state;
    tensor *w = weights(4, 3, 0);
    real once[12];
    for (int pass = 1; pass <= 3; pass++) {
        const arena_place mark = arena_mark(&c.step);
        c.recording = true;
        tensor *y = op_linear(&c, input(2, 3), w, NULL);
        seed(y);
        tape_backward(&c, NULL);
        if (pass == 1) memcpy(once, w->grad, sizeof once);
        for (int i = 0; i < 12; i++) assert_true(fabs((double)(w->grad[i] - (real)pass * once[i])) < 1e-5);
        arena_release(&c.step, mark);
    }
}

static void a_branch_that_nobody_differentiates_is_passed_over(void **state)
{
    (void)state;
    c.recording = true;
    tensor *w = weights(2, 3, 0), *v = weights(2, 3, 1), *y = op_gelu(&c, w);
    op_silu(&c, v);
    seed(y);
    tape_backward(&c, NULL);
    assert_null(c.tape);
    for (int i = 0; i < 6; i++) assert_true(v->grad[i] == 0);
    assert_true(w->grad[0] != 0);
}

static void walking_back_stops_where_it_is_told(void **state)
{
    (void)state;
    c.recording = true;
    tensor *w = weights(2, 3, 0), *h = op_gelu(&c, w);
    tape_record *until = c.tape;
    tensor *y = op_silu(&c, h);
    seed(y);
    tape_backward(&c, until);
    assert_ptr_equal(c.tape, until);
    assert_non_null(h->grad);
    assert_true(w->grad[0] == 0);
    tape_backward(&c, NULL);
    assert_true(w->grad[0] != 0);
}

/* ---- blocks that are computed again ---- */

typedef struct pair {
    tensor *first, *second;
} pair;

static tensor *block(ctx *k, const pair *w, tensor *x, tensor *cond)
{
    tensor *h = op_gelu(k, op_linear(k, x, w->first, NULL));
    h = op_linear(k, h, w->second, NULL);
    return cond ? op_add(k, h, cond) : h;
}

static void block_on_tape(ctx *k, const void *arg, tensor *const in[], tensor *out[])
{
    out[0] = block(k, arg, in[0], in[1]);
}

/* The result takes the place of the first input. */
static tensor *checkpoint(tape_function *f, const pair *w, tensor *x, tensor *cond)
{
    tensor *in[] = {x, cond};
    tape_checkpoint(&c, f, w, in, 2, in, 1);
    return in[0];
}

static tensor *inference(tape_function *f, const pair *w, tensor *x)
{
    tensor *in[] = {x, NULL};
    tape_inference(&c, f, w, in, 2, in, 1);
    return in[0];
}

/* Three blocks in a row, the first under a condition made from something trainable; returns the result. */
static tensor *three_blocks(const pair *w, tensor *source, bool checkpointed)
{
    tensor *cond = op_silu(&c, source), *x = input(5, 8);
    for (int i = 0; i < 3; i++) {
        tensor *given = i == 0 ? cond : NULL;
        x = checkpointed ? checkpoint(block_on_tape, w, x, given) : block(&c, w, x, given);
    }
    return x;
}

static void recomputed_blocks_give_the_same_bits(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    tensor *source = weights(5, 8, 2), *all[] = {w.first, w.second, source};
    real value[2][40], grad[2][3][512];
    size_t peak[2];
    for (int kind = 0; kind < 2; kind++) {
        c.step.peak = 0;
        c.recording = true;
        tensor *y = three_blocks(&w, source, kind);
        memcpy(value[kind], y->data, sizeof value[kind]);
        seed(y);
        tape_backward(&c, NULL);
        assert_null(c.tape);
        assert_true(c.recording);
        for (int i = 0; i < 3; i++) {
            size_t bytes = (size_t)tensor_count(all[i]) * sizeof(real);
            memcpy(grad[kind][i], all[i]->grad, bytes);
            assert_true(all[i]->grad[1] != 0);
            memset(all[i]->grad, 0, bytes);
        }
        peak[kind] = c.step.peak;
        arena_clear(&c.step);
    }
    assert_memory_equal(value[0], value[1], sizeof value[0]);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(grad[0][i], grad[1][i], (size_t)tensor_count(all[i]) * sizeof(real));
    assert_true(peak[1] < peak[0]);
}

/* ---- several inputs and results ---- */

/* Like a block of a UNet on its way down: what it hands on, and what it leaves beside for the way up, which is also on the
 * way to the first; then its second input as it came; and a result that nobody differentiates. */
static void fork_on_tape(ctx *k, const void *arg, tensor *const in[], tensor *out[])
{
    const pair *w = arg;
    out[1] = op_add(k, op_add(k, op_linear(k, in[0], w->first, NULL), in[2]), op_gelu(k, in[3]));
    out[0] = op_linear(k, op_gelu(k, out[1]), w->second, NULL);
    out[2] = in[1];
    out[3] = op_silu(k, out[0]);
}

/* The sum of the differentiated results, of which the second is used before the block is done with too. */
static tensor *fork_result(const pair *w, tensor *const in[], bool checkpointed)
{
    tensor *out[4];
    if (checkpointed)
        tape_checkpoint(&c, fork_on_tape, w, in, 4, out, 4);
    else
        fork_on_tape(&c, w, in, out);
    return op_add(&c, op_add(&c, op_linear(&c, out[1], w->second, NULL), out[0]), out[2]);
}

static void functions_of_several_inputs_and_results_are_recomputed_alike(void **state)
{
    (void)state;
    pair w = {weights(16, 8, 0), weights(8, 16, 1)};
    tensor *source[] = {weights(5, 8, 2), weights(5, 8, 3), weights(5, 16, 4), weights(5, 16, 5)};
    tensor *all[] = {w.first, w.second, source[0], source[1], source[2], source[3]};
    real value[2][40], grad[2][6][128];
    for (int kind = 0; kind < 2; kind++) {
        c.recording = true;
        tensor *in[4];
        for (int i = 0; i < 4; i++) in[i] = op_silu(&c, source[i]);
        tensor *y = fork_result(&w, in, kind);
        memcpy(value[kind], y->data, sizeof value[kind]);
        seed(y);
        tape_backward(&c, NULL);
        assert_null(c.tape);
        for (int i = 0; i < 6; i++) {
            size_t bytes = (size_t)tensor_count(all[i]) * sizeof(real);
            memcpy(grad[kind][i], all[i]->grad, bytes);
            assert_true(all[i]->grad[1] != 0);
            memset(all[i]->grad, 0, bytes);
        }
        tape_clear(&c);
        arena_clear(&c.step);
    }
    assert_memory_equal(value[0], value[1], sizeof value[0]);
    for (int i = 0; i < 6; i++)
        for (int64_t j = 0; j < tensor_count(all[i]); j++) /* sums of three in another order: not the same bits */
            assert_true(fabs((double)(grad[0][i][j] - grad[1][i][j])) <= 1e-5 * (1 + fabs((double)grad[0][i][j])));
}

static void inference_moves_every_result_down(void **state)
{
    (void)state;
    pair w = {weights(16, 8, 0), weights(8, 16, 1)};
    tensor *in[] = {input(5, 8), input(5, 8), input(5, 16), input(5, 16)}, *plain[4], *out[4];
    fork_on_tape(&c, &w, in, plain);
    const arena_place mark = arena_mark(&c.step);
    tape_inference(&c, fork_on_tape, &w, in, 4, out, 4);
    assert_ptr_equal((unsigned char *)out[0], c.step.base + mark.own);
    for (int i = 0; i < 4; i++) {
        assert_memory_equal(out[i]->data, plain[i]->data, (size_t)tensor_count(plain[i]) * sizeof(real));
        assert_ptr_not_equal(out[i]->data, plain[i]->data);
        assert_false(out[i]->need_grad);
    }
    assert_true(arena_mark(&c.step).own - mark.own < (3 * 40 + 80) * sizeof(real) + 4 * 512);
}

/* ---- frozen parts ---- */

static struct {
    void (*gemm)(real *, const real *, const real *, const real *, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                 int);
    int all, of_weights; /* products; those that make the gradient of a weight */
} counted;

static void counting_gemm(real *y, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                          int64_t lda, int64_t ldb, int64_t ldc, int flags)
{
    counted.all++;
    counted.of_weights += (flags & GEMM_TRANS_A) != 0;
    counted.gemm(y, a, b, bias, m, n, k, lda, ldb, ldc, flags);
}

static void count_products(void)
{
    if (c.engine.gemm != counting_gemm) counted.gemm = c.engine.gemm;
    c.engine.gemm = counting_gemm;
    counted.all = counted.of_weights = 0;
}

static void a_frozen_block_under_nothing_trainable_is_plain_inference(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    w.first->need_grad = w.second->need_grad = false;
    c.recording = true;
    tensor *y = checkpoint(block_on_tape, &w, input(5, 8), NULL);
    assert_false(y->need_grad);
    assert_null(c.tape);
    assert_false(c.marking);
    w.second->need_grad = true; /* one weight is enough */
    y = checkpoint(block_on_tape, &w, y, NULL);
    assert_true(y->need_grad);
    assert_non_null(c.tape);
}

/* Forward, forward again, and one product a map for the gradient of its input. */
static void a_frozen_block_passes_gradients_on_and_makes_none_of_its_own(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    tensor *source = weights(5, 8, 2);
    real wanted[40];
    for (int frozen = 0; frozen < 2; frozen++) {
        w.first->need_grad = w.second->need_grad = !frozen;
        memset(source->grad, 0, sizeof wanted);
        if (frozen) memset(w.first->grad, 0, 512 * sizeof(real));
        count_products();
        c.recording = true;
        tensor *y = checkpoint(block_on_tape, &w, op_silu(&c, source), NULL);
        seed(y);
        tape_backward(&c, NULL);
        assert_int_equal(counted.of_weights, frozen ? 0 : 2);
        assert_int_equal(counted.all, frozen ? 6 : 8);
        if (!frozen) memcpy(wanted, source->grad, sizeof wanted);
    }
    assert_memory_equal(source->grad, wanted, sizeof wanted);
    for (int i = 0; i < 512; i++) assert_true(w.first->grad[i] == 0);
}

/* A block inside a block: what the inner one says of its result reaches the outer one. */
static void nested_on_tape(ctx *k, const void *arg, tensor *const in[], tensor *out[])
{
    tape_checkpoint(k, block_on_tape, arg, in, 2, out, 1);
    if (!ctx_failed(k)) out[0] = op_silu(k, out[0]);
}

static void blocks_may_lie_inside_blocks(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    real grad[2][512];
    for (int kind = 0; kind < 2; kind++) {
        c.recording = true;
        tensor *x = input(5, 8);
        tensor *y = kind ? checkpoint(nested_on_tape, &w, x, NULL) : op_silu(&c, block(&c, &w, x, NULL));
        seed(y);
        tape_backward(&c, NULL);
        assert_null(c.tape);
        memcpy(grad[kind], w.first->grad, sizeof grad[kind]);
        memset(w.first->grad, 0, sizeof grad[kind]);
    }
    assert_memory_equal(grad[0], grad[1], sizeof grad[0]);
    assert_true(grad[0][3] != 0);
}

/* Nothing is kept back for values that no backward pass will ask for. */
static void frozen_values_take_no_room_of_the_backward_pass(void **state)
{
    (void)state;
    c.recording = true;
    assert_non_null(op_gelu(&c, input(5, 8)));
    assert_int_equal(c.pass.used, 0);
    assert_non_null(op_gelu(&c, weights(5, 8, 0)));
    assert_true(c.pass.used > 0);
}

/* What is dropped behind its linear map and made again gives the same bits in less memory, also inside recomputed blocks. */
static tensor *dropping_block(ctx *k, const pair *w, tensor *x)
{
    tensor *h = op_gelu(k, op_linear(k, x, w->first, NULL)), *y = op_linear(k, h, w->second, NULL);
    tensor_drop(k, h);
    assert_true(!k->recording || ctx_failed(k) || !h->data);
    return y;
}

static void dropping_block_on_tape(ctx *k, const void *arg, tensor *const in[], tensor *out[])
{
    out[0] = dropping_block(k, arg, in[0]);
}

/* However many blocks there are, gradients of one at a time are held. */
static void a_pass_back_holds_the_gradients_of_one_block(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    size_t peak[2];
    for (int deep = 0; deep < 2; deep++) {
        c.pass.peak = 0;
        c.recording = true;
        tensor *y = input(5, 8);
        for (int i = 0; i < (deep ? 12 : 2); i++) y = dropping_block(&c, &w, y);
        seed(y);
        tape_backward(&c, NULL);
        peak[deep] = c.pass.peak;
        tape_clear(&c);
        assert_int_equal(c.pass.used, 0);
        arena_clear(&c.step);
    }
    assert_int_equal(peak[0], peak[1]);
}

static void dropped_values_are_made_again(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    tensor *all[] = {w.first, w.second};
    real grad[3][2][512];
    size_t peak[3];
    for (int kind = 0; kind < 3; kind++) {
        c.step.peak = c.pass.peak = 0;
        c.recording = true;
        tensor *y = input(5, 8);
        for (int i = 0; i < 6; i++)
            y = kind == 2   ? checkpoint(dropping_block_on_tape, &w, y, NULL)
                : kind == 1 ? dropping_block(&c, &w, y)
                            : block(&c, &w, y, NULL);
        seed(y);
        tape_backward(&c, NULL);
        for (int i = 0; i < 2; i++) {
            memcpy(grad[kind][i], all[i]->grad, sizeof grad[kind][i]);
            memset(all[i]->grad, 0, sizeof grad[kind][i]);
        }
        peak[kind] = c.step.peak + c.pass.peak;
        tape_clear(&c);
        arena_clear(&c.step);
    }
    assert_memory_equal(grad[0], grad[1], sizeof grad[0]);
    assert_memory_equal(grad[0], grad[2], sizeof grad[0]);
    assert_true(peak[0] - peak[1] > 4 * 5 * 64 * sizeof(real));
}

/* One that is used elsewhere too is not dropped, and stays when its linear map is walked back. */
static void values_that_are_kept_stay(void **state)
{
    (void)state;
    c.recording = true;
    tensor *w = weights(8, 8, 0), *h = op_gelu(&c, op_linear(&c, input(3, 8), w, NULL));
    tensor *y = op_add(&c, op_silu(&c, h), op_linear(&c, h, w, NULL));
    const real *values = h->data;
    seed(y);
    while (c.tape->out != h) tape_backward(&c, c.tape->previous);
    assert_ptr_equal(h->data, values);
    tape_backward(&c, NULL);
    assert_true(w->grad[0] != 0);
}

typedef struct told {
    int count;
    const tensor *weight[8];
    real gradient[8];
} told;

static void note_weight(ctx *k, void *user, tensor *weight)
{
    (void)k;
    told *t = user;
    t->weight[t->count] = weight;
    t->gradient[t->count++] = weight->grad[0];
}

/* Once each, after its last use has been walked, with the sum over all uses; the buffer is given back. */
static void a_weight_is_told_of_when_its_gradient_is_complete(void **state)
{
    (void)state;
    told kept = {0}, t = {0};
    tensor *first = weights(8, 8, 0), *second = weights(8, 8, 1);
    first->row = 1;
    second->row = 2;
    for (int pass = 0; pass < 2; pass++) {
        c.recording = true;
        tensor *y = op_linear(&c, op_linear(&c, op_linear(&c, input(3, 8), first, NULL), second, NULL), first, NULL);
        seed(y);
        if (pass == 1) {
            first->grad = second->grad = NULL;
            c.weight_done = note_weight;
            c.weight_done_user = &t;
        }
        tape_backward(&c, NULL);
        if (pass == 0) kept.gradient[0] = second->grad[0], kept.gradient[1] = first->grad[0];
    }
    assert_int_equal(t.count, 2);
    assert_ptr_equal(t.weight[0], second);
    assert_ptr_equal(t.weight[1], first);
    assert_true(t.gradient[0] == kept.gradient[0]);
    assert_true(fabs((double)(t.gradient[1] - kept.gradient[1])) < 1e-5 * (1 + fabs((double)kept.gradient[1])));
    assert_null(first->grad);
    assert_null(second->grad);
    assert_int_equal(first->uses, 0);
}

static void inference_keeps_only_the_result(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    tensor *x = input(5, 8), *plain = block(&c, &w, x, NULL);
    const arena_place mark = arena_mark(&c.step);
    tensor *y = inference(block_on_tape, &w, x);
    assert_memory_equal(y->data, plain->data, 40 * sizeof(real));
    const size_t kept = arena_mark(&c.step).own - mark.own;
    assert_true(kept < 40 * sizeof(real) + 512);
    assert_int_equal(c.scratch.used, 0);
    assert_ptr_equal((unsigned char *)y, c.step.base + mark.own);
}

static void nothing_happens_after_a_failure(void **state)
{
    (void)state;
    tensor *w = weights(4, 3, 0), *x = input(2, 3);
    c.recording = true;
    error_set(&c.error, DT_ERR_MEMORY, "planted");
    size_t used = c.step.used;
    assert_null(op_linear(&c, x, w, NULL));
    assert_null(op_silu(&c, NULL));
    assert_null(checkpoint(block_on_tape, NULL, NULL, NULL));
    assert_null(inference(block_on_tape, NULL, NULL));
    assert_null(tensor_grad(&c, w));
    assert_null(tensor_new(&c, &c.step, 1, (int64_t[]){1}));
    assert_null(c.tape);
    assert_int_equal(c.step.used, used);
    assert_string_equal(c.error.message, "planted");
}

/* ---- memory that runs out ---- */

/* One pass with the given limits of the step and scratch arenas. */
static dt_status pass(const pair *w, tensor *source, bool checkpointed, size_t step_limit, size_t scratch_limit)
{
    size_t step = c.step.limit, scratch = c.scratch.limit;
    error_clear(&c.error);
    tape_clear(&c);
    arena_clear(&c.step);
    arena_clear(&c.scratch);
    c.recording = true;
    c.step.limit = step_limit < step ? step_limit : step;
    c.scratch.limit = scratch_limit < scratch ? scratch_limit : scratch;
    tensor *y = three_blocks(w, source, checkpointed);
    real *d = tensor_grad(&c, y);
    if (d) d[0] = 1;
    if (d) tape_backward(&c, NULL);
    c.step.limit = step;
    c.scratch.limit = scratch;
    return c.error.status;
}

static void memory_that_runs_out_anywhere_is_a_status(void **state)
{
    (void)state;
    pair w = {weights(64, 8, 0), weights(8, 64, 1)};
    tensor *source = weights(5, 8, 2);
    for (int checkpointed = 0; checkpointed < 2; checkpointed++) {
        c.step.peak = c.scratch.peak = 0;
        assert_int_equal(pass(&w, source, checkpointed, SIZE_MAX, SIZE_MAX), DT_OK);
        size_t step = c.step.peak, scratch = c.scratch.peak;
        for (size_t limit = 0; limit < step; limit += 64)
            assert_int_equal(pass(&w, source, checkpointed, limit, SIZE_MAX), DT_ERR_MEMORY);
        for (size_t limit = 0; limit < scratch; limit += 64)
            assert_int_equal(pass(&w, source, checkpointed, SIZE_MAX, limit), DT_ERR_MEMORY);
        assert_int_equal(pass(&w, source, checkpointed, step, scratch), DT_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_recorded_unless_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_nothing_trainable_in_it_leaves_no_record, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_of_several_uses_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_add_up_over_passes_until_cleared, setup, teardown),
        cmocka_unit_test_setup_teardown(a_branch_that_nobody_differentiates_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(walking_back_stops_where_it_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(recomputed_blocks_give_the_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_of_several_inputs_and_results_are_recomputed_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(inference_moves_every_result_down, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frozen_block_under_nothing_trainable_is_plain_inference, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frozen_block_passes_gradients_on_and_makes_none_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_may_lie_inside_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(frozen_values_take_no_room_of_the_backward_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pass_back_holds_the_gradients_of_one_block, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped_values_are_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(values_that_are_kept_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(a_weight_is_told_of_when_its_gradient_is_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(inference_keeps_only_the_result, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_happens_after_a_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_anywhere_is_a_status, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
