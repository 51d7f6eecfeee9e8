/* npz: numpy's own file, round trips, hostile zips and npy headers, failing writes. */
#include "temp_folder.h"

#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "container/npz.h"

enum { LIMIT = 1 << 20 };

static const npz_array *need(const npz *z, const char *name)
{
    const npz_array *a = npz_find(z, name);
    if (!a) fail_msg("no array %s", name);
    return a;
}

static void read_sound(npz *z, const char *path)
{
    dt_error err = {0};
    npz_read(z, path, LIMIT, &err);
    assert_string_equal(err.message, "");
}

static void assert_refused(dt_status status, const char *why)
{
    npz z;
    dt_error err = {0};
    dt_status found = npz_read(&z, temp_path("hostile"), LIMIT, &err);
    if (found != status || !strstr(err.message, why)) fail_msg("expected \"%s\", found \"%s\"", why, err.message);
    assert_non_null(strstr(err.message, "hostile"));
    assert_int_equal(z.count, 0);
}

/* A zip with members of these names, each with the same bytes. */
static void make_zip(const char *const names[], size_t count, const void *bytes, size_t size)
{
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    archive_write_set_format_zip(archive);
    archive_write_zip_set_compression_store(archive);
    assert_int_equal(archive_write_open_filename(archive, temp_path("hostile")), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        archive_entry_set_pathname(entry, names[i]);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_size(entry, (la_int64_t)size);
        assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
        assert_int_equal(archive_write_data(archive, bytes, size), size);
    }
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_entry_free(entry);
    archive_write_free(archive);
}

/* A zip whose one array `x` has this dictionary, followed by 8 zero bytes of data. */
static void make_array(const char *dictionary)
{
    char bytes[600] = "\x93NUMPY\x01";
    size_t length = strlen(dictionary);
    assert_true(length < 256);
    bytes[8] = (char)length;
    memcpy(bytes + 10, dictionary, length);
    make_zip((const char *[]){"x.npy"}, 1, bytes, 10 + length + 8);
}

/* vectors/numpy.npz was made by numpy.savez_compressed. */
static void a_file_of_numpy_is_read(void **state)
{
    (void)state;
    npz z;
    double mu[3], sigma[9], count, pixels[6], small[2];
    const double expected[9] = {2, .5, 0, .5, 1, .25, 0, .25, 4};
    read_sound(&z, "vectors/numpy.npz");
    assert_int_equal(z.count, 5);
    npz_to_f64(mu, need(&z, "mu"));
    assert_true(mu[0] == 0.5 && mu[1] == -1.25 && mu[2] == 3);
    assert_int_equal(need(&z, "sigma")->dim_count, 2);
    npz_to_f64(sigma, need(&z, "sigma"));
    assert_memory_equal(sigma, expected, sizeof expected);
    assert_int_equal(need(&z, "count")->dim_count, 0);
    npz_to_f64(&count, need(&z, "count"));
    assert_true(count == 50000);
    assert_int_equal(npz_count(need(&z, "pixels")), 6);
    npz_to_f64(pixels, need(&z, "pixels"));
    assert_true(pixels[5] == 5);
    npz_to_f64(small, need(&z, "small"));
    assert_true(small[0] == 1.5 && small[1] == 2.5);
    assert_null(npz_find(&z, "other"));
    npz_free(&z);
}

static void arrays_come_back_as_they_were_written(void **state)
{
    (void)state;
    const double mu[3] = {0.1, -2, 1e300};
    const float grid[4] = {1, 2, 3, 4};
    const int64_t count = -1;
    const int32_t narrow[2] = {1 << 30, -7};
    const uint8_t bytes[2] = {0, 255};
    const npz_array arrays[] = {
        {"mu", NPZ_F64, 1, {3}, mu},         {"grid", NPZ_F32, 8, {1, 2, 1, 1, 2, 1, 1, 1}, grid},
        {"count", NPZ_I64, 0, {0}, &count},  {"narrow", NPZ_I32, 2, {1, 2}, narrow},
        {"bytes", NPZ_U8, 2, {2, 1}, bytes}, {"nothing", NPZ_F64, 2, {0, 5}, NULL},
    };
    const size_t sizes[] = {sizeof mu, sizeof grid, sizeof count, sizeof narrow, sizeof bytes, 0};
    dt_error err = {0};
    npz z;
    npz_write(temp_path("back"), arrays, 6, &err);
    assert_string_equal(err.message, "");
    read_sound(&z, temp_path("back"));
    assert_int_equal(z.count, 6);
    for (size_t i = 0; i < 6; i++) {
        const npz_array *a = need(&z, arrays[i].name);
        assert_int_equal(a->dtype, arrays[i].dtype);
        assert_int_equal(a->dim_count, arrays[i].dim_count);
        assert_memory_equal(a->dims, arrays[i].dims, (size_t)a->dim_count * sizeof a->dims[0]);
        if (sizes[i] > 0) assert_memory_equal(a->data, arrays[i].data, sizes[i]);
    }
    double integers[2];
    npz_to_f64(integers, need(&z, "narrow"));
    assert_true(integers[0] == 1 << 30 && integers[1] == -7);
    npz_free(&z);
}

static void more_data_than_allowed_is_refused(void **state)
{
    (void)state;
    npz z;
    dt_error err = {0};
    assert_int_equal(npz_read(&z, "vectors/numpy.npz", 64, &err), DT_ERR_FORMAT);
    assert_non_null(strstr(err.message, "at most"));
    assert_int_equal(z.count, 0);
}

static void every_kind_of_lying_array_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dictionary;
        dt_status status;
        const char *why;
    } cases[] = {
        {"", DT_ERR_FORMAT, "malformed"},
        {"{}", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, }", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), } x", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1), }", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", DT_ERR_FORMAT, "malformed"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", DT_ERR_FORMAT, "do not fit"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", DT_ERR_FORMAT, "do not fit"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }", DT_ERR_FORMAT, "do not fit"},
        {"{'descr': '>f8', 'fortran_order': False, 'shape': (1,), }", DT_ERR_UNSUPPORTED, "little-endian"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", DT_ERR_UNSUPPORTED, "little-endian"},
        {"{'descr': '<f8', 'fortran_order': True, 'shape': (1,), }", DT_ERR_UNSUPPORTED, "C order"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_array(cases[i].dictionary);
        assert_refused(cases[i].status, cases[i].why);
    }
    npz z;
    make_array("{'shape':(1,),'fortran_order':False,'descr':'<f8'}\n");
    read_sound(&z, temp_path("hostile"));
    npz_free(&z);
}

static void members_that_are_no_arrays_are_refused(void **state)
{
    (void)state;
    make_zip((const char *[]){"readme.txt"}, 1, "x", 1);
    assert_refused(DT_ERR_FORMAT, "ends with .npy");
    make_zip((const char *[]){"sixty-four-characters-are-one-more-than-the-name-of-an-array-has.npy"}, 1, "x", 1);
    assert_refused(DT_ERR_FORMAT, "expected a name");
    make_zip((const char *[]){"x.npy"}, 1, "too short", 9);
    assert_refused(DT_ERR_FORMAT, "cut off");
    make_zip((const char *[]){"x.npy"}, 1, "not numpy at all", 16);
    assert_refused(DT_ERR_FORMAT, "not in npy format");
    make_zip((const char *[]){"x.npy"}, 1, "\x93NUMPY\x02\0\xff\xff\xff\xff", 12);
    assert_refused(DT_ERR_FORMAT, "longer than");
    static const char empty[] = "\x93NUMPY\x01\0\x34\0{'descr':'<f8','fortran_order':False,'shape':(0,)}  ";
    make_zip((const char *[]){"x.npy", "x.npy"}, 2, empty, 62);
    assert_refused(DT_ERR_FORMAT, "twice");
    char names[NPZ_ARRAY_MAX + 1][16];
    const char *many[NPZ_ARRAY_MAX + 1];
    for (int i = 0; i <= NPZ_ARRAY_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%d.npy", i);
        many[i] = names[i];
    }
    make_zip(many, NPZ_ARRAY_MAX + 1, empty, 62);
    assert_refused(DT_ERR_FORMAT, "more than 32 arrays");
    temp_write("hostile", "no zip", 6);
    assert_refused(DT_ERR_FORMAT, "not a sound npz");
    npz z;
    dt_error err = {0};
    assert_int_equal(npz_read(&z, temp_path("missing"), LIMIT, &err), DT_ERR_IO);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    static double values[64];
    for (int i = 0; i < 64; i++) values[i] = i;
    const npz_array array = {"x", NPZ_F64, 1, {64}, values};
    dt_error err = {0};
    char *bytes;
    size_t size;
    npz z;
    npz_write(temp_path("sound"), &array, 1, &err);
    assert_int_equal(file_read_all(&bytes, &size, temp_path("sound"), 4096, &err), DT_OK);
    for (size_t length = 0; length < size; length++) {
        temp_write("hostile", bytes, length);
        error_clear(&err);
        assert_int_equal(npz_read(&z, temp_path("hostile"), LIMIT, &err), DT_ERR_FORMAT);
    }
    for (size_t at = 0; at < size; at++) { /* in the data the checksum must notice; elsewhere nothing may break */
        bytes[at] ^= 4;
        temp_write("hostile", bytes, size);
        error_clear(&err);
        if (npz_read(&z, temp_path("hostile"), LIMIT, &err) == DT_OK)
            for (size_t i = 0; i < z.count; i++) assert_memory_equal(z.arrays[i].data, values, sizeof values);
        npz_free(&z);
        bytes[at] ^= 4;
    }
    free(bytes);
}

static void a_failed_write_keeps_the_old_statistics(void **state)
{
    (void)state;
    static double values[5000];
    const npz_array array = {"x", NPZ_F64, 1, {5000}, values};
    dt_error err = {0};
    temp_write("statistics", "old", 3);
    size_t before = temp_count();
    limit_file_size(4096);
    dt_status status = npz_write(temp_path("statistics"), &array, 1, &err);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(status, DT_ERR_IO);
    assert_non_null(strstr(err.message, temp_path("statistics")));
    assert_int_equal(temp_count(), before);
    file_map m;
    error_clear(&err);
    assert_int_equal(file_map_open(&m, temp_path("statistics"), &err), DT_OK);
    assert_int_equal(m.size, 3);
    file_map_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_numpy_is_read),
        cmocka_unit_test(arrays_come_back_as_they_were_written),
        cmocka_unit_test(more_data_than_allowed_is_refused),
        cmocka_unit_test(every_kind_of_lying_array_is_refused),
        cmocka_unit_test(members_that_are_no_arrays_are_refused),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(a_failed_write_keeps_the_old_statistics),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
