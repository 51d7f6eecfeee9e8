/* Signals set flags that the library asks for while it works. What runs inside of them is async-signal-safe only. */
#include "cli.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A wrapper signals a group, a terminal that closes its session, a nervous hand the keyboard: signals that come together are
 * one wish. Only who has had the time to read the line that answers it can mean more by another. */
enum { SETTLE_MS = 5000 };

static atomic_bool working;    /* there may be something to save */
static atomic_int stop_signal; /* the first; 0: none */
static atomic_bool save_wanted;
static _Atomic int64_t stopped_at_ms;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* To standard error, unless that would have to wait for its reader. */
static void say(const char *text)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT)) return;
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return; /* there is nobody to tell it to */
}

static void say_name(int number)
{
    say(isatty(STDERR_FILENO) ? "\n" : "");
    say(number == SIGINT ? "SIGINT" : number == SIGTERM ? "SIGTERM" : number == SIGHUP ? "SIGHUP" : "SIGXCPU");
}

static void say_stopping(int number)
{
    say_name(number);
    say(": stopping as soon as what is done is saved; SIGINT (Ctrl-C) or SIGTERM once more, 5 seconds from now or "
        "later, "
        "ends at once and saves nothing\n");
}

/* The hang-up of a terminal and the limit of processor time come by themselves, and more than once. */
static bool means_it(int number)
{
    return number == SIGINT || number == SIGTERM;
}

static void on_stop(int number)
{
    int none = 0;
    if (!atomic_load(&working)) {
        say_name(number);
        say(": ended before the work began\n");
        _exit(EXIT_STOPPED);
    }
    if (atomic_load(&stop_signal)) {
        if (means_it(number) && now_ms() - atomic_load(&stopped_at_ms) >= SETTLE_MS) _exit(128 + number);
        return;
    }
    atomic_store(&stopped_at_ms, now_ms());
    if (atomic_compare_exchange_strong(&stop_signal, &none, number)) say_stopping(number);
}

static void on_save(int number)
{
    (void)number;
    atomic_store(&save_wanted, true);
}

/* What was ignored when the program began stays ignored: nohup's choice, or a shell's for its background. */
static void install(void (*handler)(int), const int numbers[], size_t count)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < count; i++) {
        struct sigaction old;
        sigaction(numbers[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL);
    }
}

void interrupt_install(bool stops)
{
    static const int stop[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU}, save[] = {SIGUSR1, SIGUSR2};
    if (stops) install(on_stop, stop, sizeof stop / sizeof *stop);
    install(on_save, save, sizeof save / sizeof *save);
}

void interrupt_work_begins(void)
{
    atomic_store(&working, true);
}

bool interrupt_requested(void *user)
{
    (void)user;
    return atomic_load(&stop_signal) != 0;
}

bool interrupt_save_requested(void *user)
{
    (void)user;
    return atomic_exchange(&save_wanted, false);
}
