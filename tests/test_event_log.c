/* TensorBoard event files: checksums, and every record read back by a parser that knows only the format. */
#include "temp_folder.h"

#include <string.h>
#include <time.h>

#include "run/event_log.h"

/* One decoded event; of nested messages the innermost found. */
typedef struct event {
    double wall_time;
    int64_t step, session_status;
    char version[32], tag[64];
    float value;
    int64_t width, height;
    char png[64];
    size_t png_bytes;
} event;

static uint64_t take_varint(const unsigned char **at)
{
    uint64_t value = 0;
    int shift = 0;
    do value |= (uint64_t)(**at & 127) << shift, shift += 7;
    while (*(*at)++ & 128);
    return value;
}

/* `path` is the field numbers from the outermost message inwards, as decimal digits. */
static void decode(event *e, int path, const unsigned char *at, const unsigned char *end)
{
    while (at < end) {
        uint64_t key = take_varint(&at), kind = key & 7;
        int field = path * 10 + (int)(key >> 3);
        uint64_t number = kind == 0 || kind == 2 ? take_varint(&at) : 0;
        size_t size = kind == 0 ? 0 : kind == 1 ? 8 : kind == 5 ? 4 : (size_t)number;
        assert_true(size <= (size_t)(end - at));
        switch (field) {
        case 1: memcpy(&e->wall_time, at, 8); break;
        case 2: e->step = (int64_t)number; break;
        case 3: snprintf(e->version, sizeof e->version, "%.*s", (int)size, at); break;
        case 5:
        case 51:
        case 514:
        case 7: decode(e, field, at, at + size); break;
        case 71: e->session_status = (int64_t)number; break;
        case 511: snprintf(e->tag, sizeof e->tag, "%.*s", (int)size, at); break;
        case 512: memcpy(&e->value, at, 4); break;
        case 5141: e->height = (int64_t)number; break;
        case 5142: e->width = (int64_t)number; break;
        case 5143: assert_int_equal(number, 3); break;
        case 5144: memcpy(e->png, at, e->png_bytes = size); break;
        default: fail_msg("unexpected field %d", field);
        }
        at += size;
    }
}

static uint32_t unmask(uint32_t masked)
{
    uint32_t rotated = masked - 0xa282ead8u;
    return rotated >> 17 | rotated << 15;
}

/* Checks all checksums of a file and decodes its events; returns their number. */
static int read_events(event events[], int limit, const char *path)
{
    dt_error err = {0};
    file_map m;
    int count = 0;
    assert_int_equal(file_map_open(&m, path, &err), DT_OK);
    for (size_t at = 0; at < m.size; count++) {
        uint64_t length;
        uint32_t length_crc, data_crc;
        assert_true(count < limit && m.size - at >= 16);
        memcpy(&length, m.data + at, 8);
        memcpy(&length_crc, m.data + at + 8, 4);
        assert_int_equal(unmask(length_crc), event_log_crc32c(m.data + at, 8));
        assert_true(length <= m.size - at - 16);
        memcpy(&data_crc, m.data + at + 12 + length, 4);
        assert_int_equal(unmask(data_crc), event_log_crc32c(m.data + at + 12, length));
        events[count] = (event){0};
        decode(&events[count], 0, m.data + at + 12, m.data + at + 12 + length);
        at += 16 + length;
    }
    file_map_close(&m);
    return count;
}

static void checksums_agree_with_published_ones(void **state)
{
    (void)state;
    unsigned char bytes[32] = {0};
    assert_int_equal(event_log_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(event_log_crc32c("", 0), 0);
    assert_int_equal(event_log_crc32c(bytes, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    memset(bytes, 0xff, 32);
    assert_int_equal(event_log_crc32c(bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    assert_int_equal(event_log_crc32c(bytes, 32), 0x46dd794e);
}

static void scalars_and_images_are_read_back(void **state)
{
    (void)state;
    dt_error err = {0};
    event_log log;
    event e[8];
    event_log_open(&log, temp_folder, 7, &err);
    event_log_scalar(&log, "loss/target", 0, 0.25, &err);
    event_log_scalar(&log, "loss/bank", INT64_C(5000000000), -1e-3, &err);
    event_log_image(&log, "samples", 300, "\x89PNG pretended", 14, 640, 20, &err);
    event_log_close(&log);
    event_log_close(&log);
    assert_string_equal(err.message, "");
    assert_int_equal(read_events(e, 8, log.path), 5);
    assert_string_equal(e[0].version, "brain.Event:2");
    assert_true(e[0].wall_time > (double)time(NULL) - 60 && e[0].wall_time < (double)time(NULL) + 2);
    assert_int_equal(e[1].session_status, 1);
    assert_int_equal(e[1].step, 7);
    assert_string_equal(e[2].tag, "loss/target");
    assert_true(e[2].value == 0.25f && e[2].step == 0);
    assert_string_equal(e[3].tag, "loss/bank");
    assert_true(e[3].value == -1e-3f && e[3].step == INT64_C(5000000000));
    assert_string_equal(e[4].tag, "samples");
    assert_true(e[4].width == 640 && e[4].height == 20 && e[4].step == 300);
    assert_int_equal(e[4].png_bytes, 14);
    assert_memory_equal(e[4].png, "\x89PNG pretended", 14);
}

static void every_run_gets_a_file_of_its_own_that_sorts_after_the_earlier_ones(void **state)
{
    (void)state;
    dt_error err = {0};
    event_log logs[3];
    for (int i = 0; i < 3; i++) assert_int_equal(event_log_open(&logs[i], temp_folder, i, &err), DT_OK);
    for (int i = 0; i < 3; i++) {
        long long seconds;
        const char *name = strrchr(logs[i].path, '/') + 1;
        assert_int_equal(sscanf(name, "events.out.tfevents.%10lld.", &seconds), 1);
        if (i > 0) assert_true(strcmp(logs[i - 1].path, logs[i].path) < 0);
        event_log_close(&logs[i]);
    }
    assert_int_equal(event_log_open(&logs[0], temp_path("missing"), 0, &err), DT_ERR_IO);
    event_log_close(&logs[0]);
}

static void a_full_disk_leaves_whole_records(void **state)
{
    (void)state;
    static char png[20000];
    dt_error err = {0}, full = {0};
    event_log log;
    event e[8];
    event_log_open(&log, temp_folder, 0, &err);
    limit_file_size(4096);
    dt_status status = event_log_image(&log, "samples", 1, png, sizeof png, 9, 9, &full);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(status, DT_ERR_IO);
    assert_non_null(strstr(full.message, log.path));
    event_log_scalar(&log, "loss", 2, 1, &err);
    event_log_close(&log);
    assert_string_equal(err.message, "");
    assert_int_equal(read_events(e, 8, log.path), 3);
    assert_string_equal(e[2].tag, "loss");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_agree_with_published_ones),
        cmocka_unit_test(scalars_and_images_are_read_back),
        cmocka_unit_test(every_run_gets_a_file_of_its_own_that_sorts_after_the_earlier_ones),
        cmocka_unit_test(a_full_disk_leaves_whole_records),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
