/* Mapped zip files: records are found where they lie, with and without zip64, and a directory that lies is refused. */
#include "temp_folder.h"

#include <string.h>

#include "container/zip_directory.h"

enum { RECORD_COUNT = 3, ROOM = 4096 };

static dt_error err;

/* A zip file that is built field by field, so that single fields can lie. */
typedef struct draft {
    unsigned char data[ROOM];
    size_t size;
    size_t local[RECORD_COUNT], payload[RECORD_COUNT], central[RECORD_COUNT], directory, end, end64;
} draft;

static const char *const names[RECORD_COUNT] = {"root/b", "root/a", "root/empty"}; /* not in order */
static const char *const contents[RECORD_COUNT] = {"second", "first!!", ""};

/* Little-endian; zeros behind the eighth byte. */
static void set(draft *d, size_t at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8) d->data[at + (size_t)i] = (unsigned char)value;
}

static void put(draft *d, uint64_t value, int bytes)
{
    set(d, d->size, value, bytes);
    d->size += (size_t)bytes;
}

static void put_text(draft *d, const char *text)
{
    memcpy(d->data + d->size, text, strlen(text));
    d->size += strlen(text);
}

static void put_local(draft *d, int i)
{
    d->local[i] = d->size;
    put(d, 0x04034b50, 4);
    put(d, 0, 22); /* sizes may be missing here: torch writes them behind the data */
    put(d, strlen(names[i]), 2);
    put(d, 7, 2); /* filler, as torch aligns data with it */
    put_text(d, names[i]);
    put(d, 0x4246, 2);
    put(d, 3, 2);
    put_text(d, "ZZZ");
    d->payload[i] = d->size;
    put_text(d, contents[i]);
}

static void put_central(draft *d, int i, bool zip64)
{
    uint64_t size = strlen(contents[i]);
    d->central[i] = d->size;
    put(d, 0x02014b50, 4);
    put(d, 0, 16); /* versions, flags, method, time, checksum */
    put(d, zip64 ? UINT32_MAX : size, 4);
    put(d, zip64 ? UINT32_MAX : size, 4);
    put(d, strlen(names[i]), 2);
    put(d, zip64 ? 4 + 4 + 28 : 0, 2);
    put(d, 0, 10); /* comment, disk, attributes */
    put(d, zip64 ? UINT32_MAX : d->local[i], 4);
    put_text(d, names[i]);
    if (!zip64) return;
    put(d, 0x9999, 2); /* another field first */
    put(d, 0, 2);
    put(d, 1, 2);
    put(d, 28, 2);
    put(d, size, 8);
    put(d, size, 8);
    put(d, d->local[i], 8);
    put(d, 0, 4);
}

static draft make(bool zip64)
{
    draft d = {0};
    for (int i = 0; i < RECORD_COUNT; i++) put_local(&d, i);
    d.directory = d.size;
    for (int i = 0; i < RECORD_COUNT; i++) put_central(&d, i, zip64);
    uint64_t bytes = d.size - d.directory;
    d.end64 = d.size;
    if (zip64) {
        put(&d, 0x06064b50, 4);
        put(&d, 44, 8);
        put(&d, 0, 12); /* versions, disks */
        put(&d, RECORD_COUNT, 8);
        put(&d, RECORD_COUNT, 8);
        put(&d, bytes, 8);
        put(&d, d.directory, 8);
        put(&d, 0x07064b50, 4);
        put(&d, 0, 4);
        put(&d, d.end64, 8);
        put(&d, 1, 4);
    }
    d.end = d.size;
    put(&d, 0x06054b50, 4);
    put(&d, 0, 4);
    put(&d, zip64 ? UINT16_MAX : RECORD_COUNT, 2);
    put(&d, zip64 ? UINT16_MAX : RECORD_COUNT, 2);
    put(&d, zip64 ? UINT32_MAX : bytes, 4);
    put(&d, zip64 ? UINT32_MAX : d.directory, 4);
    put(&d, 0, 2);
    return d;
}

/* From memory of exactly the draft's size, so that a sanitizer sees a read outside. */
static dt_status try_open(zip_directory *z, const draft *d, unsigned char **exact)
{
    *exact = malloc(d->size + 1);
    assert_non_null(*exact);
    memcpy(*exact + 1, d->data, d->size);
    return zip_directory_open(z, &(file_map){*exact + 1, d->size}, "some.zip", &err);
}

static void assert_sound(const draft *d)
{
    zip_directory z;
    unsigned char *exact;
    if (try_open(&z, d, &exact) != DT_OK) fail_msg("%s", err.message);
    assert_int_equal(z.count, RECORD_COUNT);
    assert_memory_equal(z.records[0].name, "root/a", 6);
    for (int i = 0; i < RECORD_COUNT; i++) {
        const zip_record *r = zip_directory_find(&z, names[i], strlen(names[i]));
        assert_non_null(r);
        assert_int_equal(r->size, strlen(contents[i]));
        assert_memory_equal(r->data, contents[i], r->size);
        assert_ptr_equal(r->data, exact + 1 + d->payload[i]);
    }
    assert_null(zip_directory_find(&z, "root/c", 6));
    assert_null(zip_directory_find(&z, "root/", 5));
    zip_directory_close(&z);
    free(exact);
}

static void assert_refused(const char *why, const draft *d)
{
    zip_directory z;
    unsigned char *exact;
    assert_int_equal(try_open(&z, d, &exact), DT_ERR_FORMAT);
    if (strncmp(err.message, "some.zip", 8) != 0 || !strstr(err.message, why))
        fail_msg("expected \"%s\", found \"%s\"", why, err.message);
    error_clear(&err);
    zip_directory_close(&z);
    free(exact);
}

static void records_are_found_where_they_lie(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        draft d = make(zip64);
        assert_sound(&d);
        set(&d, d.end + 20, 9, 2); /* with a comment */
        put_text(&d, "a comment");
        assert_sound(&d);
    }
}

/* One field of record `i`'s central header, or of the end record, is made to lie. */
static void assert_lie(const char *why, bool zip64, int i, size_t offset, uint64_t value, int bytes)
{
    draft d = make(zip64);
    set(&d, (i < 0 ? d.end : d.central[i]) + offset, value, bytes);
    assert_refused(why, &d);
}

static void a_lying_directory_is_refused(void **state)
{
    (void)state;
    assert_lie("another size", false, 0, 20, 3, 4);
    assert_lie("encrypted", false, 1, 8, 1, 2);
    assert_lie("another name", false, 0, 46, 'R', 1);
    assert_lie("lies outside", false, 0, 42, 4000000000u, 4);
    assert_lie("lies outside", false, 0, 42, 5, 4);
    assert_lie("zip64 field", false, 0, 42, UINT32_MAX, 4);
    assert_lie("directory is malformed", false, 1, 0, 0, 4);
    assert_lie("directory is malformed", false, 2, 28, 60000, 2);
    assert_lie("end record", false, -1, 0, 0, 1);
    assert_lie("end record", false, -1, 20, 1, 2);
    assert_lie("part of several", false, -1, 4, 1, 2);
    assert_lie("more records", false, -1, 10, 60000, 2);
    assert_lie("more records", false, -1, 10, 4, 2);
    assert_lie("outside the file", false, -1, 12, 4000, 4);
    assert_lie("outside the file", false, -1, 16, 4000000000u, 4);
    draft d = make(false);
    for (int k = 20; k <= 24; k += 4) set(&d, d.central[2] + (size_t)k, 4000000000u, 4);
    assert_refused("data lie outside", &d);
    d = make(false);
    for (int k = 20; k <= 24; k += 4) set(&d, d.central[0] + (size_t)k, strlen(contents[0]) + 1, 4);
    assert_refused("overlaps", &d);
}

static void a_lying_zip64_field_is_refused(void **state)
{
    (void)state;
    const size_t fields = 46 + 6 + 8; /* of the first record: header, name, the two fields' heads */
    assert_lie("another size", true, 0, fields, UINT64_MAX, 8);
    assert_lie("lies outside", true, 0, fields + 16, UINT64_MAX, 8);
    assert_lie("lies outside", true, 0, fields + 16, INT64_MAX, 8);
    assert_lie("zip64 field", true, 0, fields - 2, 23, 2);
    assert_lie("zip64 field", true, 0, fields - 6, 60000, 2);
    static const size_t end64_fields[] = {32, 40, 48};
    for (int i = 0; i < 3; i++) {
        draft d = make(true);
        set(&d, d.end64 + end64_fields[i], UINT64_MAX, 8);
        assert_refused("zip", &d);
    }
    draft d = make(true);
    set(&d, d.end - 12, UINT64_MAX, 8); /* in the locator */
    assert_refused("zip64 end record", &d);
    d = make(true);
    for (int k = 0; k <= 8; k += 8) set(&d, d.central[0] + fields + (size_t)k, UINT64_MAX, 8);
    assert_refused("data lie outside", &d);
}

static void compressed_records_are_told_apart(void **state)
{
    (void)state;
    draft d = make(false);
    zip_directory z;
    unsigned char *exact;
    set(&d, d.central[0] + 10, 8, 2);
    set(&d, d.central[0] + 24, 1000000, 4);
    assert_int_equal(try_open(&z, &d, &exact), DT_OK);
    assert_true(z.records[1].compressed && z.records[1].size == strlen(contents[0]));
    assert_false(z.records[0].compressed);
    zip_directory_close(&z);
    free(exact);
}

static void one_place_serves_one_record(void **state)
{
    (void)state;
    draft d = make(false);
    memcpy(d.data + d.central[0], d.data + d.central[1], 46 + 6); /* the same record twice */
    assert_refused("overlaps", &d);
    d = make(false);
    for (int i = 0; i < 2; i++) memcpy(d.data + (i ? d.central[0] + 46 : d.local[0] + 30), names[1], 6);
    assert_refused("two of this name", &d);
}

static void every_cut_and_every_odd_byte_is_survived(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        draft d = make(zip64);
        zip_directory z;
        unsigned char *exact;
        for (size_t size = d.size; size-- > 0;) {
            draft cut = d;
            cut.size = size;
            assert_refused("some.zip", &cut);
        }
        for (size_t i = 0; i < d.size; i++)
            for (int bit = 0; bit < 8; bit++) {
                draft odd = d;
                odd.data[i] ^= (unsigned char)(1 << bit);
                if (try_open(&z, &odd, &exact) == DT_OK)
                    for (size_t k = 0; k < z.count; k++)
                        assert_true(z.records[k].data >= exact + 1 &&
                                    z.records[k].size <= (size_t)(exact + 1 + d.size - z.records[k].data));
                error_clear(&err);
                zip_directory_close(&z);
                free(exact);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_found_where_they_lie),  cmocka_unit_test(a_lying_directory_is_refused),
        cmocka_unit_test(a_lying_zip64_field_is_refused),    cmocka_unit_test(one_place_serves_one_record),
        cmocka_unit_test(compressed_records_are_told_apart), cmocka_unit_test(every_cut_and_every_odd_byte_is_survived),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
