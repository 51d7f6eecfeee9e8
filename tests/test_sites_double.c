/* The two sites where adapters join (nn/adapter.h), in a frozen DiT: one that changes nothing leaves every bit, one that does has
 * the gradients of central differences, and the frozen weights get none. */
#include "frozen_dit.h"

#include "op/op.h"

enum { WIDTH = FROZEN_WIDTH, RANK = 2, VALUES = FROZEN_VALUES };

static const bool on = false; /* not off */

/* ---- what joins ---- */

/* y + (x A^T) B^T */
typedef struct low_rank {
    lin_w down, up; /* [RANK,I], [O,RANK] */
} low_rank;

static tensor *add_low_rank(ctx *c, const void *adapter, tensor *x, tensor *y)
{
    const low_rank *a = adapter;
    return op_add(c, y, lin(c, &a->up, lin(c, &a->down, x, 0), 0));
}

/* h + x A^T at one place of the block. */
typedef struct parallel {
    block_place place;
    lin_w w; /* [WIDTH,WIDTH] */
} parallel;

static tensor *add_parallel(ctx *c, const void *adapter, block_place place, tensor *x, tensor *h)
{
    const parallel *a = adapter;
    return place == a->place ? op_add(c, h, lin(c, &a->w, x, 0)) : h;
}

static tensor *same_result(ctx *c, const void *adapter, tensor *x, tensor *y)
{
    (void)c, (void)adapter, (void)x;
    return y;
}

static tensor *same_tokens(ctx *c, const void *adapter, block_place place, tensor *x, tensor *h)
{
    (void)c, (void)adapter, (void)place, (void)x;
    return h;
}

/* ---- the tests ---- */

static void an_adapter_that_changes_nothing_leaves_every_bit(void **state)
{
    (void)state;
    double plain[VALUES], joined[VALUES];
    open_frozen();
    keep_output(plain);
    const lin_site at_map = {.join = same_result, .off = &on};
    const block_site in_block = {.join = same_tokens, .off = &on};
    const network_sites *all = frozen.sites;
    assert_int_equal(all->map_count, 5 + 2 * 5);
    for (int i = 0; i < all->map_count; i++) all->map[i]->site = &at_map;
    for (int i = 0; i < all->block_count; i++) *all->block[i].first = &in_block;
    keep_output(joined);
    assert_memory_equal(plain, joined, sizeof plain);
}

static void an_adapter_that_is_off_is_not_there(void **state)
{
    (void)state;
    double plain[VALUES], joined[VALUES], alone[VALUES];
    static const bool off = true;
    open_frozen();
    keep_output(plain);
    parallel adapter = {.place = BLOCK_ATTENTION};
    adapter.w.w = random_input(2, (int64_t[]){WIDTH, WIDTH}, 300);
    const block_site last = {add_parallel, &adapter, &on, NULL}, first = {add_parallel, &adapter, &off, &last};
    const block_site neither = {add_parallel, &adapter, &off, NULL};
    frozen.block[1].site = &last;
    keep_output(alone);
    frozen.block[1].site = &first;
    keep_output(joined);
    assert_memory_equal(alone, joined, sizeof plain);
    frozen.block[1].site = &neither;
    keep_output(joined);
    assert_memory_equal(plain, joined, sizeof plain);
}

static void no_frozen_weight_has_a_gradient(void)
{
    for (int i = 0; i < frozen.params.count; i++) assert_null(frozen.params.row[i].tensor->grad);
}

static double error_of_joined(tensor *const in[], int count, bool checkpointing)
{
    context.checkpointing = checkpointing;
    differentiate(build_model, in);
    no_frozen_weight_has_a_gradient();
    return worst_error(build_model, in, count, 1);
}

static void low_rank_at_every_linear_map_has_the_right_gradients(void **state)
{
    (void)state;
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        tensor *in[16];
        low_rank adapter[2 * 4];
        lin_site site[2 * 4];
        int count = 0;
        open_frozen();
        for (int i = 0; i < 2 * 4; i++) {
            dit_block_w *b = &frozen.block[i / 4];
            lin_w *const map[] = {&b->qkv, &b->proj, &b->fc1, &b->fc2};
            lin_w *l = map[i % 4];
            adapter[i] = (low_rank){0};
            in[count++] = adapter[i].down.w = random_input(2, (int64_t[]){RANK, l->w->dim[1]}, 100 + (uint32_t)i);
            in[count++] = adapter[i].up.w = random_input(2, (int64_t[]){l->w->dim[0], RANK}, 200 + (uint32_t)i);
            site[i] = (lin_site){.join = add_low_rank, .adapter = &adapter[i], .off = &on};
            l->site = &site[i];
        }
        const double error = error_of_joined(in, count, checkpointing);
        print_message("low rank, checkpointed %d: %.2e\n", checkpointing, error);
        assert_true(error < 1e-6);
        arena_clear(&context.model);
    }
}

static void each_place_of_a_block_has_the_right_gradients(void **state)
{
    (void)state;
    for (int place = BLOCK_ENTRY; place <= BLOCK_EXIT; place++)
        for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
            double plain[VALUES], joined[VALUES];
            open_frozen();
            keep_output(plain);
            parallel adapter = {.place = (block_place)place};
            adapter.w.w = random_input(2, (int64_t[]){WIDTH, WIDTH}, 300);
            const block_site site = {add_parallel, &adapter, &on, NULL};
            frozen.block[1].site = &site;
            keep_output(joined);
            assert_memory_not_equal(plain, joined, sizeof plain);
            const double error = error_of_joined(&adapter.w.w, 1, checkpointing);
            print_message("place %d, checkpointed %d: %.2e\n", place, checkpointing, error);
            assert_true(error < 1e-6);
            arena_clear(&context.model);
        }
}

/* Blocks below the first adapter need no gradient: with checkpointing they leave nothing to walk back. */
static void blocks_below_an_adapter_are_not_walked_back(void **state)
{
    (void)state;
    int records[2];
    for (int block = 0; block < 2; block++) {
        parallel adapter = {.place = BLOCK_MLP};
        open_frozen();
        adapter.w.w = random_input(2, (int64_t[]){WIDTH, WIDTH}, 300);
        const block_site site = {add_parallel, &adapter, &on, NULL};
        frozen.block[block].site = &site;
        context.recording = true;
        build_model(&context, NULL);
        context.recording = false;
        records[block] = 0;
        for (const tape_record *r = context.tape; r; r = r->previous) records[block]++;
        tape_clear(&context);
        arena_clear(&context.step);
        arena_clear(&context.model);
    }
    assert_true(records[1] < records[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_adapter_that_changes_nothing_leaves_every_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(an_adapter_that_is_off_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(low_rank_at_every_linear_map_has_the_right_gradients, setup, teardown),
        cmocka_unit_test_setup_teardown(each_place_of_a_block_has_the_right_gradients, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_below_an_adapter_are_not_walked_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
