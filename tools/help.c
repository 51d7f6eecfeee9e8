/* Help and the generated part of the man page, both made from the verbs and the table of settings. */
#include "cli.h"

#include <string.h>

enum { WIDTH = 100, FLAG_INDENT = 2, TEXT_INDENT = 36 };

/* Prints words with line breaks before column WIDTH; the first line starts where the cursor is, at `column`. A tab is a
 * blank at which no line is broken. */
static void print_wrapped(FILE *out, const char *text, int column, int indent)
{
    for (bool first = true; *text; first = false) {
        int word = (int)strcspn(text, " ");
        if (!first && column + 1 + word > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        column += word;
        for (; word > 0; word--, text++) fputc(*text == '\t' ? ' ' : *text, out);
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* "--max-train-steps N" or "--[no-]random-flip". */
static void flag_text(char text[DT_TEXT_MAX], const settings_key *key)
{
    bool is_bool = key->type == SETTINGS_BOOL;
    int n = snprintf(text, DT_TEXT_MAX, "--%s%s", is_bool ? "[no-]" : "", key->name);
    for (char *p = text; *p; p++) *p = *p == '_' ? '-' : *p;
    if (!is_bool) snprintf(text + n, (size_t)(DT_TEXT_MAX - n), " %s", key->metavar);
}

/* Above this an upper end only keeps nonsense out. */
#define TOLD_MAX 1e6

/* Adds "1 to 1024; ", or "0 or more; ". */
static int add_range(char *text, size_t size, const settings_key *key)
{
    if (key->max >= TOLD_MAX) return snprintf(text, size, "%.9g or more; ", key->min);
    return snprintf(text, size, "%.9g to %.9g; ", key->min, key->max);
}

/* "highest instruction set used (auto, portable, avx2; default auto)", "number of blocks (1 to 1024; default 6)". */
static void help_text(char text[2 * DT_TEXT_MAX], const settings_key *key)
{
    const size_t size = 2 * DT_TEXT_MAX;
    int n = snprintf(text, size, "%s%s", key->help, key->initial[0] ? " (" : "");
    if (key->type == SETTINGS_INT || key->type == SETTINGS_REAL) n += add_range(text + n, size - (size_t)n, key);
    for (int i = 0; key->words && key->words[i]; i++)
        n += snprintf(text + n, size - (size_t)n, "%s%s", key->words[i], key->words[i + 1] ? ", " : "; ");
    if (key->initial[0]) snprintf(text + n, size - (size_t)n, "default %s)", key->initial);
}

static void print_key(FILE *out, const settings_key *key)
{
    char flag[DT_TEXT_MAX], text[2 * DT_TEXT_MAX];
    flag_text(flag, key);
    help_text(text, key);
    fprintf(out, "%*s%-*s", FLAG_INDENT, "", TEXT_INDENT - FLAG_INDENT, flag);
    if (strlen(flag) >= TEXT_INDENT - FLAG_INDENT) fprintf(out, "\n%*s", TEXT_INDENT, "");
    print_wrapped(out, text, TEXT_INDENT, TEXT_INDENT);
}

/* ---- keys by their names in a list ---- */

/* The row of the next name in a list with blanks between, or NULL at its end. */
static const settings_key *next_key(const char **list)
{
    char name[DT_TEXT_MAX];
    if (!*list || !**list) return NULL;
    size_t length = strcspn(*list, " ");
    snprintf(name, sizeof name, "%.*s", (int)length, *list);
    *list += length + ((*list)[length] == ' ');
    return settings_find(name);
}

static void print_list(FILE *out, const char *heading, const char *list)
{
    if (list) fprintf(out, "\n%s:\n", heading);
    for (const settings_key *key; (key = next_key(&list));) print_key(out, key);
}

/* "difftune sample --pretrained-model PATH --output-dir DIR [--KEY VALUE]... [--config FILE]", for print_wrapped. */
static void usage_text(char *text, size_t size, const verb *v)
{
    int n = snprintf(text, size, "difftune %s%s%s", v->name, v->operands ? " " : "", v->operands ? v->operands : "");
    const char *list = v->needs;
    for (const settings_key *key; (key = next_key(&list));) {
        char flag[DT_TEXT_MAX];
        flag_text(flag, key);
        flag[strcspn(flag, " ")] = '\t';
        n += snprintf(text + n, size - (size_t)n, " %s", flag);
    }
    snprintf(text + n, size - (size_t)n, " [--KEY\tVALUE]...%s", v->operand_is_config ? "" : " [--config\tFILE]");
}

/* ---- for the terminal ---- */

void help_verb(FILE *out, const verb *v)
{
    char usage[4 * DT_TEXT_MAX];
    usage_text(usage, sizeof usage, v);
    fputs("usage: ", out);
    print_wrapped(out, usage, 7, 11);
    fputc('\n', out);
    print_wrapped(out, v->description, 0, 0);
    fprintf(out, "\nExample:\n%s", v->example);
    print_list(out, "Needed", v->needs);
    print_list(out, "Often set", v->often);
    int group = -1;
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        if (!(key->verbs & v->keys) || settings_is_listed(v->needs, key) || settings_is_listed(v->often, key)) continue;
        if (group != (int)key->group) fprintf(out, "\n%s:\n", settings_group_names[key->group]);
        group = (int)key->group;
        print_key(out, key);
    }
}

/* The first of several commands; a line that ends in a backslash goes on in the next one. */
static void print_first_command(FILE *out, const char *example)
{
    const char *end = strchr(example, '\n');
    while (end[-1] == '\\') end = strchr(end + 1, '\n');
    fprintf(out, "%.*s", (int)(end + 1 - example), example);
}

void help_overview(FILE *out)
{
    static const char *const headings[] = {[VERB_STEP] = "Step by step, in this order",
                                           [VERB_WHOLE] = "A whole experiment",
                                           [VERB_ANALYSIS] = "Analyses",
                                           [VERB_FILES] = "Files"};
    fputs("difftune tunes a pre-trained diffusion model (DiT, SiT, Stable Diffusion 1's UNet, ControlNet)\n"
          "to your own images, by Diff-Tuning.\n\n"
          "usage: difftune VERB [--KEY VALUE]... [--config FILE]\n",
          out);
    for (const verb *const *v = verbs; *v; v++) {
        if (v == verbs || (*v)->section != v[-1]->section) fprintf(out, "\n%s:\n", headings[(*v)->section]);
        fprintf(out, "  %-10s%s\n", (*v)->name, (*v)->summary);
    }
    fputs("\nExample, with a model of pixels (the sources have one, demo/base.safetensors) and class folders:\n", out);
    for (const verb *const *v = verbs; *v; v++)
        if ((*v)->section == VERB_STEP) print_first_command(out, (*v)->example);
    fputs("\n  difftune VERB --help   what the verb does, an example, what it needs, its settings and defaults\n"
          "  difftune --version     version, engines, instruction sets and libraries in use\n"
          "  difftune completion bash|zsh   completion for a shell; installed with the program\n\n"
          "Settings come from the YAML file of --config, then from the flags, which win. Exit status: 0 done,\n"
          "2 a setting is wrong, 75 stopped by a signal (the same command goes on), 1 any other failure.\n",
          out);
}

/* ---- roff ---- */

/* Text in roff: a hyphen is a minus, so that flags can be copied, and no line starts with a control character. */
static void print_roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '-' || *text == '\\' || *text == '\t') fputc('\\', out);
        fputc(*text == '\\' ? 'e' : *text == '\t' ? ' ' : *text, out);
        if (*text == '\n' && (text[1] == '.' || text[1] == '\'')) fputs("\\&", out);
    }
}

static void print_roff_line(FILE *out, const char *macro, const char *text)
{
    fputs(macro, out);
    print_roff(out, text);
    fputc('\n', out);
}

static void roff_verb(FILE *out, const verb *v)
{
    char usage[4 * DT_TEXT_MAX];
    usage_text(usage, sizeof usage, v);
    fprintf(out, ".SS \"difftune %s\"\n", v->name);
    print_roff_line(out, ".B ", usage);
    print_roff_line(out, ".PP\n", v->description);
    fputs(".PP\n.EX\n", out);
    print_roff(out, v->example);
    fputs(".EE\n", out);
}

static void roff_key(FILE *out, const settings_key *key)
{
    char flag[DT_TEXT_MAX], text[2 * DT_TEXT_MAX];
    flag_text(flag, key);
    help_text(text, key);
    fputs(".TP\n", out);
    print_roff_line(out, ".B ", flag);
    print_roff_line(out, "", text);
    fputs(".br\nVerbs:", out);
    for (const verb *const *v = verbs; *v; v++)
        if ((*v)->keys & key->verbs) fprintf(out, " %s", (*v)->name);
    fputc('\n', out);
}

void help_roff(FILE *out)
{
    fputs(".SH VERBS\n", out);
    for (const verb *const *v = verbs; *v; v++) roff_verb(out, *v);
    fputs(".SH SETTINGS\n", out);
    int group = -1;
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        if (group != (int)key->group) fprintf(out, ".SS %s\n", settings_group_names[key->group]);
        group = (int)key->group;
        roff_key(out, key);
    }
}
