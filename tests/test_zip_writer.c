/* Zip files of stored records: the bytes of the format, alignment, zip64 where it is needed, and nothing left of failures. */
#include "temp_folder.h"

#include <string.h>
#include <unistd.h>

#include "container/zip_directory.h"
#include "container/zip_writer.h"

static dt_error err;

static void must(dt_status status)
{
    if (status != DT_OK) fail_msg("%s", err.message);
}

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static void open_map(file_map *map, zip_directory *z, const char *name)
{
    must(file_map_open(map, temp_path(name), &err));
    must(zip_directory_open(z, map, name, &err));
}

static void close_map(file_map *map, zip_directory *z)
{
    zip_directory_close(z);
    file_map_close(map);
}

static void the_checksum_is_the_crc_of_zip(void **state)
{
    (void)state;
    assert_int_equal(zip_checksum(0, "123456789", 9), 0xcbf43926); /* the check value of every CRC-32 table */
    assert_int_equal(zip_checksum(zip_checksum(0, "1234", 4), "56789", 5), 0xcbf43926);
    assert_int_equal(zip_checksum(0, "", 0), 0);
}

/* One record by hand, from PKWARE's APPNOTE. */
static void a_small_file_has_these_bytes(void **state)
{
    (void)state;
    static const unsigned char local[] = {'P', 'K', 3, 4, 20, 0, 0, 8, 0, 0, 0,    0, 33,  0,   0x26, 0x39, 0xf4, 0xcb,
                                          9,   0,   0, 0, 9,  0, 0, 0, 1, 0, 0x21, 0, 'a', 'F', 'B',  0x1d, 0};
    static const unsigned char central[] = {'P',  'K',  1,    2,    45, 0, 20, 0, 0, 8, 0, 0, 0, 0, 33, 0,
                                            0x26, 0x39, 0xf4, 0xcb, 9,  0, 0,  0, 9, 0, 0, 0, 1, 0, 0,  0,
                                            0,    0,    0,    0,    0,  0, 0,  0, 0, 0, 0, 0, 0, 0, 'a'};
    static const unsigned char end[] = {'P', 'K', 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, 47, 0, 0, 0, 73, 0, 0, 0, 0, 0};
    zip_writer z;
    file_map map;
    file_hash stated, found;
    must(zip_writer_begin(&z, temp_path("small"), &err));
    must(zip_writer_add(&z, "a", "123456789", 9, &err));
    must(zip_writer_commit(&z, &stated, &err));
    must(file_sha256(&found, temp_path("small"), &err));
    assert_string_equal(stated.hex, found.hex);
    must(file_map_open(&map, temp_path("small"), &err));
    assert_int_equal(map.size, 64 + 9 + sizeof central + sizeof end);
    assert_memory_equal(map.data, local, sizeof local);
    for (size_t i = sizeof local; i < 64; i++) assert_int_equal(map.data[i], 'Z');
    assert_memory_equal(map.data + 64, "123456789", 9);
    assert_memory_equal(map.data + 73, central, sizeof central);
    assert_memory_equal(map.data + 73 + sizeof central, end, sizeof end);
    file_map_close(&map);
}

static void every_record_begins_at_a_multiple_of_64(void **state)
{
    (void)state;
    char data[300];
    zip_writer z;
    zip_directory back;
    file_map map;
    memset(data, 'x', sizeof data);
    must(zip_writer_begin(&z, temp_path("many"), &err));
    for (int i = 0; i < 300; i++) {
        char name[400] = {0}; /* each of another length */
        memset(name, 'n', (size_t)(3 + i));
        must(zip_writer_add(&z, name, data, (size_t)i, &err));
    }
    must(zip_writer_commit(&z, NULL, &err));
    open_map(&map, &back, "many");
    assert_int_equal(back.count, 300);
    for (size_t i = 0; i < back.count; i++) {
        const zip_record *r = &back.records[i];
        assert_int_equal((r->data - map.data) % 64, 0);
        assert_int_equal(r->size, r->name_length - 3);
        assert_false(r->compressed);
        assert_int_equal(number(r->header + 14, 4), zip_checksum(0, r->data, r->size));
    }
    close_map(&map, &back);
}

/* Holes stand for data of 5 GiB, so the file takes no room. */
static void sizes_and_places_beyond_4_gib_are_zip64(void **state)
{
    (void)state;
    const uint64_t large = (uint64_t)5 << 30;
    zip_writer z;
    zip_directory back;
    file_map map;
    must(zip_writer_begin(&z, temp_path("large"), &err));
    must(zip_writer_record(&z, "hole", large, 0, &err));
    if (lseek(z.file.fd, (off_t)large, SEEK_CUR) < 0) {
        zip_writer_abort(&z);
        skip(); /* a file system without large files */
    }
    z.at += large;
    must(zip_writer_add(&z, "far", "behind", 6, &err));
    must(zip_writer_commit(&z, NULL, &err));
    open_map(&map, &back, "large");
    const zip_record *hole = zip_directory_find(&back, "hole", 4), *far = zip_directory_find(&back, "far", 3);
    assert_true(hole && far);
    assert_true(hole->size == large && hole->data == map.data + 64);
    assert_int_equal(number(hole->header + 4, 2), 45);
    assert_true(far->size == 6 && (size_t)(far->data - map.data) > large);
    assert_memory_equal(far->data, "behind", 6);
    assert_memory_equal(map.data + map.size - 22, "PK\5\6\0\0\0\0\2\0\2\0", 12);
    assert_int_equal(number(map.data + map.size - 6, 4), UINT32_MAX); /* the directory's place */
    close_map(&map, &back);
    unlink(temp_path("large"));
}

static void more_than_65534_records_are_zip64(void **state)
{
    (void)state;
    zip_writer z;
    zip_directory back;
    file_map map;
    must(zip_writer_begin(&z, temp_path("crowd"), &err));
    for (int i = 0; i < 65600; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        must(zip_writer_add(&z, name, name, strlen(name), &err));
    }
    must(zip_writer_commit(&z, NULL, &err));
    open_map(&map, &back, "crowd");
    assert_int_equal(back.count, 65600);
    const zip_record *last = zip_directory_find(&back, "65599", 5);
    assert_true(last && last->size == 5);
    assert_memory_equal(last->data, "65599", 5);
    close_map(&map, &back);
    unlink(temp_path("crowd"));
}

static void a_failure_leaves_the_old_file_and_nothing_else(void **state)
{
    (void)state;
    zip_writer z;
    char *text, long_name[600];
    size_t size, before;
    temp_write("old", "old", 3);
    before = temp_count();
    must(zip_writer_begin(&z, temp_path("old"), &err));
    must(zip_writer_add(&z, "a", "b", 1, &err));
    zip_writer_abort(&z);
    zip_writer_abort(&z);
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    must(zip_writer_begin(&z, temp_path("old"), &err));
    assert_int_not_equal(zip_writer_add(&z, long_name, "b", 1, &err), DT_OK);
    error_clear(&err);
    assert_int_equal(temp_count(), before);
    must(file_read_all(&text, &size, temp_path("old"), 10, &err));
    assert_string_equal(text, "old");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_the_crc_of_zip),
        cmocka_unit_test(a_small_file_has_these_bytes),
        cmocka_unit_test(every_record_begins_at_a_multiple_of_64),
        cmocka_unit_test(sizes_and_places_beyond_4_gib_are_zip64),
        cmocka_unit_test(more_than_65534_records_are_zip64),
        cmocka_unit_test(a_failure_leaves_the_old_file_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
