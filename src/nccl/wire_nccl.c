/* Ranks over NCCL, from device to device: a module that the library loads when processes that were started together compute on GPUs
 * (rank/device.c). NCCL 2.14 or later, whose calls can be made without waiting in them, so that a rank that dies is noticed. */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rank/device.h"

typedef struct nccl_wire {
    ncclComm_t all;
    cudaStream_t stream;
    cudaEvent_t behind; /* the transfers */
    bool recorded;
    bool joined; /* all ranks have been there */
} nccl_wire;

static dt_status tell(dt_error *err, const char *what, ncclResult_t result)
{
    if (result == ncclSuccess || result == ncclInProgress) return err->status;
    return error_set(err, DT_ERR_IO, "NCCL: %s: %s", what, ncclGetErrorString(result));
}

static dt_status tell_cuda(dt_error *err, const char *what, cudaError_t status)
{
    if (status == cudaSuccess || status == cudaErrorNotReady) return err->status;
    return error_set(err, DT_ERR_IO, "NCCL: %s: %s", what, cudaGetErrorString(status));
}

/* Those of two ranks meet in the order of the list. */
static dt_status begin(void *state, const rank_part part[], int count, dt_error *err)
{
    nccl_wire *w = state;
    w->recorded = false;
    if (count == 0 || tell(err, "a transfer cannot be begun", ncclGroupStart()) != DT_OK) return err->status;
    for (int i = 0; i < count && err->status == DT_OK; i++) {
        const rank_part *p = &part[i];
        tell(err, "a transfer cannot be begun",
             p->sends ? ncclSend(p->data, p->bytes, ncclUint8, p->peer, w->all, w->stream)
                      : ncclRecv(p->data, p->bytes, ncclUint8, p->peer, w->all, w->stream));
    }
    return tell(err, "transfers cannot be begun", ncclGroupEnd());
}

/* What was asked for is handed to the device first, and then done by it. */
static dt_status test(void *state, bool *done, dt_error *err)
{
    nccl_wire *w = state;
    ncclResult_t asked = ncclSuccess;
    *done = false;
    if (tell(err, "its state", ncclCommGetAsyncError(w->all, &asked)) != DT_OK) return err->status;
    if (asked != ncclSuccess) return tell(err, w->joined ? "a transfer was lost" : "cannot begin", asked);
    w->joined = true;
    if (!w->recorded && tell_cuda(err, "an event", cudaEventRecord(w->behind, w->stream)) != DT_OK) return err->status;
    w->recorded = true;
    const cudaError_t status = cudaEventQuery(w->behind);
    *done = status == cudaSuccess;
    return tell_cuda(err, "a transfer was lost", status);
}

/* What is under way at the others may take a moment; it is not waited for without end. */
static void finish(const nccl_wire *w)
{
    enum { MILLISECONDS = 5000 };
    ncclResult_t asked = ncclInProgress;
    ncclCommFinalize(w->all);
    for (int i = 0; i < MILLISECONDS && asked == ncclInProgress; i++) {
        if (ncclCommGetAsyncError(w->all, &asked) != ncclSuccess) break;
        if (asked == ncclInProgress) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    ncclCommDestroy(w->all);
}

/* What a rank that has died leaves unfinished is given up. */
static void close_wire(void *state, bool together)
{
    nccl_wire *w = state;
    if (w->all && together)
        finish(w);
    else if (w->all)
        ncclCommAbort(w->all);
    if (w->behind) cudaEventDestroy(w->behind);
    if (w->stream) cudaStreamDestroy(w->stream);
    free(w);
}

__attribute__((visibility("default"))) dt_status difftune_nccl_key(device_key *out, dt_error *err);
__attribute__((visibility("default"))) dt_status difftune_nccl_gpu(char text[static DEVICE_TEXT], dt_error *err);
__attribute__((visibility("default"))) dt_status difftune_nccl_wire(rank_wire *out, int index, int count,
                                                                    const device_key *key, dt_error *err);

dt_status difftune_nccl_key(device_key *out, dt_error *err)
{
    ncclUniqueId id;
    _Static_assert(sizeof id == sizeof *out, "as long as NCCL's");
    tell(err, "a key", ncclGetUniqueId(&id));
    memcpy(out, &id, sizeof id);
    return err->status;
}

dt_status difftune_nccl_gpu(char text[static DEVICE_TEXT], dt_error *err)
{
    int gpu = 0;
    tell_cuda(err, "its GPU", cudaGetDevice(&gpu));
    return tell_cuda(err, "its GPU", cudaDeviceGetPCIBusId(text, DEVICE_TEXT, gpu));
}

dt_status difftune_nccl_wire(rank_wire *out, int index, int count, const device_key *key, dt_error *err)
{
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    nccl_wire *w = calloc(1, sizeof *w);
    if (!w) return error_set(err, DT_ERR_MEMORY, "no memory for the ranks");
    memcpy(&id, key, sizeof id);
    config.blocking = 0;
    tell_cuda(err, "a stream", cudaStreamCreateWithFlags(&w->stream, cudaStreamNonBlocking));
    tell_cuda(err, "an event", cudaEventCreateWithFlags(&w->behind, cudaEventDisableTiming));
    if (err->status == DT_OK) tell(err, "cannot begin", ncclCommInitRankConfig(&w->all, count, id, index, &config));
    if (err->status == DT_OK)
        *out = (rank_wire){index, count, w, begin, test, close_wire};
    else
        close_wire(w, false);
    return err->status;
}
