/* One line that shows how far a verb is: redrawn in place on a terminal, written now and then elsewhere. */
#include "cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum { BAR_WIDTH = 20, PLAIN_LINES = 10 };
#define REDRAW_INTERVAL_S 0.1
#define ERASE_LINE        "\r\033[K"

typedef struct line {
    char text[sizeof((progress *)0)->live];
    size_t used;
} line;

static void add(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->text + l->used, sizeof l->text - l->used, format, args);
    va_end(args);
    if (n > 0) l->used += (size_t)n;
    if (l->used >= sizeof l->text) l->used = sizeof l->text - 1;
}

static void add_bar(line *l, double share)
{
    char bar[BAR_WIDTH + 1];
    int filled = (int)(share * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(filled < 0 ? 0 : filled > BAR_WIDTH ? BAR_WIDTH : filled));
    bar[BAR_WIDTH] = '\0';
    add(l, " [%s]", bar);
}

static void add_time_left(line *l, double seconds)
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e9) return;
    char left[TEXT_DURATION_MAX];
    text_duration(left, seconds);
    add(l, "  %s left", left);
}

static void describe(line *l, const dt_progress *p, bool with_bar)
{
    l->used = 0;
    add(l, "%s", p->task);
    if (with_bar && p->step_count > 0) add_bar(l, (double)p->step / (double)p->step_count);
    add(l, " %" PRId64 "/%" PRId64, p->step, p->step_count);
    if (!isnan(p->loss_target)) add(l, "  loss %.4f", p->loss_target);
    if (!isnan(p->loss_bank)) add(l, "  bank %.4f", p->loss_bank);
    if (!isnan(p->loss_retained)) add(l, "  retained %.2e", p->loss_retained);
    double rate = p->samples_per_second;
    if (rate > 0) add(l, "  %.*f img/s", rate < 10 ? 2 : rate < 100 ? 1 : 0, rate);
    if (p->step < p->step_count) add_time_left(l, p->seconds_left);
    if (p->memory_bytes > 0) add(l, "  %.2f GiB", (double)p->memory_bytes / (1 << 30));
}

/* A line that wraps could not be erased; all characters of it are one column wide. */
static void cut_to_terminal(line *l, FILE *out)
{
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && l->used >= size.ws_col)
        l->text[size.ws_col - 1] = '\0';
}

void progress_open(progress *p, FILE *out, const dt_settings *s)
{
    const char *kind = getenv("TERM");
    bool dumb = kind && !strcmp(kind, "dumb");
    *p = (progress){.out = out, .terminal = isatty(fileno(out)) && !dumb, .logging_steps = s->logging_steps};
}

static void draw_live(progress *p, const dt_progress *state)
{
    double now = clock_s();
    if (state->step < state->step_count && now - p->last_drawn_s < REDRAW_INTERVAL_S) return;
    p->last_drawn_s = now;
    line l;
    describe(&l, state, true);
    cut_to_terminal(&l, p->out);
    fprintf(p->out, ERASE_LINE "%s", l.text);
    memcpy(p->live, l.text, sizeof p->live);
    if (state->step == state->step_count) progress_close(p);
    fflush(p->out);
}

/* Training writes a line every logging_steps; other verbs, whose steps are images, about ten in all. */
static void write_plain(progress *p, const dt_progress *state)
{
    int64_t interval = strcmp(state->task, "train") ? state->step_count / PLAIN_LINES + 1 : p->logging_steps;
    bool due = interval > 0 && state->step % interval == 0;
    if (!due && state->step != state->step_count) return;
    line l;
    describe(&l, state, false);
    fprintf(p->out, "%s\n", l.text);
}

void progress_step(void *user, const dt_progress *state)
{
    progress *p = user;
    if (p->terminal)
        draw_live(p, state);
    else
        write_plain(p, state);
}

/* The live line moves below the new one. Lines name files, whose names may hold anything. */
void progress_log(void *user, const char *text)
{
    progress *p = user;
    char *shown = strdup(text);
    if (!shown) return;
    text_make_printable(shown);
    fprintf(p->out, "%s%s\n%s", p->live[0] ? ERASE_LINE : "", shown, p->live);
    fflush(p->out);
    free(shown);
}

void progress_close(progress *p)
{
    if (p->live[0]) fputc('\n', p->out);
    p->live[0] = '\0';
}
