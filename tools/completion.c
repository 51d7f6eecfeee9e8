/* Completion scripts for shells, made from the verbs and the table of settings: which flags a verb takes, the words of
 * enums, and where a path is wanted. */
#include "cli.h"

#include <ctype.h>
#include <string.h>

#include "prepare/published.h"

/* What stands behind a flag, or in an operand's place. */
typedef enum value_kind { VALUE_WORDS, VALUE_FOLDER, VALUE_FILE, VALUE_FREE } value_kind;

static value_kind kind_of_placeholder(const char *text, size_t length)
{
    static const struct {
        const char *placeholder;
        value_kind kind;
    } kinds[] = {{"DIR", VALUE_FOLDER}, {"DIRS", VALUE_FOLDER}, {"PATH", VALUE_FILE},
                 {"PATHS", VALUE_FILE}, {"FILE", VALUE_FILE},   {"IN", VALUE_FILE},
                 {"OUT", VALUE_FILE},   {"RECIPE", VALUE_FILE}, {"STUDY", VALUE_FILE}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].placeholder) == length && !memcmp(kinds[i].placeholder, text, length)) return kinds[i].kind;
    return VALUE_FREE;
}

static value_kind kind_of_key(const settings_key *key)
{
    if (key->type == SETTINGS_ENUM || key->type == SETTINGS_BOOL) return VALUE_WORDS;
    return key->type == SETTINGS_TEXT ? kind_of_placeholder(key->metavar, strlen(key->metavar)) : VALUE_FREE;
}

static void print_flag(FILE *out, const char *prefix, const char *name)
{
    fputs(prefix, out);
    for (; *name; name++) fputc(*name == '_' ? '-' : *name, out);
}

static void print_words(FILE *out, const settings_key *key)
{
    if (key->type == SETTINGS_BOOL) fputs("true false", out);
    for (int i = 0; key->words && key->words[i]; i++) fprintf(out, "%s%s", i ? " " : "", key->words[i]);
}

static void print_published(FILE *out)
{
    for (int i = 0; i < published_set_count; i++) fprintf(out, "%s%s", i ? " " : "", published_sets[i].name);
}

static void print_annotators(FILE *out)
{
    for (int64_t i = 0; dt_annotator_name(i); i++) fprintf(out, "%s%s", i ? " " : "", dt_annotator_name(i));
}

/* Operands of which there are few. */
static const struct {
    const char *placeholder;
    void (*print)(FILE *out);
} listed[] = {{"NAME", print_published}, {"KIND", print_annotators}};

/* What prints the words for a placeholder; NULL: it is none of those. */
static void (*words_of(const char *text, size_t length))(FILE *out)
{
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++)
        if (strlen(listed[i].placeholder) == length && !memcmp(listed[i].placeholder, text, length))
            return listed[i].print;
    return NULL;
}

static bool is_used(const settings_key *key)
{
    for (const verb *const *v = verbs; *v; v++)
        if ((*v)->keys & key->verbs) return true;
    return false;
}

static bool takes_config(const verb *v)
{
    return v->keys && !v->operand_is_config;
}

/* ---- bash ---- */

static void bash_verbs(FILE *out)
{
    for (const verb *const *v = verbs; *v; v++) fprintf(out, "%s ", (*v)->name);
}

/* The action for the value of each flag that has one to offer. */
static void bash_values(FILE *out)
{
    static const char *const paths[] = {[VALUE_FOLDER] = "folders", [VALUE_FILE] = "files"};
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        const value_kind kind = kind_of_key(key);
        if (!is_used(key)) continue;
        print_flag(out, "        --", key->name);
        fputs(") ", out);
        if (kind == VALUE_WORDS) {
            fputs("words='", out);
            print_words(out, key);
            fputs("'", out);
        } else if (kind != VALUE_FREE) {
            fprintf(out, "paths=%s", paths[kind]);
        }
        /* A boolean's value is optional and stands behind '=' only. */
        fprintf(out, "%s;;\n", key->type == SETTINGS_BOOL ? "; optional=1 " : " ");
    }
    fputs("        --config) paths=files ;;\n", out);
}

static void bash_flags(FILE *out, const verb *v)
{
    fprintf(out, "        %s) flags='--help", v->name);
    if (takes_config(v)) fputs(" --config", out);
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        if (!(key->verbs & v->keys)) continue;
        print_flag(out, " --", key->name);
        if (key->type == SETTINGS_BOOL) print_flag(out, " --no-", key->name);
    }
    fputs("' ;;\n", out);
}

/* What fits in each operand's place, counted from the verb. */
static void bash_operands(FILE *out, const verb *v)
{
    const char *word = v->operands;
    for (int place = 2; word && *word; place++) {
        const size_t length = strcspn(word, " ");
        fprintf(out, "        %s/%d) ", v->name, place);
        if (islower((unsigned char)word[0])) {
            fprintf(out, "words=%.*s", (int)length, word);
        } else if (words_of(word, length)) {
            fputs("words='", out);
            words_of(word, length)(out);
            fputs("'", out);
        } else {
            fprintf(out, "paths=%s", kind_of_placeholder(word, length) == VALUE_FOLDER ? "folders" : "files");
        }
        fputs(" ;;\n", out);
        word += length + (word[length] == ' ');
    }
}

static void completion_bash(FILE *out)
{
    fputs("# bash completion for difftune; made by 'difftune completion bash'.\n\n"
          "_difftune() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
          "    local equals= optional= words= paths= flags=\n"
          "    COMPREPLY=()\n"
          "    # bash cuts --flag=value at the equals sign.\n"
          "    if [[ $cur == = ]]; then\n"
          "        equals=1 cur=\n"
          "    elif [[ $before == = ]]; then\n"
          "        equals=1 before=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    fi\n"
          "    case $verb in\n",
          out);
    for (const verb *const *v = verbs; *v; v++) bash_flags(out, *v);
    fputs("    esac\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        words='",
          out);
    bash_verbs(out);
    fputs("completion help --help --version'\n"
          "    elif [[ $before == --* && $before != --help ]]; then\n"
          "        case $before in\n",
          out);
    bash_values(out);
    fputs("        --no-*) optional=1 ;;\n"
          "        esac\n"
          "        if [[ $optional && ! $equals ]]; then words=$flags; fi\n"
          "    elif [[ $cur == -* ]]; then\n"
          "        words=$flags\n"
          "    else\n"
          "        case $verb/$COMP_CWORD in\n"
          "        help/2) words='",
          out);
    bash_verbs(out);
    fputs("' ;;\n"
          "        completion/2) words='bash zsh' ;;\n",
          out);
    for (const verb *const *v = verbs; *v; v++) bash_operands(out, *v);
    fputs("        *) words=$flags ;;\n"
          "        esac\n"
          "    fi\n"
          "    # One answer a line: paths may have blanks.\n"
          "    local IFS=$'\\n'\n"
          "    case $paths in\n"
          "    folders) COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
          "    files) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
          "    *) COMPREPLY=($(compgen -W \"${words// /$IFS}\" -- \"$cur\")) ;;\n"
          "    esac\n"
          "    if [[ $paths ]]; then compopt -o filenames 2>/dev/null; fi\n"
          "}\n\n"
          "complete -F _difftune difftune\n",
          out);
}

/* ---- zsh ---- */

/* Text inside a specification of _arguments, which stands in single quotes. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("[]:\\", *text)) fputc('\\', out);
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    }
}

static void zsh_action(FILE *out, value_kind kind)
{
    if (kind == VALUE_FOLDER) fputs("_files -/", out);
    if (kind == VALUE_FILE) fputs("_files", out);
}

static void zsh_key(FILE *out, const settings_key *key)
{
    const bool is_bool = key->type == SETTINGS_BOOL;
    const value_kind kind = kind_of_key(key);
    print_flag(out, " \\\n                '--", key->name);
    fputs(is_bool ? "[" : "=[", out);
    zsh_text(out, key->help);
    fputs("]", out);
    if (!is_bool) {
        fprintf(out, ":%s:", key->metavar);
        zsh_action(out, kind);
    }
    if (!is_bool && kind == VALUE_WORDS) {
        fputs("(", out);
        print_words(out, key);
        fputs(")", out);
    }
    fputs("'", out);
    if (!is_bool) return;
    print_flag(out, " \\\n                '--no-", key->name);
    fputs("[do not: ", out);
    zsh_text(out, key->help);
    fputs("]'", out);
}

static void zsh_operands(FILE *out, const verb *v)
{
    const char *word = v->operands;
    for (int place = 1; word && *word; place++) {
        const size_t length = strcspn(word, " ");
        fprintf(out, " \\\n                '%d:%.*s:", place, (int)length, word);
        if (islower((unsigned char)word[0])) {
            fprintf(out, "(%.*s)", (int)length, word);
        } else if (words_of(word, length)) {
            fputs("(", out);
            words_of(word, length)(out);
            fputs(")", out);
        } else {
            zsh_action(out, kind_of_placeholder(word, length));
        }
        fputs("'", out);
        word += length + (word[length] == ' ');
    }
}

static void zsh_verb(FILE *out, const verb *v)
{
    fprintf(out, "        %s)\n            _arguments '--help[what the verb does and its settings]'", v->name);
    if (takes_config(v)) fputs(" \\\n                '--config=[settings in YAML; flags win]:FILE:_files'", out);
    for (int i = 0; i < settings_key_count; i++)
        if (settings_keys[i].verbs & v->keys) zsh_key(out, &settings_keys[i]);
    zsh_operands(out, v);
    fputs(" ;;\n", out);
}

static void completion_zsh(FILE *out)
{
    fputs("#compdef difftune\n"
          "# zsh completion for difftune; made by 'difftune completion zsh'.\n\n"
          "_difftune() {\n"
          "    local state\n"
          "    local -a line verbs\n"
          "    verbs=(\n",
          out);
    for (const verb *const *v = verbs; *v; v++) {
        fprintf(out, "        '%s:", (*v)->name);
        zsh_text(out, (*v)->summary);
        fputs("'\n", out);
    }
    fputs("        'help:what a verb does and its settings'\n"
          "        'completion:prints completion for a shell'\n"
          "    )\n"
          "    _arguments -C '(- *)--help[all verbs]' '(- *)--version[version and libraries]' \\\n"
          "        '1: :->verb' '*:: :->rest'\n"
          "    if [[ $state == verb ]]; then\n"
          "        _describe verb verbs\n"
          "    elif [[ $state == rest ]]; then\n"
          "        case $words[1] in\n"
          "        help) _describe verb verbs ;;\n"
          "        completion) _values shell bash zsh ;;\n",
          out);
    for (const verb *const *v = verbs; *v; v++) zsh_verb(out, *v);
    fputs("        esac\n"
          "    fi\n"
          "}\n\n"
          "# Read by autoload the file is the function's body; sourced it tells compinit.\n"
          "if [[ $funcstack[1] == _difftune ]]; then _difftune \"$@\"; else compdef _difftune difftune; fi\n",
          out);
}

bool completion_print(FILE *out, const char *shell)
{
    if (!strcmp(shell, "bash"))
        completion_bash(out);
    else if (!strcmp(shell, "zsh"))
        completion_zsh(out);
    else
        return false;
    return true;
}
