/* Help and the generated part of the man page, both made from the verbs and the table of settings. */
#include "cli.h"

#include <string.h>

enum { WIDTH = 100, FLAG_INDENT = 2, TEXT_INDENT = 36 };

/* Prints words with line breaks before column WIDTH; the first line starts where the cursor is, at `column`. */
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
        fprintf(out, "%.*s", word, text);
        column += word;
        text += word + strspn(text + word, " ");
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

/* "highest instruction set used (auto, portable, avx2; default auto)". Ranges of numbers are left to the refusals. */
static void help_text(char text[2 * DT_TEXT_MAX], const settings_key *key)
{
    int n = snprintf(text, 2 * DT_TEXT_MAX, "%s%s", key->help, key->initial[0] ? " (" : "");
    for (int i = 0; key->words && key->words[i]; i++)
        n += snprintf(text + n, (size_t)(2 * DT_TEXT_MAX - n), "%s%s", key->words[i], key->words[i + 1] ? ", " : "; ");
    if (key->initial[0]) snprintf(text + n, (size_t)(2 * DT_TEXT_MAX - n), "default %s)", key->initial);
}

static void print_key(FILE *out, const settings_key *key)
{
    char flag[DT_TEXT_MAX], text[2 * DT_TEXT_MAX];
    flag_text(flag, key);
    help_text(text, key);
    fprintf(out, "%*s%-*s", FLAG_INDENT, "", TEXT_INDENT - FLAG_INDENT, flag);
    print_wrapped(out, text, TEXT_INDENT, TEXT_INDENT);
}

static void print_usage(FILE *out, const verb *v)
{
    fprintf(out, "usage: difftune %s%s%s%s\n\n", v->name, v->operands ? " " : "", v->operands ? v->operands : "",
            v->keys ? " [--config FILE] [--KEY VALUE]..." : "");
}

void help_verb(FILE *out, const verb *v)
{
    print_usage(out, v);
    print_wrapped(out, v->description, 0, 0);
    fprintf(out, "\nExample:\n%s", v->example);
    const char *group = "";
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        if (!(key->verbs & v->keys)) continue;
        if (strcmp(group, key->group)) fprintf(out, "\n%s:\n", key->group);
        group = key->group;
        print_key(out, key);
    }
}

void help_overview(FILE *out)
{
    fputs("difftune tunes a pre-trained diffusion transformer to a folder of images by Diff-Tuning.\n\n"
          "usage: difftune VERB [--config FILE] [--KEY VALUE]...\n\n",
          out);
    for (const verb *const *v = verbs; *v; v++) fprintf(out, "  %-10s%s\n", (*v)->name, (*v)->summary);
    fputs("\n  difftune VERB --help   what the verb does, an example, its settings and their defaults\n"
          "  difftune --version     version, engines, instruction sets and libraries in use\n\n"
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
        if (*text == '-' || *text == '\\') fputc('\\', out);
        if (*text == '\\')
            fputc('e', out);
        else
            fputc(*text, out);
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
    fprintf(out, ".SS \"difftune %s%s%s\"\n", v->name, v->operands ? " " : "", v->operands ? v->operands : "");
    print_roff_line(out, "", v->description);
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
    const char *group = "";
    for (int i = 0; i < settings_key_count; i++) {
        if (strcmp(group, settings_keys[i].group)) fprintf(out, ".SS %s\n", settings_keys[i].group);
        group = settings_keys[i].group;
        roff_key(out, &settings_keys[i]);
    }
}
