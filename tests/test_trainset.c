/* What trains: rows chosen by rules; what is not chosen stays as it is and is neither kept nor written. */
#include "run_fixture.h"

#include "engine/open.h"
#include "train/batch.h"
#include "train/optimizer.h"
#include "train/trainset_file.h"

static ctx c;
static dit model;
static denoiser d;

static int setup(void **state)
{
    if (temp_folder_make(state) || ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO) != DT_OK) return -1;
    const dit_config config = fixture_config();
    if (dit_open(&c, &model, &config) != DT_OK) return -1;
    fixture_randomise(&c, &model, 3);
    d = fixture_denoiser(&model);
    return 0;
}

static int teardown(void **state)
{
    ctx_close(&c);
    return temp_folder_remove(state);
}

static int rows_that_train(const train_rule rules[], int count)
{
    trainset set = {0};
    for (int i = 0; i < model.params.count; i++) model.params.row[i].tensor->row = 0;
    assert_int_equal(trainset_add(&c, &set, &model.params, rules, count), DT_OK);
    return set.count;
}

static void the_last_rule_that_matches_a_name_decides(void **state)
{
    (void)state;
    const int all = model.params.count - 1; /* positions never train */
    assert_int_equal(rows_that_train(NULL, 0), all);
    assert_int_equal(rows_that_train((train_rule[]){{"*", true}}, 1), all);
    assert_int_equal(rows_that_train((train_rule[]){{"*.bias", true}}, 1), 3 + 2 * 5 + 2);
    assert_int_equal(rows_that_train((train_rule[]){{"*.bias", true}, {"y_embedder.*", true}}, 2), 3 + 2 * 5 + 2 + 1);
    assert_int_equal(rows_that_train((train_rule[]){{"blocks.*", true}, {"blocks.0.*", false}}, 2), 10);
    assert_int_equal(rows_that_train((train_rule[]){{"*", true}, {"*", false}}, 2), 0);
    assert_int_equal(rows_that_train((train_rule[]){{"pos_embed", true}}, 1), 0);
}

static void one_set_holds_rows_of_several_tables(void **state)
{
    (void)state;
    dit other;
    trainset set = {0};
    const dit_config config = fixture_config();
    assert_int_equal(dit_open(&c, &other, &config), DT_OK);
    assert_int_equal(trainset_add(&c, &set, &model.params, (train_rule[]){{"*.bias", true}}, 1), DT_OK);
    const int biases = set.count;
    assert_int_equal(trainset_add(&c, &set, &other.params, NULL, 0), DT_OK);
    assert_int_equal(set.count, biases + other.params.count - 1);
    assert_false(trainset_has_all(&set, &model.params));
    assert_true(trainset_has_all(&set, &other.params));
    int64_t values = 0;
    for (int i = 0; i < set.count; i++) {
        assert_int_equal(set.row[i].tensor->row, i + 1);
        values += tensor_count(set.row[i].tensor);
    }
    assert_int_equal(trainset_values(&set), values);
    assert_int_equal(trainset_bytes(&set, true), 16 * values);
    assert_int_equal(trainset_bytes(&set, false), 12 * values);
}

/* ---- a step in which most is frozen ---- */

static const train_rule last_block[] = {{"blocks.1.*", true}};

static void take_step(optimizer *o, int64_t step)
{
    batch b;
    schedule s;
    const arena_place mark = arena_mark(&c.step);
    schedule_full(&s, NOISE_LINEAR);
    assert_true(batch_new(&c, &b, &d, 2));
    for (int64_t i = 0; i < 2; i++) {
        b.t[i] = (int32_t)(300 * (i + 1));
        b.label[i] = (int32_t)i;
        b.weight[i] = 0.5F;
    }
    rng_normal(b.x0_values, tensor_count(b.x0), (rng_key){1, RNG_SAMPLE_START, (uint32_t)step, 0});
    rng_normal(b.noise_values, tensor_count(b.noise), (rng_key){1, RNG_NOISE, (uint32_t)step, 0});
    batch_diffuse(&c, &b, &d, &s);
    optimizer_begin(&c, o, 1e-2);
    c.recording = true;
    tensor *loss = batch_loss(&c, &d, &b);
    c.recording = false;
    assert_true(batch_backward(&c, loss));
    optimizer_end(&c, o, 1e-2, optimizer_grad_norm(&c, o), true);
    arena_release(&c.step, mark);
}

static real *copy_of(const tensor *t)
{
    real *copy = malloc(tensor_bytes(t));
    memcpy(copy, t->data, tensor_bytes(t));
    return copy;
}

static void open_last_block(trainset *set, optimizer *o, bool fused)
{
    dt_settings s;
    dt_settings_init(&s);
    s.fused_backward_pass = fused;
    s.ema_decay = 0.5;
    *set = (trainset){0};
    assert_int_equal(trainset_add(&c, set, &model.params, last_block, 1), DT_OK);
    assert_int_equal(set->count, 10);
    assert_int_equal(optimizer_open(&c, o, set, &s), DT_OK);
}

static void what_is_frozen_keeps_its_bits_and_has_no_gradient(void **state)
{
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        trainset set;
        optimizer o;
        real *before[64];
        open_last_block(&set, &o, fused);
        for (int i = 0; i < model.params.count; i++) before[i] = copy_of(model.params.row[i].tensor);
        for (int64_t step = 0; step < 3; step++) take_step(&o, step);
        for (int i = 0; i < model.params.count; i++) {
            const tensor *t = model.params.row[i].tensor;
            const bool same = !memcmp(before[i], t->data, tensor_bytes(t));
            assert_int_equal(same, t->row == 0);
            if (same) assert_null(t->grad);
            free(before[i]);
        }
    }
}

/* Only what trains is written; what is read back is what was written. */
static void a_file_of_the_set_holds_its_rows_alone(void **state)
{
    (void)state;
    trainset set;
    optimizer o;
    tensor_file f;
    static const train_values values[] = {TRAIN_WEIGHTS, TRAIN_AVERAGES, TRAIN_M, TRAIN_V};
    static const char *const prefix[] = {"", "average.", "exp_avg.", "exp_avg_sq."};
    open_last_block(&set, &o, false);
    for (int64_t step = 0; step < 3; step++) take_step(&o, step);
    assert_int_equal(trainset_write(&c, &set, temp_path("set"), values, prefix, 4, NULL), DT_OK);
    assert_int_equal(safetensors_open(&f, temp_path("set"), &c.error), DT_OK);
    assert_int_equal(f.count, 4 * 10);
    assert_non_null(tensor_file_find(&f, "exp_avg_sq.blocks.1.mlp.fc2.bias"));
    assert_null(tensor_file_find(&f, "blocks.0.mlp.fc2.bias"));
    tensor_file_close(&f);
    real *kept[10][4];
    for (int i = 0; i < 10; i++) {
        train_row *r = &set.row[i];
        real *const of[] = {r->tensor->data, r->average, r->m, r->v};
        for (int k = 0; k < 4; k++) {
            kept[i][k] = malloc(tensor_bytes(r->tensor));
            memcpy(kept[i][k], of[k], tensor_bytes(r->tensor));
            memset(of[k], 0, tensor_bytes(r->tensor));
        }
    }
    for (int k = 0; k < 4; k++)
        assert_int_equal(trainset_read(&c, &set, temp_path("set"), values[k], prefix[k]), DT_OK);
    for (int i = 0; i < 10; i++) {
        const train_row *r = &set.row[i];
        const real *const of[] = {r->tensor->data, r->average, r->m, r->v};
        for (int k = 0; k < 4; k++) {
            assert_memory_equal(of[k], kept[i][k], tensor_bytes(r->tensor));
            free(kept[i][k]);
        }
    }
    assert_int_equal(trainset_read(&c, &set, temp_path("set"), TRAIN_M, "nothing."), DT_ERR_SHAPE);
    assert_says(c.error.message, "nothing.blocks.1.");
}

static void averages_of_frozen_rows_are_the_weights_themselves(void **state)
{
    (void)state;
    trainset set;
    optimizer o;
    open_last_block(&set, &o, false);
    take_step(&o, 0);
    real *const *averages = trainset_values_in(&c, &set, &model.params, TRAIN_AVERAGES);
    for (int i = 0; i < model.params.count; i++) {
        const int row = model.params.row[i].tensor->row;
        assert_ptr_equal(averages[i], row ? set.row[row - 1].average : NULL);
    }
    real *weights = copy_of(set.row[0].tensor), *average = set.row[0].average;
    trainset_swap_averages(&c, &set);
    assert_ptr_equal(set.row[0].tensor->data, average);
    trainset_swap_averages(&c, &set);
    assert_memory_equal(set.row[0].tensor->data, weights, tensor_bytes(set.row[0].tensor));
    free(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_rule_that_matches_a_name_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(one_set_holds_rows_of_several_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_frozen_keeps_its_bits_and_has_no_gradient, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_of_the_set_holds_its_rows_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(averages_of_frozen_rows_are_the_weights_themselves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
