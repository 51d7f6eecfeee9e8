/* Ranks over MPI: a module that the library loads when processes were started together (rank/rank.c). Any MPI-3 does. */
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>

#include "rank/wire.h"

/* One message holds no more bytes than an int counts. */
enum { MESSAGE_BYTES = 1 << 30, TAG = 1 };

typedef struct mpi_wire {
    MPI_Comm all;
    MPI_Request *request;
    int count, room; /* of requests */
    bool ours;       /* MPI was begun here */
} mpi_wire;

static dt_status tell(dt_error *err, const char *what, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return error_set(err, DT_ERR_IO, "MPI: %s: %s", what, text);
}

static dt_status make_room(mpi_wire *w, size_t messages, dt_error *err)
{
    if (messages <= (size_t)w->room) return DT_OK;
    MPI_Request *more = messages <= INT_MAX ? realloc(w->request, messages * sizeof *more) : NULL;
    if (!more) return error_set(err, DT_ERR_MEMORY, "MPI: no memory for %zu messages", messages);
    w->request = more;
    w->room = (int)messages;
    return DT_OK;
}

static dt_status begin_part(mpi_wire *w, const rank_part *p, dt_error *err)
{
    for (size_t done = 0; done < p->bytes;) {
        const size_t left = p->bytes - done;
        const int bytes = left < MESSAGE_BYTES ? (int)left : MESSAGE_BYTES;
        char *data = (char *)p->data + done;
        MPI_Request *request = &w->request[w->count];
        const int code = p->sends ? MPI_Isend(data, bytes, MPI_BYTE, p->peer, TAG, w->all, request)
                                  : MPI_Irecv(data, bytes, MPI_BYTE, p->peer, TAG, w->all, request);
        if (code != MPI_SUCCESS) return tell(err, "a message cannot be begun", code);
        w->count++;
        done += (size_t)bytes;
    }
    return DT_OK;
}

static dt_status begin(void *state, const rank_part part[], int count, dt_error *err)
{
    mpi_wire *w = state;
    size_t messages = 0;
    w->count = 0;
    for (int i = 0; i < count; i++) messages += (part[i].bytes + MESSAGE_BYTES - 1) / MESSAGE_BYTES;
    if (make_room(w, messages, err) != DT_OK) return err->status;
    for (int i = 0; i < count && err->status == DT_OK; i++) begin_part(w, &part[i], err);
    return err->status;
}

static dt_status test(void *state, bool *done, dt_error *err)
{
    mpi_wire *w = state;
    int all;
    const int code = MPI_Testall(w->count, w->request, &all, MPI_STATUSES_IGNORE);
    *done = all;
    return code == MPI_SUCCESS ? DT_OK : tell(err, "a message was lost", code);
}

/* Ending MPI waits for all ranks: where some have ended already it is left as it is. */
static void close_wire(void *state, bool together)
{
    mpi_wire *w = state;
    if (together) {
        MPI_Comm_free(&w->all);
        if (w->ours) MPI_Finalize();
    }
    free(w->request);
    free(w);
}

__attribute__((visibility("default"))) dt_status difftune_wire_mpi(rank_wire *out, dt_error *err);

dt_status difftune_wire_mpi(rank_wire *out, dt_error *err)
{
    int begun, ended, given, code = MPI_SUCCESS;
    mpi_wire *w = calloc(1, sizeof *w);
    if (!w) return error_set(err, DT_ERR_MEMORY, "no memory for the ranks");
    MPI_Finalized(&ended);
    MPI_Initialized(&begun);
    w->ours = !begun;
    if (ended)
        error_set(err, DT_ERR_UNSUPPORTED, "MPI has been ended in this process, and cannot begin again");
    else if (!begun && (code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given)) != MPI_SUCCESS)
        tell(err, "cannot begin", code);
    else if ((code = MPI_Comm_dup(MPI_COMM_WORLD, &w->all)) != MPI_SUCCESS)
        tell(err, "no communicator", code);
    if (err->status != DT_OK) {
        free(w);
        return err->status;
    }
    MPI_Comm_set_errhandler(w->all, MPI_ERRORS_RETURN);
    *out = (rank_wire){.state = w, .begin = begin, .test = test, .close = close_wire};
    MPI_Comm_rank(w->all, &out->index);
    MPI_Comm_size(w->all, &out->count);
    return DT_OK;
}
