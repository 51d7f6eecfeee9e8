/* Numbers of an engine between ranks: by way of the host, and from device to device. */
#include "rank_fixture.h"

#include "tensor/tensor.h"
#include "train/carry.h"

static int code[FIXTURE_RANKS_MAX];

static void assert_all_end_with(int count, int expected)
{
    for (int i = 0; i < count; i++)
        if (code[i] != expected) fail_msg("rank %d of %d ended with %d", i, count, code[i]);
}

/* ---- a way from device to device ---- */

/* The host wire, with memory that kernels alone reach. */
typedef struct device_way {
    const engine_memory *memory;
    const rank_wire *wire;
    const rank_part *part;
    rank_part *here;
    int count;
} device_way;

static dt_status way_begin(void *state, const rank_part part[], int count, dt_error *err)
{
    device_way *w = state;
    w->part = part;
    w->count = count;
    w->here = calloc((size_t)count + 1, sizeof *part);
    for (int i = 0; i < count; i++) {
        w->here[i] = part[i];
        w->here[i].data = malloc(part[i].bytes);
        if (part[i].sends) w->memory->download(w->here[i].data, part[i].data, part[i].bytes, err);
    }
    return w->wire->begin(w->wire->state, w->here, count, err);
}

static dt_status way_test(void *state, bool *done, dt_error *err)
{
    device_way *w = state;
    if (w->wire->test(w->wire->state, done, err) != DT_OK || !*done) return err->status;
    for (int i = 0; i < w->count; i++) {
        if (!w->part[i].sends) w->memory->upload(w->part[i].data, w->here[i].data, w->part[i].bytes);
        free(w->here[i].data);
    }
    free(w->here);
    return err->status;
}

static void way_close(void *state, bool together)
{
    (void)state;
    (void)together;
}

static void join_devices(rank_group *g, const dt_context *c, device_way *w)
{
    *w = (device_way){.memory = &c->engine.memory, .wire = &g->wire};
    g->device = (rank_wire){g->index, g->count, w, way_begin, way_test, way_close};
    g->reaches_devices = true;
}

/* ---- much at once ---- */

static unsigned char byte_of(int from, int to, size_t at)
{
    return (unsigned char)(from * 37 + to * 101 + at % 251 + at / 4099);
}

enum { PARTS = 3 }; /* between each two */

/* Of each of these parts: more than one message holds, one byte, and less than a message. */
static size_t part_bytes(int from, int to, int part)
{
    const size_t bytes[PARTS] = {9000001 + (size_t)(4000000 * from + 1000000 * to), 1, 70003};
    return bytes[part];
}

/* Room of the engine for what goes between this rank and another one, filled where it goes. */
static char *room_between(dt_context *c, const rank_group *g, int peer, bool sends)
{
    const int from = sends ? g->index : peer, to = sends ? peer : g->index;
    const size_t bytes = part_bytes(from, to, 0) + part_bytes(from, to, 1) + part_bytes(from, to, 2);
    char *room = numbers_alloc(c, &c->model, bytes);
    unsigned char *host = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) host[i] = sends ? byte_of(from, to, i) : 0;
    if (room) c->engine.memory.upload(room, host, bytes);
    free(host);
    return room;
}

static bool came_whole(dt_context *c, const rank_group *g, int peer, const char *room)
{
    const size_t bytes = part_bytes(peer, g->index, 0) + part_bytes(peer, g->index, 1) + part_bytes(peer, g->index, 2);
    unsigned char *host = malloc(bytes);
    bool whole = c->engine.memory.download(host, room, bytes, &c->error) == DT_OK;
    for (size_t i = 0; i < bytes && whole; i++) whole = host[i] == byte_of(peer, g->index, i);
    free(host);
    return whole;
}

/* Each two ranks exchange lists of parts, of other sizes each way; `user`: whether devices reach each other. */
static int carry_much(rank_group *g, void *user)
{
    dt_context *c = NULL;
    dt_settings s = fixture_settings("");
    rank_part part[2 * PARTS * FIXTURE_RANKS_MAX];
    char *room[FIXTURE_RANKS_MAX][2];
    int count = 0;
    device_way way;
    s.ranks = DT_RANKS_ALONE;
    fixture_choose_device(&s);
    if (dt_open(&c, &s) != DT_OK) return 1;
    c->ranks = g;
    if (*(const bool *)user) join_devices(g, c, &way);
    for (int peer = 0; peer < g->count; peer++)
        for (int sends = 0; sends < 2 && peer != g->index; sends++) {
            char *at = room[peer][sends] = room_between(c, g, peer, sends);
            for (int i = 0; i < PARTS; i++) {
                const size_t bytes = part_bytes(sends ? g->index : peer, sends ? peer : g->index, i);
                part[count++] = (rank_part){peer, sends, at, bytes};
                at += bytes;
            }
        }
    if (carry_numbers(c, part, count) != DT_OK) return 2;
    for (int peer = 0; peer < g->count; peer++)
        if (peer != g->index && !came_whole(c, g, peer, room[peer][0])) return 3;
    dt_close(c);
    return 0;
}

static void numbers_of_an_engine_come_whole(void **state)
{
    (void)state;
    for (int i = 0; i < 1 + fixture_is_guarded(); i++)
        for (int count = 2; count <= 3; count++) {
            bool there = i;
            rank_run(count, carry_much, &there, code);
            assert_all_end_with(count, 0);
        }
}

/* ---- runs ---- */

static int train_between_devices(rank_group *g, void *user)
{
    dt_context *c = NULL;
    dt_settings s = *(const dt_settings *)user;
    device_way way;
    s.ranks = DT_RANKS_ALONE;
    fixture_choose_device(&s);
    if (dt_open(&c, &s) != DT_OK) return 98;
    c->ranks = g;
    join_devices(g, c, &way);
    const dt_status status = dt_train(c, &s, NULL);
    dt_close(c);
    return (int)status;
}

static int train_by_way_of_the_host(rank_group *g, void *user)
{
    return (int)rank_call(g, dt_train, user, NULL);
}

static void assert_same_file(const char *name)
{
    file_hash host, device;
    dt_error err = {0};
    assert_int_equal(file_sha256(&host, temp_path_in("host/checkpoints/step-00000006", name), &err), DT_OK);
    assert_int_equal(file_sha256(&device, temp_path_in("device/checkpoints/step-00000006", name), &err), DT_OK);
    assert_string_equal(host.hex, device.hex);
}

static void from_device_to_device_it_is_the_same_run(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("host");
    if (!fixture_is_guarded()) skip();
    snprintf(s.ema_power, sizeof s.ema_power, "0.05,0.1");
    s.adam_moments = DT_PRECISION_BF16;
    rank_run(3, train_by_way_of_the_host, &s, code);
    assert_all_end_with(3, DT_OK);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("device"));
    rank_run(3, train_between_devices, &s, code);
    assert_all_end_with(3, DT_OK);
    assert_same_file("model.safetensors");
    assert_same_file("optimizer.safetensors");
    assert_same_file("power.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_an_engine_come_whole),
        cmocka_unit_test(from_device_to_device_it_is_the_same_run),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
