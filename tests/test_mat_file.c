/* MATLAB files: every kind of value as SciPy writes it, packed and not; files that are cut off or lie. */
#include "temp_folder.h"

#include <string.h>
#include <time.h>
#include <zlib.h>

#include "container/mat_file.h"

static void open_vector(mat_file *f, const char *name)
{
    char path[128];
    dt_error err = {0};
    snprintf(path, sizeof path, "vectors/mat/%s.mat", name);
    mat_file_open(f, path, &err);
    assert_string_equal(err.message, "");
}

static const mat_value *numbers(const mat_file *f, const char *name, int64_t count)
{
    const mat_value *v = mat_find(f, name);
    assert_non_null(v);
    assert_int_equal(v->kind, MAT_NUMBERS);
    assert_int_equal(v->count, count);
    return v;
}

static void all_kinds_of_values_are_read(void **state)
{
    (void)state;
    mat_file f;
    open_vector(&f, "kinds");
    const double *real = numbers(&f, "real", 4)->number;
    assert_true(real[0] == 1.5 && real[1] == 3.0 && real[2] == -2.0 && real[3] == 4e30); /* column by column */
    assert_true(numbers(&f, "single", 1)->number[0] == 0.5);
    assert_true(numbers(&f, "int8", 1)->number[0] == -7);
    assert_true(numbers(&f, "int64", 1)->number[0] == -1099511627776.0);
    assert_true(numbers(&f, "small", 2)->number[1] == 2);
    assert_true(numbers(&f, "complex", 1)->number[0] == 1);
    numbers(&f, "empty", 0);
    assert_int_equal(mat_find(&f, "text")->kind, MAT_TEXT);
    assert_string_equal(mat_find(&f, "text")->text, "na\xc3\xafve");
    assert_int_equal(mat_find(&f, "none")->kind, MAT_CELL);
    assert_int_equal(mat_find(&f, "none")->count, 0);
    assert_null(mat_find(&f, "absent"));
    mat_file_close(&f);
}

static void packed_and_plain_files_are_the_same(void **state)
{
    (void)state;
    static const char *const files[] = {"setid", "setid_plain"};
    for (size_t i = 0; i < 2; i++) {
        mat_file f;
        open_vector(&f, files[i]);
        assert_int_equal(f.count, 3);
        assert_true(numbers(&f, "trnid", 2)->number[0] == 3);
        assert_true(numbers(&f, "tstid", 4)->number[3] == 7);
        mat_file_close(&f);
    }
}

static void structures_and_cells_are_read(void **state)
{
    (void)state;
    mat_file f;
    open_vector(&f, "cars_train_annos");
    const mat_value *a = mat_find(&f, "annotations");
    assert_non_null(a);
    assert_int_equal(a->kind, MAT_STRUCT);
    assert_int_equal(a->count, 3);
    assert_string_equal(mat_field(a, 2, "fname")->text, "00003.jpg");
    assert_true(mat_field(a, 0, "class")->number[0] == 2);
    assert_true(mat_field(a, 1, "bbox_y2")->number[0] == 303);
    assert_null(mat_field(a, 1, "nothing"));
    assert_null(mat_field(a, 3, "fname"));
    mat_file_close(&f);
    open_vector(&f, "cars_meta");
    const mat_value *names = mat_find(&f, "class_names");
    assert_int_equal(names->kind, MAT_CELL);
    assert_int_equal(names->count, 3);
    assert_string_equal(names->child[1].text, "Ram C/V Cargo Van Minivan 2012");
    assert_string_equal(names->child[2].text, "Citro\xc3\xabn C3 2001");
    mat_file_close(&f);
}

/* ---- hostile files ---- */

static void read_bytes(const char *bytes, size_t size, dt_status expected)
{
    mat_file f;
    dt_error err = {0};
    temp_write("hostile.mat", bytes, size);
    dt_status status = mat_file_open(&f, temp_path("hostile.mat"), &err);
    if (status != DT_OK) {
        assert_non_null(strstr(err.message, "hostile.mat"));
        assert_int_equal(f.count, 0);
    }
    if (expected != DT_OK) assert_int_equal(status, expected);
    mat_file_close(&f);
}

static char *load(size_t *size, const char *name)
{
    char path[128], *bytes;
    dt_error err = {0};
    snprintf(path, sizeof path, "vectors/mat/%s.mat", name);
    assert_int_equal(file_read_all(&bytes, size, path, 1 << 20, &err), DT_OK);
    return bytes;
}

/* Cut between two variables, or behind the header, a file is a shorter whole one; everywhere else it is refused. */
static void files_that_are_cut_off_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"kinds", "cars_train_annos", "cars_test_annos_withlabels", "setid"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        char *bytes = load(&size, names[i]);
        for (size_t n = 0; n < size; n++) read_bytes(bytes, n, n < 128 || n == size - 1 ? DT_ERR_FORMAT : DT_OK);
        free(bytes);
    }
}

/* What is read may be nonsense; it must be read, or refused, at once and within the file's bounds. */
static void files_with_wrong_bits_do_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {"kinds", "cars_test_annos_withlabels", "cars_meta", "setid_plain"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        char *bytes = load(&size, names[i]);
        for (size_t at = 124; at < size; at++) {
            bytes[at] ^= (char)(1 << at % 8);
            read_bytes(bytes, size, DT_OK);
            bytes[at] ^= (char)(1 << at % 8);
            char kept = bytes[at];
            bytes[at] = '\xff';
            read_bytes(bytes, size, DT_OK);
            bytes[at] = kept;
        }
        free(bytes);
    }
}

/* 40 packed elements of 64 KB, each of 60 MiB: little is kept of any, but unpacking them all takes time. */
static void what_is_unpacked_is_bounded(void **state)
{
    (void)state;
    enum { UNPACKED = 60 << 20, ELEMENTS = 40 };
    size_t size;
    char *head = load(&size, "setid");
    uint8_t *zeros = calloc(UNPACKED, 1), *packed = malloc(1 << 20), *file = calloc(ELEMENTS + 1, 1 << 20), *at = file;
    uLongf length = 1 << 20;
    /* an array element, which holds flags of a kind that is not read, no dimensions, no name, and zeros */
    static const uint8_t begin[] = {14, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0,
                                    0,  0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    memcpy(zeros, begin, sizeof begin);
    const uint32_t bytes = UNPACKED - 8;
    memcpy(zeros + 4, &bytes, 4);
    assert_int_equal(compress(packed, &length, zeros, UNPACKED), Z_OK);
    memcpy(at, head, 128);
    at += 128;
    for (int i = 0; i < ELEMENTS; i++) {
        const uint32_t tag[2] = {15, (uint32_t)length};
        memcpy(at, tag, 8);
        memcpy(at + 8, packed, length);
        at += 8 + length;
    }
    const clock_t before = clock();
    read_bytes((const char *)file, 128 + 2 * (8 + length), DT_OK); /* two may be unpacked */
    read_bytes((const char *)file, (size_t)(at - file), DT_ERR_FORMAT);
    assert_true(clock() - before < 5 * CLOCKS_PER_SEC);
    free(head);
    free(zeros);
    free(packed);
    free(file);
}

static void other_files_are_refused_by_name(void **state)
{
    (void)state;
    size_t size;
    char *bytes = load(&size, "setid");
    bytes[125] = 2; /* version 0x0200: HDF5 */
    bytes[124] = 0;
    read_bytes(bytes, size, DT_ERR_UNSUPPORTED);
    bytes[125] = 3;
    read_bytes(bytes, size, DT_ERR_FORMAT);
    bytes[126] = 'X';
    read_bytes(bytes, size, DT_ERR_FORMAT);
    read_bytes("", 0, DT_ERR_FORMAT);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds_of_values_are_read),     cmocka_unit_test(packed_and_plain_files_are_the_same),
        cmocka_unit_test(structures_and_cells_are_read),    cmocka_unit_test(files_that_are_cut_off_are_refused),
        cmocka_unit_test(files_with_wrong_bits_do_no_harm), cmocka_unit_test(other_files_are_refused_by_name),
        cmocka_unit_test(what_is_unpacked_is_bounded),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
