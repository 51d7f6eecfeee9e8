/* Encoded pictures on disk: what is kept is what the codec makes, whatever stopped the work; changed pictures and damaged
 * files are encoded again; nothing else is. */
#include "file/folder.h"
#include "latent_fixture.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/examples.h"
#include "file/json_file.h"

/* ---- encoding a folder ---- */

typedef struct world {
    ctx c;
    codec vae;
    latent_cache cache;
    examples set;
    int64_t stop_after; /* pictures; < 0: never */
    int64_t encoded;    /* pictures of this call */
} world;

static world w;

static void collect(void *user, const char *line)
{
    fixture_collect(user, line);
}

static bool count_picture(void *user, int64_t done, int64_t count)
{
    (void)user;
    (void)done;
    if (count == 0) return false; /* never waits for another process */
    return ++w.encoded != w.stop_after;
}

static examples_options options_of(int64_t resolution)
{
    return (examples_options){.codec = &w.vae,
                              .cache = &w.cache,
                              .resolution = resolution,
                              .background = "#ffffff",
                              .watch = {.log = collect, .go_on = count_picture}};
}

static dt_status encode_as(const char *vae, const char *pictures, const char *folder, int64_t resolution, int threads,
                           int64_t stop_after)
{
    w = (world){.stop_after = stop_after};
    fixture_log[0] = '\0';
    assert_int_equal(ctx_open(&w.c, DT_DEVICE_CPU, threads, DT_ISA_AUTO), DT_OK);
    ctx_enter(&w.c);
    if (codec_open(&w.c, &w.vae, vae) != DT_OK) fail_msg("%s", w.c.error.message);
    const examples_options o = options_of(resolution);
    if (latent_cache_open(&w.cache, temp_path(folder), &w.vae, resolution, o.background, &o.watch, &w.c.error) ==
            DT_OK &&
        examples_open(&w.c, &w.set, temp_path(pictures), &o) == DT_OK)
        latent_cache_finish(&w.cache, &w.c.error);
    snprintf(fixture_message, sizeof fixture_message, "%s", w.c.error.message);
    return w.c.error.status;
}

static dt_status encode(const char *pictures, const char *folder)
{
    return encode_as(tiny_codec, pictures, folder, LATENT_PICTURE, 1, -1);
}

static void leave(void)
{
    examples_close(&w.set);
    latent_cache_close(&w.cache);
    ctx_close(&w.c);
}

/* Encodes and says how many pictures had to be. */
static int64_t encode_whole(const char *pictures, const char *folder)
{
    if (encode(pictures, folder) != DT_OK) fail_msg("%s", fixture_message);
    int64_t encoded = w.encoded;
    leave();
    return encoded;
}

/* The one folder of a pair below a cache folder. */
static const char *pair_of(const char *folder)
{
    static char path[200];
    dt_error err = {0};
    file_names names;
    assert_int_equal(file_list(&names, temp_path(folder), &err), DT_OK);
    assert_int_equal(names.count, 1);
    snprintf(path, sizeof path, "%.80s/%.80s", folder, names.name[0]);
    file_names_free(&names);
    return path;
}

static const char *in_pair(const char *folder, const char *name)
{
    static char path[240];
    snprintf(path, sizeof path, "%s/%s", pair_of(folder), name);
    return temp_path(path);
}

/* Hash of names below the folder and bytes, the folder's own name left out. */
static file_hash bits_of(const char *folder)
{
    dt_error err = {0};
    file_hash out;
    assert_int_equal(file_rename(temp_path(folder), temp_path("compared"), &err), DT_OK);
    out = fixture_tree("compared");
    assert_int_equal(file_rename(temp_path("compared"), temp_path(folder), &err), DT_OK);
    return out;
}

/* ---- what is kept ---- */

static void expect_moments_of_hand(const char *vae, int64_t side)
{
    static float x[3 * 32 * 32], moments[2 * 5 * 16];
    if (encode_as(vae, "data", "by_hand", side, 2, -1) != DT_OK) fail_msg("%s", fixture_message);
    dataset d;
    dataset_options options = {.resolution = side, .background = "#ffffff"};
    assert_int_equal(dataset_open(&d, temp_path("data"), &options, &w.c.error), DT_OK);
    int64_t values = w.cache.picture_values / 2;
    assert_int_equal(w.set.count, d.count);
    assert_true(values <= 2 * 5 * 16);
    for (int64_t i = 0; i < d.count; i++)
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            dataset_image(x, &d, i, mirrored);
            assert_int_equal(codec_encode(&w.c, &w.vae, moments, x, 1, side, side), DT_OK);
            const float *kept = latent_cache_moments(&w.cache, w.set.pictures.content[i]);
            assert_memory_equal(kept + mirrored * values, moments, (size_t)values * sizeof *kept);
            assert_string_equal(w.set.pictures.name[i], d.name[i]);
            assert_int_equal(w.set.pictures.label[i], d.label[i]);
        }
    assert_memory_equal(&w.set.pictures.report, &d.report, offsetof(dataset_report, skip));
    dataset_close(&d);
    leave();
    fixture_remove("by_hand");
}

static void moments_are_those_of_the_picture_and_its_mirror_image(void **state)
{
    (void)state;
    expect_moments_of_hand(tiny_codec, 32);
    expect_moments_of_hand(temp_path("kl"), 16);
}

static void an_example_is_drawn_from_its_moments(void **state)
{
    (void)state;
    enum { VALUES = 3 * 16 };
    float z[VALUES], noise[VALUES];
    const rng_key key = {.seed = 3, .purpose = RNG_LATENT, .step = 5, .sample = 7};
    assert_int_equal(encode_as(temp_path("kl"), "data", "drawn", 16, 1, -1), DT_OK);
    rng_normal(noise, VALUES, key);
    for (int64_t i = 0; i < w.set.count; i++)
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            const float *m = latent_cache_moments(&w.cache, w.set.pictures.content[i]) + mirrored * 2 * VALUES;
            examples_get(z, &w.set, i, mirrored, &key);
            for (int j = 0; j < VALUES; j++)
                assert_true(fabs((double)z[j] - 0.5 * (m[j] + exp(0.5 * m[VALUES + j]) * noise[j])) < 1e-5);
            examples_get(z, &w.set, i, mirrored, NULL);
            for (int j = 0; j < VALUES; j++) assert_true(z[j] == 0.5F * m[j]);
        }
    leave();
    fixture_remove("drawn");
}

/* ---- stopping and going on ---- */

static void the_same_bytes_however_often_it_was_stopped(void **state)
{
    (void)state;
    assert_int_equal(encode_whole("data", "whole"), 12);
    file_hash whole = bits_of("whole");
    for (int threads = 2; threads <= 3; threads++) {
        assert_int_equal(encode_as(tiny_codec, "data", "threads", LATENT_PICTURE, threads, -1), DT_OK);
        leave();
        assert_same_bits(bits_of("threads"), whole);
        fixture_remove("threads");
    }
    for (int64_t stop = 1; stop <= 5; stop += 2) {
        dt_status status;
        int calls = 0;
        do {
            status = encode_as(tiny_codec, "data", "stopped", LATENT_PICTURE, 1, stop);
            if (status != DT_OK) assert_says(fixture_message, "goes on");
            leave();
            calls++;
        } while (status == DT_ERR_INTERRUPTED);
        assert_int_equal(status, DT_OK);
        assert_true(calls > 1);
        assert_same_bits(bits_of("stopped"), whole);
        fixture_remove("stopped");
    }
    assert_int_equal(encode_whole("data", "whole"), 0);
    assert_same_bits(bits_of("whole"), whole);
}

static void sets_share_the_folder_of_their_codec_and_transform(void **state)
{
    (void)state;
    assert_int_equal(encode_whole("held", "whole"), 6);
    assert_int_equal(encode_whole("held", "whole"), 0);
    assert_int_equal(encode_whole("data", "whole"), 0);
    assert_non_null(pair_of("whole"));
    assert_int_equal(encode_as(tiny_codec, "data", "whole", 16, 1, -1), DT_OK);
    assert_int_equal(w.encoded, 12);
    leave();
    dt_error err = {0};
    file_names names;
    assert_int_equal(file_list(&names, temp_path("whole"), &err), DT_OK);
    assert_int_equal(names.count, 2);
    file_names_free(&names);
    fixture_remove("whole");
}

/* ---- pictures that change ---- */

static void copy_picture(const char *from, const char *to)
{
    char *data;
    size_t size;
    dt_error err = {0};
    assert_int_equal(file_read_all(&data, &size, temp_path(from), 1 << 20, &err), DT_OK);
    temp_write(to, data, size);
    free(data);
}

static void only_what_changed_is_encoded_again(void **state)
{
    (void)state;
    dt_error err = {0};
    fixture_images("changing", FIXTURE_CLASSES, 2, LATENT_PICTURE, 0);
    assert_int_equal(encode_whole("changing", "change"), 6);
    copy_picture("held/c0/000.png", "changing/c0/000.png"); /* edited */
    assert_int_equal(encode_whole("changing", "change"), 1);
    copy_picture("held/c1/001.png", "changing/c1/more.png"); /* added */
    assert_int_equal(encode_whole("changing", "change"), 1);
    assert_int_equal(remove(temp_path("changing/c2/002.png")), 0);
    assert_int_equal(file_rename(temp_path("changing/c2/005.png"), temp_path("changing/c2/other.png"), &err), DT_OK);
    copy_picture("changing/c2/other.png", "changing/c2/twice.png");
    assert_int_equal(encode_whole("changing", "change"), 0); /* removed, renamed, there twice */
    temp_write("changing/c0/broken.png", "no picture", 10);
    assert_int_equal(encode("changing", "change"), DT_OK);
    assert_int_equal(w.encoded, 0);
    assert_int_equal(w.set.pictures.report.skip_count, 1);
    assert_int_equal(w.set.count, 7);
    leave();
    fixture_remove("changing");
    fixture_remove("change");
}

static void the_same_picture_twice_is_encoded_once(void **state)
{
    (void)state;
    fixture_images("twins", 1, 2, LATENT_PICTURE, 0);
    copy_picture("twins/c0/000.png", "twins/c0/002.png");
    assert_int_equal(encode("twins", "twin"), DT_OK);
    assert_int_equal(w.set.count, 3);
    assert_int_equal(w.cache.shards.row_count, 2);
    assert_int_equal(w.cache.shards.shard[0].count, 2);
    leave();
    fixture_remove("twins");
    fixture_remove("twin");
}

/* ---- damage ---- */

static void change_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    int byte = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(byte ^ 1, f);
    fclose(f);
}

static void a_damaged_shard_is_told_and_encoded_again(void **state)
{
    (void)state;
    static const char shard[] = "shard-00000-000012.safetensors";
    encode_whole("data", "damaged");
    file_hash whole = bits_of("damaged");
    for (int way = 0; way < 3; way++) {
        const char *path = in_pair("damaged", shard);
        if (way == 0) change_byte(path, -9);
        if (way == 1) assert_int_equal(truncate(path, 300), 0);
        if (way == 2) assert_int_equal(remove(path), 0);
        assert_int_equal(encode_whole("data", "damaged"), 12);
        assert_says(fixture_log, shard);
        assert_says(fixture_log, "made again");
        assert_same_bits(bits_of("damaged"), whole);
        assert_int_equal(encode_whole("data", "damaged"), 0);
        assert_null(strstr(fixture_log, "made again"));
    }
    fixture_remove("damaged");
}

static void what_a_dead_call_left_is_removed(void **state)
{
    (void)state;
    char name[240];
    encode_whole("data", "dead");
    file_hash whole = bits_of("dead");
    snprintf(name, sizeof name, "%s/shard-00001-000003.safetensors", pair_of("dead"));
    temp_write(name, "x", 1);
    snprintf(name, sizeof name, "%s/shard-00001-000004.safetensors.tmp-77", pair_of("dead"));
    temp_write(name, "x", 1);
    assert_int_equal(encode_whole("data", "dead"), 0);
    assert_same_bits(bits_of("dead"), whole);
    fixture_remove("dead");
}

/* A manifest as it was before there were seals, which would tell of any change. */
static char *unsealed_manifest(const char *folder)
{
    dt_error err = {0};
    json_t *manifest = json_file_read_sealed(in_pair(folder, "manifest.json"), &err);
    assert_non_null(manifest);
    char *text = json_dumps(manifest, JSON_INDENT(1));
    json_decref(manifest);
    return text;
}

static void write_manifest(const char *folder, const char *text)
{
    char name[240];
    snprintf(name, sizeof name, "%s/manifest.json", pair_of(folder));
    temp_write(name, text, strlen(text));
}

static void a_manifest_that_lies_is_refused_in_one_line(void **state)
{
    (void)state;
    char *good, text[4096];
    encode_whole("data", "lying");
    good = unsealed_manifest("lying");
    static const char *const changes[][2] = {
        {"\"count\": 12", "\"count\": 0"},
        {"\"count\": 12", "\"count\": -1"},
        {"\"count\": 12", "\"count\": 99999999999"},
        {"\"count\": 12", "\"count\": \"12\""},
        {"\"number\": 0", "\"number\": -3"},
        {"\"sha256\": \"", "\"sha256\": \"0"},
        {"difftune latents 1", "difftune latents 9"},
        {"\"resolution\": 32", "\"resolution\": 64"},
        {"\"shards\": [", "\"shards\": [{\"number\": 0, \"count\": 12, \"sha256\": \""
                          "0000000000000000000000000000000000000000000000000000000000000000\"}, "},
        {"\"shards\": [", "\"shards\": [5, "},
        {"\"shards\": [", "\"shards\": [[], "},
        {"\"shards\"", "\"shard\""},
        {"{", ""},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *at = strstr(good, changes[i][0]);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, changes[i][1], at + strlen(changes[i][0]));
        write_manifest("lying", text);
        assert_int_equal(encode("data", "lying"), DT_ERR_FORMAT);
        assert_says(fixture_message, "manifest.json");
        leave();
    }
    write_manifest("lying", good);
    assert_int_equal(encode_whole("data", "lying"), 0);
    free(good);
    fixture_remove("lying");
}

/* Shards whose hash is right and whose contents are not. */
static void a_shard_that_lies_is_encoded_again(void **state)
{
    (void)state;
    static const float moments[12 * 2 * 5 * 16];
    static const uint8_t content[12 * 32];
    static int64_t origin[12 * 4];
    const int64_t dims[] = {12, 2, 1, 5, 4, 4}, short_dims[] = {11, 2, 1, 5, 4, 4}, content_dims[] = {12, 32};
    const int64_t origin_dims[] = {12, 4};
    char *good, text[4096];
    dt_error err = {0};
    for (int way = 0; way < 5; way++) {
        encode_whole("data", "liar");
        file_hash whole = bits_of("liar"), hash;
        for (int i = 0; i < 12 * 4; i++) origin[i] = way == 0 ? 99 : way == 1 ? -1 : 1;
        const tensor_source sources[] = {
            {.name = "moments",
             .dtype = way == 2 ? SAFETENSORS_I32 : SAFETENSORS_F32,
             .dim_count = 6,
             .dims = way == 3 ? short_dims : dims,
             .data = moments},
            {.name = "origin", .dtype = SAFETENSORS_I64, .dim_count = 2, .dims = origin_dims, .data = origin},
            {.name = way == 4 ? "contents" : "content",
             .dtype = SAFETENSORS_U8,
             .dim_count = 2,
             .dims = content_dims,
             .data = content}};
        assert_int_equal(
            safetensors_write(in_pair("liar", "shard-00000-000012.safetensors"), sources, 3, NULL, 0, &hash, &err),
            DT_OK);
        good = unsealed_manifest("liar");
        char *at = strstr(strstr(good, "\"shards\""), "\"sha256\": \"") + strlen("\"sha256\": \"");
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, hash.hex, at + 64);
        write_manifest("liar", text);
        free(good);
        assert_int_equal(encode_whole("data", "liar"), 12);
        assert_says(fixture_log, "made again");
        assert_same_bits(bits_of("liar"), whole);
        fixture_remove("liar");
    }
}

static void a_full_disk_leaves_what_was_there(void **state)
{
    (void)state;
    encode_whole("held", "full");
    file_hash before = bits_of("full");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        limit_file_size(4096);
        dt_status status = encode("data", "full");
        _exit(status == DT_ERR_IO && strstr(fixture_message, "shard-") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_same_bits(bits_of("full"), before);
    assert_int_equal(encode_whole("data", "full"), 12);
    fixture_remove("full");
}

static void *take_lock(void *user)
{
    dt_error err = {0};
    assert_int_equal(file_lock_folder(user, in_pair("locked", ""), &err), DT_OK);
    return NULL;
}

/* What another process or thread fills is waited for, which the watcher here will not do; what this thread left open never ends. */
static void one_process_fills_a_folder_at_a_time(void **state)
{
    (void)state;
    file_lock lock;
    pthread_t other;
    encode_whole("data", "locked");
    assert_int_equal(pthread_create(&other, NULL, take_lock, &lock), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(encode("data", "locked"), DT_ERR_INTERRUPTED);
    assert_says(fixture_log, "another process");
    leave();
    file_unlock(&lock);
    take_lock(&lock);
    assert_int_equal(encode("data", "locked"), DT_ERR_CONFLICT);
    assert_says(fixture_message, "was begun by this thread and has not ended");
    leave();
    file_unlock(&lock);
    assert_int_equal(encode_whole("data", "locked"), 0);
    fixture_remove("locked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_those_of_the_picture_and_its_mirror_image),
        cmocka_unit_test(an_example_is_drawn_from_its_moments),
        cmocka_unit_test(the_same_bytes_however_often_it_was_stopped),
        cmocka_unit_test(sets_share_the_folder_of_their_codec_and_transform),
        cmocka_unit_test(only_what_changed_is_encoded_again),
        cmocka_unit_test(the_same_picture_twice_is_encoded_once),
        cmocka_unit_test(a_damaged_shard_is_told_and_encoded_again),
        cmocka_unit_test(what_a_dead_call_left_is_removed),
        cmocka_unit_test(a_manifest_that_lies_is_refused_in_one_line),
        cmocka_unit_test(a_shard_that_lies_is_encoded_again),
        cmocka_unit_test(a_full_disk_leaves_what_was_there),
        cmocka_unit_test(one_process_fills_a_folder_at_a_time),
    };
    return cmocka_run_group_tests(tests, latent_fixture_make, temp_folder_remove);
}
