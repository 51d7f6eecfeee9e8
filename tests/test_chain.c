/* The chain of forgetting: samples whose steps are shared are those that are drawn one by one, to the bit; what is measured of them
 * is what eval measures; models that do not fit are refused. */
#include "latent_fixture.h"

#include "file/json_file.h"

static dt_chain_result result;

static dt_status chain(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    return dt_chain(c, s, observer, &result);
}

/* tuned and base have the same classes, wide has one more; sit and base_sit are flows. */
static int make(void **state)
{
    dit_config k = fixture_config();
    if (latent_fixture_make(state)) return -1;
    fixture_base("tuned.safetensors", k, 12);
    dit_config latent = k;
    latent.channels = LATENT_CHANNELS;
    latent.input_size = LATENT_SIZE;
    latent.patch = 2;
    fixture_base("tuned_latent.safetensors", latent, 14);
    k.class_count++;
    fixture_base("wide.safetensors", k, 11);
    k = fixture_config();
    k.flow = true;
    fixture_base("sit.safetensors", k, 13);
    fixture_base("base_sit.safetensors", k, 15);
    return 0;
}

static void set_path(char path[DT_PATH_MAX], const char *name)
{
    snprintf(path, DT_PATH_MAX, "%s", temp_path(name));
}

static dt_settings settings_of(const char *model, const char *tail, const char *folder)
{
    dt_settings s;
    dt_settings_init(&s);
    set_path(s.pretrained_model, model);
    set_path(s.tail_model, tail);
    set_path(s.output_dir, folder);
    set_path(s.reference, "held");
    snprintf(s.tails, sizeof s.tails, "0,0.3,0.5,1");
    s.threads = 1;
    s.eval_count = s.num_samples = 6;
    s.sample_batch_size = 4;
    s.num_inference_steps = 6;
    s.seed = 3;
    return s;
}

/* The same settings for sample, with one tail. */
static dt_settings sample_of(dt_settings s, double tail, const char *folder)
{
    set_path(s.output_dir, folder);
    s.tail = tail;
    s.sample_batch_size = 2;
    return s;
}

static file_hash picture(const char *folder, int number)
{
    char name[128];
    dt_error err = {0};
    file_hash hash;
    snprintf(name, sizeof name, "%s/images/%06d.png", folder, number);
    if (file_sha256(&hash, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
    return hash;
}

/* Also the text inside: it says how a picture was drawn. */
static void assert_same_pictures(const char *a, const char *b)
{
    for (int i = 0; i < 6; i++) assert_same_bits(picture(a, i), picture(b, i));
}

static void check_shared_steps(const dt_settings *s)
{
    static const struct {
        double tail;
        const char *folder;
    } points[] = {{0, "chain/p0"}, {0.3, "chain/p30"}, {0.5, "chain/p50"}, {1, "chain/p100"}};
    fixture_must(chain, s);
    for (int i = 0; i < 4; i++) {
        dt_settings alone = sample_of(*s, points[i].tail, "alone");
        fixture_must(dt_sample, &alone);
        assert_same_pictures("alone", points[i].folder);
        fixture_remove("alone");
    }
    assert_string_not_equal(picture("chain/p30", 0).hex, picture("chain/p50", 0).hex);
    fixture_remove("chain");
}

static void shared_steps_give_the_bits_of_each_tail_alone(void **state)
{
    (void)state;
    static const char *const tails[] = {"base.safetensors", "wide.safetensors"};
    for (int kind = DT_SAMPLER_DDIM; kind <= DT_SAMPLER_EULER; kind++) {
        dt_settings s = settings_of("tuned.safetensors", tails[kind % 2], "chain");
        s.sampler = (dt_sampler)kind;
        if (kind == DT_SAMPLER_DDIM) s.eta = 0.7;
        check_shared_steps(&s);
    }
}

static void shared_steps_of_flows_and_of_latents_too(void **state)
{
    (void)state;
    dt_settings s = settings_of("sit.safetensors", "base_sit.safetensors", "chain");
    for (int kind = DT_SAMPLER_HEUN; kind <= DT_SAMPLER_EULER; kind++) {
        s.sampler = (dt_sampler)kind;
        check_shared_steps(&s);
    }
    s = settings_of("tuned_latent.safetensors", "latent.safetensors", "chain");
    snprintf(s.vae, sizeof s.vae, "%s", tiny_codec);
    check_shared_steps(&s);
}

static void guides_and_intervals_go_on_into_the_tail(void **state)
{
    (void)state;
    dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "chain");
    s.guidance_scale = 2;
    set_path(s.guidance_model, "wide.safetensors");
    check_shared_steps(&s);
    s.guidance_model[0] = '\0';
    snprintf(s.guidance_interval, sizeof s.guidance_interval, "100,600");
    check_shared_steps(&s);
}

static void read_picture(image *out, const char *folder, int number)
{
    char name[128], *data;
    size_t size;
    dt_error err = {0};
    const image_options options = {0};
    snprintf(name, sizeof name, "%s/images/%06d.png", folder, number);
    assert_int_equal(file_read_all(&data, &size, temp_path(name), 1 << 20, &err), DT_OK);
    assert_int_equal(image_decode(out, NULL, (uint8_t *)data, size, name, &options, &err), DT_OK);
    free(data);
}

static void assert_same_pixels(const char *a, const char *b)
{
    for (int i = 0; i < 6; i++) {
        image x, y;
        read_picture(&x, a, i);
        read_picture(&y, b, i);
        assert_memory_equal(x.rgb, y.rgb, 3 * FIXTURE_SIZE * FIXTURE_SIZE);
        image_close(&x);
        image_close(&y);
    }
}

/* The ends of the chain are the two models, where the base knows the classes. */
static void all_steps_by_the_tail_is_the_tails_model_and_none_is_the_other(void **state)
{
    (void)state;
    dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "chain");
    fixture_must(chain, &s);
    assert_says(fixture_log, "told the same classes");
    dt_settings base = settings_of("base.safetensors", "", "alone"),
                tuned = settings_of("tuned.safetensors", "", "own");
    base.tail_model[0] = tuned.tail_model[0] = '\0';
    fixture_must(dt_sample, &base);
    fixture_must(dt_sample, &tuned);
    assert_same_pixels("chain/p100", "alone");
    assert_same_pictures("chain/p0", "own");
    fixture_remove("chain");
    fixture_remove("alone");
    fixture_remove("own");
    s = settings_of("tuned.safetensors", "wide.safetensors", "chain");
    fixture_must(chain, &s);
    assert_says(fixture_log, "told nothing and unguided");
    fixture_remove("chain");
}

static void a_share_that_is_no_step_is_told_and_draws_without(void **state)
{
    (void)state;
    dt_settings s = sample_of(settings_of("tuned.safetensors", "base.safetensors", "x"), 0.05, "less");
    fixture_must(dt_sample, &s);
    assert_says(fixture_log, "makes no step: the share is less than half of one of 6");
    dt_settings plain = sample_of(s, 0, "plain");
    plain.tail_model[0] = '\0';
    fixture_must(dt_sample, &plain);
    assert_same_pictures("less", "plain");
    fixture_remove("less");
    fixture_remove("plain");
}

/* ---- distances and files ---- */

static dt_eval_result evaluated;

static dt_status eval(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    return dt_eval(c, s, observer, &evaluated);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b) + 1e-9;
}

static void distances_are_those_of_eval(void **state)
{
    (void)state;
    dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "chain");
    fixture_must(chain, &s);
    assert_int_equal(result.count, 4);
    for (int64_t i = 0; i < result.count; i++) {
        char folder[64];
        const dt_chain_point *p = &result.point[i];
        dt_settings e = s;
        snprintf(folder, sizeof folder, "chain/p%g/images", 100 * p->tail);
        set_path(e.candidate, folder);
        set_path(e.pretrained_model, "base.safetensors");
        fixture_must(eval, &e);
        assert_true(near(p->distance.frechet_distance, evaluated.frechet_distance));
        assert_true(near(p->distance.kernel_distance, evaluated.kernel_distance));
        assert_int_equal(p->distance.candidate_count, 6);
        assert_true(result.point[result.best].distance.frechet_distance <= p->distance.frechet_distance);
    }
    assert_int_equal(result.point[1].tail_steps, 2); /* 0.3 of 6, rounded */
    fixture_remove("chain");
}

static void the_files_say_what_was_measured(void **state)
{
    (void)state;
    dt_settings s = settings_of("tuned.safetensors", "wide.safetensors", "chain");
    dt_error err = {0};
    char *csv;
    size_t size;
    fixture_must(chain, &s);
    json_t *all = json_file_read(temp_path("chain/chain.json"), &err);
    const json_t *points = json_object_get(all, "points");
    assert_int_equal(json_array_size(points), 4);
    assert_int_equal(json_integer_value(json_object_get(all, "best")), result.best);
    assert_string_equal(json_string_value(json_object_get(all, "tail_is_told")), "nothing");
    assert_string_equal(json_string_value(json_object_get(all, "measure")), "FD-base");
    assert_int_equal(file_read_all(&csv, &size, temp_path("chain/chain.csv"), 1 << 16, &err), DT_OK);
    const char *line = csv;
    for (size_t i = 0; i < 4; i++) {
        const json_t *point = json_array_get(points, i);
        double tail, distance;
        int steps;
        line = strchr(line, '\n') + 1;
        assert_int_equal(sscanf(line, "%lf,%d,%lf", &tail, &steps, &distance), 3);
        assert_true(json_real_value(json_object_get(point, "tail")) == tail);
        assert_int_equal(json_integer_value(json_object_get(point, "tail_steps")), steps);
        assert_true(near(json_real_value(json_object_get(point, "frechet_distance")), distance));
        char name[64];
        snprintf(name, sizeof name, "chain/%s/grid.png", json_string_value(json_object_get(point, "folder")));
        assert_true(file_exists(temp_path(name)));
    }
    free(csv);
    json_decref(all);
    fixture_remove("chain");
}

/* ---- going on ---- */

static void more_shares_and_more_samples_are_added_to_what_is_there(void **state)
{
    (void)state;
    dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "chain"), whole = s;
    set_path(whole.output_dir, "whole");
    fixture_must(chain, &whole);
    snprintf(s.tails, sizeof s.tails, "0.3");
    s.eval_count = 3;
    fixture_must(chain, &s);
    s = settings_of("tuned.safetensors", "base.safetensors", "chain");
    s.sample_batch_size = 5;
    fixture_must(chain, &s);
    for (int i = 0; i < 6; i++) assert_same_bits(picture("chain/p30", i), picture("whole/p30", i));
    static const char *const same[] = {"chain.json", "chain.csv", "chain.txt", "p30/features.f32", "p100/features.f32"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char a[64], b[64];
        file_hash x, y;
        dt_error err = {0};
        snprintf(a, sizeof a, "chain/%s", same[i]);
        snprintf(b, sizeof b, "whole/%s", same[i]);
        assert_int_equal(file_sha256(&x, temp_path(a), &err), DT_OK);
        assert_int_equal(file_sha256(&y, temp_path(b), &err), DT_OK);
        assert_same_bits(x, y);
    }
    assert_null(strstr(fixture_log, "those beyond stay"));
    s.eval_count = 4;
    fixture_must(chain, &s);
    assert_says(fixture_log, "chain holds 6 images, eval_count is 4: those beyond stay");
    s.seed++;
    assert_int_equal(fixture_call_until(chain, &s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "the folder holds samples of a chain drawn otherwise");
    fixture_remove("chain");
    fixture_remove("whole");
}

static void sample_goes_on_in_a_folder_of_the_chain(void **state)
{
    (void)state;
    dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "chain");
    fixture_must(chain, &s);
    dt_settings more = sample_of(s, 0.5, "chain/p50");
    snprintf(more.save_statistics, sizeof more.save_statistics, "%s", temp_path("chain/p50/s.npz"));
    set_path(more.feature_weights, "base.safetensors");
    more.num_samples = 8;
    const file_hash before = picture("chain/p50", 5);
    fixture_must(dt_sample, &more);
    assert_same_bits(before, picture("chain/p50", 5));
    assert_true(file_exists(temp_path("chain/p50/images/000007.png")));
    fixture_remove("chain");
}

/* ---- what is refused ---- */

static void models_that_do_not_fit_are_refused_and_leave_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *model, *tail, *said;
    } pairs[] = {{"tuned.safetensors", "latent.safetensors", "samples of 5x4x4, those of the model are 3x16x16"},
                 {"tuned.safetensors", "sit.safetensors", "another noise schedule, or predicts something else"},
                 {"tuned.safetensors", "nothing.safetensors", "nothing.safetensors"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        dt_settings s = settings_of(pairs[i].model, pairs[i].tail, "refused");
        assert_int_not_equal(fixture_call_until(chain, &s, -1), DT_OK);
        assert_says(fixture_message, pairs[i].said);
        assert_int_not_equal(fixture_call_until(dt_sample, &s, -1), DT_OK);
        assert_says(fixture_message, pairs[i].said);
        assert_false(file_exists(temp_path("refused")));
    }
}

static void shares_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"",     ",",   "0,", "0.5,0.2",   "0,0", "1.1",
                                        "-0.1", "0;1", "a",  "0,0.00001", "nan", "0 1"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "refused");
        snprintf(s.tails, sizeof s.tails, "%s", lists[i]);
        assert_int_equal(fixture_call_until(chain, &s, -1), DT_ERR_ARG);
        assert_says(fixture_message, "tails must be");
    }
    dt_settings s = settings_of("tuned.safetensors", "base.safetensors", "refused");
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("nowhere"));
    assert_int_not_equal(fixture_call_until(chain, &s, -1), DT_OK);
    assert_says(fixture_message, "nowhere");
    assert_false(file_exists(temp_path("refused")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_steps_give_the_bits_of_each_tail_alone),
        cmocka_unit_test(shared_steps_of_flows_and_of_latents_too),
        cmocka_unit_test(guides_and_intervals_go_on_into_the_tail),
        cmocka_unit_test(all_steps_by_the_tail_is_the_tails_model_and_none_is_the_other),
        cmocka_unit_test(a_share_that_is_no_step_is_told_and_draws_without),
        cmocka_unit_test(distances_are_those_of_eval),
        cmocka_unit_test(the_files_say_what_was_measured),
        cmocka_unit_test(more_shares_and_more_samples_are_added_to_what_is_there),
        cmocka_unit_test(sample_goes_on_in_a_folder_of_the_chain),
        cmocka_unit_test(models_that_do_not_fit_are_refused_and_leave_nothing),
        cmocka_unit_test(shares_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
