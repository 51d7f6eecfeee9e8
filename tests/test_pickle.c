/* The pickle machine: plain data comes out as it went in, calls are noted and never made, and whatever is malformed or
 * meant to hurt ends in one line. Expected values follow Python's Lib/pickletools.py. */
#include "temp_folder.h"

#include <string.h>
#include <unistd.h>

#include "container/pickle.h"

static dt_error err;

#define BYTES(text) (const unsigned char *)(text), sizeof(text) - 1

static pickle read_sound(const unsigned char *data, size_t size)
{
    pickle p;
    if (pickle_read(&p, data, size, "a file", &err) != DT_OK) fail_msg("%s", err.message);
    assert_int_equal(p.size, size);
    return p;
}

static void assert_refused(const char *why, const unsigned char *data, size_t size)
{
    pickle p;
    assert_int_equal(pickle_read(&p, data, size, "a file", &err), DT_ERR_FORMAT);
    if (strncmp(err.message, "a file: pickle at byte ", 23) != 0 || !strstr(err.message, why))
        fail_msg("expected \"%s\", found \"%s\"", why, err.message);
    assert_null(p.values);
    pickle_free(&p);
    error_clear(&err);
}

/* ---- plain data ---- */

static void assert_integer(int64_t expected, const unsigned char *data, size_t size)
{
    pickle p = read_sound(data, size);
    assert_int_equal(pickle_at(&p, p.root)->kind, PICKLE_INT);
    assert_true(pickle_at(&p, p.root)->integer == expected);
    pickle_free(&p);
}

static void integers_of_every_width_are_read(void **state)
{
    (void)state;
    assert_integer(255, BYTES("K\xff."));
    assert_integer(65535, BYTES("M\xff\xff."));
    assert_integer(-2, BYTES("J\xfe\xff\xff\xff."));
    assert_integer(0, BYTES("\x8a\x00."));
    assert_integer(-1, BYTES("\x8a\x01\xff."));
    assert_integer(255, BYTES("\x8a\x02\xff\x00."));
    assert_integer(INT64_MIN, BYTES("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."));
    assert_integer(513, BYTES("\x8b\x02\x00\x00\x00\x01\x02."));
    pickle p = read_sound(BYTES("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."));
    assert_int_equal(pickle_at(&p, p.root)->kind, PICKLE_LONG); /* 2^63 */
    assert_int_equal(pickle_at(&p, p.root)->count, 9);
    pickle_free(&p);
}

static void other_scalars_are_read(void **state)
{
    (void)state;
    pickle p =
        read_sound(BYTES("\x80\x05\x95\x0f\x00\x00\x00\x00\x00\x00\x00(NG\xbf\xf8\x00\x00\x00\x00\x00\x00\x88\x89t."));
    assert_int_equal(pickle_at(&p, p.root)->count, 4);
    assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, 0))->kind, PICKLE_NONE);
    assert_true(pickle_at(&p, pickle_item(&p, p.root, 1))->real == -1.5);
    assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, 2))->integer, 1);
    assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, 3))->integer, 0);
    assert_int_equal(pickle_item(&p, p.root, 4), 0);
    pickle_free(&p);
    static const struct {
        const char *text;
        size_t size;
        pickle_kind kind;
    } texts[] = {
        {"U\x02"
         "ab.",
         5, PICKLE_STRING},
        {"T\x02\0\0\0ab.", 8, PICKLE_STRING},
        {"X\x02\0\0\0ab.", 8, PICKLE_STRING},
        {"\x8c\x02"
         "ab.",
         5, PICKLE_STRING},
        {"\x8d\x02\0\0\0\0\0\0\0ab.", 12, PICKLE_STRING},
        {"C\x02"
         "ab.",
         5, PICKLE_BYTES},
        {"B\x02\0\0\0ab.", 8, PICKLE_BYTES},
        {"\x8e\x02\0\0\0\0\0\0\0ab.", 12, PICKLE_BYTES},
        {"\x96\x02\0\0\0\0\0\0\0ab.", 12, PICKLE_BYTES},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        p = read_sound((const unsigned char *)texts[i].text, texts[i].size);
        assert_int_equal(pickle_at(&p, p.root)->kind, texts[i].kind);
        assert_int_equal(pickle_at(&p, p.root)->count, 2);
        assert_memory_equal(pickle_at(&p, p.root)->text, "ab", 2);
        assert_int_equal(pickle_is_text(&p, p.root, "ab"), texts[i].kind == PICKLE_STRING);
        assert_false(pickle_is_text(&p, p.root, "abc"));
        pickle_free(&p);
    }
}

static void containers_hold_their_items_in_order(void **state)
{
    (void)state;
    pickle p = read_sound(BYTES("]q\x00(K\x02K\x03"
                                "eK\x04"
                                "a."));
    assert_int_equal(pickle_at(&p, p.root)->kind, PICKLE_LIST);
    assert_int_equal(pickle_at(&p, p.root)->count, 3);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, i))->integer, 2 + i);
    pickle_free(&p);
    p = read_sound(BYTES("}\x94(K\x01K\x02K\x03K\x04uK\x05h\x00s."));
    assert_int_equal(pickle_at(&p, p.root)->kind, PICKLE_DICT);
    assert_int_equal(pickle_at(&p, p.root)->count, 6);
    assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, 3))->integer, 4);
    assert_int_equal(pickle_item(&p, p.root, 5), p.root); /* a dictionary may hold itself */
    pickle_free(&p);
    p = read_sound(BYTES("\x8f(K\x01K\x02\x90(K\x03\x91K\x04K\x05\x86K\x06\x87."));
    assert_int_equal(pickle_at(&p, p.root)->count, 3);
    assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, 0))->count, 1);
    pickle_free(&p);
}

static void an_ordered_dictionary_is_a_dictionary(void **state)
{
    (void)state;
    /* as Python 3 writes it, with the attribute _metadata; as Python 2 did */
    static const char three[] = "ccollections\nOrderedDict\n)R(U\x01"
                                "aK\x01U\x01"
                                "bK\x02u}U\x09_metadataK\x03sb.";
    static const char two[] = "ccollections\nOrderedDict\n](](U\x01"
                              "aK\x01"
                              "e](U\x01"
                              "bK\x02"
                              "ee\x85R.";
    const char *const texts[] = {three, two};
    const size_t sizes[] = {sizeof three - 1, sizeof two - 1};
    for (int i = 0; i < 2; i++) {
        pickle p = read_sound((const unsigned char *)texts[i], sizes[i]);
        assert_int_equal(pickle_at(&p, p.root)->kind, PICKLE_DICT);
        assert_int_equal(pickle_at(&p, p.root)->count, 4);
        assert_true(pickle_is_text(&p, pickle_item(&p, p.root, 2), "b"));
        assert_int_equal(pickle_at(&p, pickle_item(&p, p.root, 3))->integer, 2);
        pickle_free(&p);
    }
    assert_refused("made of something else than pairs", BYTES("ccollections\nOrderedDict\nU\x01"
                                                              "a\x85R."));
    assert_refused("made of something else than pairs", BYTES("ccollections\nOrderedDict\n]K\x01"
                                                              "a\x85R."));
}

/* ---- calls ---- */

static void a_call_is_noted_and_not_made(void **state)
{
    (void)state;
    char command[512], text[600];
    snprintf(command, sizeof command, "touch %s", temp_path("made"));
    int size = snprintf(text, sizeof text, "cos\nsystem\nX....%s\x85R.", command);
    for (int i = 0; i < 4; i++) text[12 + i] = (char)(strlen(command) >> 8 * i); /* the text's length */
    pickle p = read_sound((const unsigned char *)text, (size_t)size);
    const pickle_value *v = pickle_at(&p, p.root);
    assert_int_equal(v->kind, PICKLE_CALL);
    assert_true(pickle_is_global(&p, v->pair.a, "os", "system"));
    assert_false(pickle_is_global(&p, v->pair.a, "os", "sys"));
    assert_int_equal(pickle_at(&p, v->pair.b)->count, 1);
    pickle_free(&p);
    assert_int_not_equal(access(temp_path("made"), F_OK), 0);
}

static void what_is_done_to_an_object_is_dropped(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "cargparse\nNamespace\n)\x81}U\x01"
        "aK\x01sb.",                           /* state */
        "cm\nC\n)\x81(K\x01K\x02K\x03K\x04u.", /* items of a dictionary's child */
        "cm\nC\n)R(K\x01K\x02"
        "eK\x01"
        "a.",                       /* of a list's */
        "cm\nC\n)}\x92(K\x01\x90.", /* of a set's; keywords */
        "\x80\x04\x8c\x01m\x8c\x01"
        "C\x93)\x81.", /* protocol 4's way of naming */
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pickle p = read_sound((const unsigned char *)texts[i], strlen(texts[i]));
        assert_int_equal(pickle_at(&p, p.root)->kind, PICKLE_CALL);
        pickle_free(&p);
    }
}

/* ---- hostile pickles ---- */

static void malformed_pickles_are_refused(void **state)
{
    (void)state;
    assert_refused("cut off", BYTES(""));
    assert_refused("cut off", BYTES("K"));
    assert_refused("cut off", BYTES("K\x01"));
    assert_refused("cut off", BYTES("X\xff\xff\xff\xffshort."));
    assert_refused("cut off", BYTES("\x8d\xff\xff\xff\xff\xff\xff\xff\x7fshort."));
    assert_refused("cut off", BYTES("\x8b\xff\xff\xff\xffshort."));
    assert_refused("cut off", BYTES("\x95\xff\xff\xff\xff\xff\xff\xff\xffN."));
    assert_refused("cut off", BYTES("cos\nsystem"));
    assert_refused("protocol above 5", BYTES("\x80\x06N."));
    assert_refused("empty stack", BYTES("."));
    assert_refused("empty stack", BYTES("R."));
    assert_refused("empty stack", BYTES("K\x01K\x02(\x86."));
    assert_refused("empty stack", BYTES("q\x00."));
    assert_refused("mark", BYTES("t."));
    assert_refused("mark", BYTES("0."));
    assert_refused("not kept", BYTES("h\x00."));
    assert_refused("not kept", BYTES("Nq\x05h\x04."));
    assert_refused("memo number", BYTES("Nr\xff\xff\xff\xff."));
    assert_refused("without a container", BYTES("(K\x01u."));
    assert_refused("without a container", BYTES("K\x01((e."));
    assert_refused("no such container", BYTES("K\x01K\x02"
                                              "a."));
    assert_refused("no such container", BYTES("](K\x01K\x02u."));
    assert_refused("key without a value", BYTES("}(K\x01u."));
    assert_refused("no tuple", BYTES("cos\nsystem\nU\x04trueR."));
    assert_refused("not a text", BYTES("K\x01K\x02\x93."));
    assert_refused("opcode 0x69", BYTES("(U\x04trueios\nsystem\n.")); /* INST */
    assert_refused("opcode 0x82", BYTES("\x82\x01."));                /* EXT1 */
    assert_refused("opcode 0x50", BYTES("P0\n."));                    /* PERSID */
    assert_refused("opcode 0x97", BYTES("\x97."));                    /* NEXT_BUFFER */
}

static void bombs_stay_small(void **state)
{
    (void)state;
    enum { MANY = PICKLE_VALUES_MAX + 100 };
    unsigned char *data = malloc(MANY);
    assert_non_null(data);
    memset(data, '(', MANY); /* marks */
    assert_refused("more values", data, MANY);
    memset(data, ']', MANY); /* lists */
    assert_refused("more values", data, MANY);
    memset(data, 0x85, MANY); /* tuples of tuples, as deep as there are values */
    data[0] = ')';
    assert_refused("more values", data, MANY);
    data[1000000] = '.';
    pickle p = read_sound(data, 1000001);
    assert_int_equal(p.value_count, 1000001);
    pickle_free(&p);
    memset(data, 0x94, MANY); /* one value kept again and again */
    data[0] = 'N';
    assert_refused("memo number", data, MANY);
    free(data);
}

static void every_cut_is_found(void **state)
{
    (void)state;
    static const char sound[] = "\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01"
                                "a]K\x01"
                                "acm\nC\n)\x81}b"
                                "X\x02\x00\x00\x00zzG\x00\x00\x00\x00\x00\x00\x00\x00(K\x01K\x02tQu.";
    pickle p = read_sound(BYTES(sound));
    pickle_free(&p);
    for (size_t size = 0; size < sizeof sound - 1; size++) {
        unsigned char *exact = malloc(size + 1); /* so that a sanitizer sees a read behind the end */
        assert_non_null(exact);
        memcpy(exact + 1, sound, size);
        assert_int_equal(pickle_read(&p, exact + 1, size, "a file", &err), DT_ERR_FORMAT);
        error_clear(&err);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width_are_read),
        cmocka_unit_test(other_scalars_are_read),
        cmocka_unit_test(containers_hold_their_items_in_order),
        cmocka_unit_test(an_ordered_dictionary_is_a_dictionary),
        cmocka_unit_test(a_call_is_noted_and_not_made),
        cmocka_unit_test(what_is_done_to_an_object_is_dropped),
        cmocka_unit_test(malformed_pickles_are_refused),
        cmocka_unit_test(bombs_stay_small),
        cmocka_unit_test(every_cut_is_found),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
