#include "train/ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct ahead {
    const ctx *c;
    ahead_filler *fill;
    void *user;
    batch slot[2];
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    int next;      /* the slot that is filled next, or is */
    int64_t round; /* what is to be there */
    bool asked;    /* and is not yet */
    bool ends;
};

static void *fill_what_is_asked(void *user)
{
    ahead *a = user;
    ctx_enter(a->c);
    pthread_mutex_lock(&a->lock);
    while (!a->ends) {
        if (!a->asked) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        pthread_mutex_unlock(&a->lock);
        a->fill(a->user, &a->slot[a->next], a->round);
        pthread_mutex_lock(&a->lock);
        a->asked = false;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* Signals are for the caller's threads. */
static int start(ahead *a)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failure = pthread_create(&a->thread, NULL, fill_what_is_asked, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

dt_status ahead_open(ahead **opened, ctx *c, const denoiser *d, int64_t n, ahead_filler *fill, void *user)
{
    ahead *a = calloc(1, sizeof *a);
    *opened = NULL;
    if (!a) return error_set(&c->error, DT_ERR_MEMORY, "out of memory");
    *a = (ahead){.c = c, .fill = fill, .user = user, .round = -1};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    for (int i = 0; i < 2; i++) batch_new_in(c, &c->model, &a->slot[i], d, n);
    const int failure = ctx_failed(c) ? 0 : start(a);
    if (failure) error_set(&c->error, DT_ERR_MEMORY, "a thread that fills batches: %s", strerror(failure));
    if (ctx_failed(c))
        free(a);
    else
        *opened = a;
    return c->error.status;
}

void ahead_close(ahead *a)
{
    if (!a) return;
    pthread_mutex_lock(&a->lock);
    a->ends = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

batch *ahead_take(ahead *a, int64_t round)
{
    pthread_mutex_lock(&a->lock);
    while (a->asked) pthread_cond_wait(&a->changed, &a->lock);
    batch *taken = &a->slot[a->next];
    if (a->round != round) a->fill(a->user, taken, round);
    a->next = !a->next;
    a->round = round + 1;
    a->asked = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return taken;
}

batch *ahead_any(ahead *a)
{
    return &a->slot[0];
}
