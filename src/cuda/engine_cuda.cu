#include "cuda/engine_cuda.h"

#include <cuda.h>
#include <stdio.h>
#include <string.h>

#include "cuda/device.h"

/* Arenas grow by as much at a time; the staging area serves uploads, in parts of at most half of it. */
#define GROWTH  ((size_t)64 << 20)
#define STAGING ((size_t)32 << 20)

cudaStream_t cuda_stream;

/* The first failure of any call, for whoever waits next. Work behind it has no meaning. */
static struct {
    cudaError_t status;
    const char *what;
} failure;

typedef struct room {
    unsigned char *memory;
    size_t size;
} room;

static room for_numbers, for_windows;

static struct {
    unsigned char *memory; /* pinned: copies from it run beside the host */
    size_t used;
} staging;

void cuda_note(cudaError_t status, const char *what)
{
    if (status == cudaSuccess || failure.status != cudaSuccess) return;
    failure.status = status;
    failure.what = what;
}

/* What was refused was nobody's launch. */
static void forget_last(void)
{
    (void)cudaGetLastError();
}

static void *at_least(room *r, size_t bytes)
{
    if (bytes > r->size) {
        cuda_note(cudaFree(r->memory), "giving back room");
        r->memory = NULL;
        r->size = 0;
        cudaError_t status = cudaMalloc((void **)&r->memory, bytes);
        if (status != cudaSuccess) forget_last();
        cuda_note(status, "room for intermediate numbers");
        if (status == cudaSuccess) r->size = bytes;
    }
    return r->memory;
}

void *cuda_room(size_t bytes)
{
    return at_least(&for_numbers, bytes);
}

void *cuda_windows_room(size_t bytes)
{
    return at_least(&for_windows, bytes);
}

/* After a lack of memory the device works on: nothing is launched without its room. Other failures stay. */
static dt_status report(dt_error *err)
{
    const cudaError_t status = failure.status;
    const bool lacks_memory = status == cudaErrorMemoryAllocation;
    if (status == cudaSuccess) return err->status;
    if (lacks_memory) failure.status = cudaSuccess;
    return error_set(err, lacks_memory ? DT_ERR_MEMORY : DT_ERR_UNSUPPORTED, "device cuda: %s: %s", failure.what,
                     cudaGetErrorString(status));
}

/* ---- arenas on the device: a range of addresses, behind which memory is put as it is needed ---- */

static CUmemAllocationProp device_memory(void)
{
    CUmemAllocationProp p;
    int device = 0;
    cuda_note(cudaGetDevice(&device), "the current device");
    memset(&p, 0, sizeof p);
    p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p.location.id = device;
    return p;
}

static size_t rounded(size_t bytes)
{
    return (bytes + GROWTH - 1) / GROWTH * GROWTH;
}

static void *reserve(size_t limit, dt_error *err)
{
    CUdeviceptr base = 0;
    if (cuMemAddressReserve(&base, rounded(limit), 0, 0, 0) != CUDA_SUCCESS)
        error_set(err, DT_ERR_MEMORY, "device cuda: reserving addresses for %zu MiB", limit >> 20);
    return (void *)base;
}

static size_t extend(void *base, size_t backed, size_t bytes, dt_error *err)
{
    CUmemAllocationProp p = device_memory();
    CUmemAccessDesc access = {p.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    const CUdeviceptr at = (CUdeviceptr)base + backed;
    const size_t more = rounded(bytes) - backed;
    CUmemGenericAllocationHandle handle;
    CUresult status = cuMemCreate(&handle, more, &p, 0);
    if (status == CUDA_SUCCESS) {
        status = cuMemMap(at, more, 0, handle, 0);
        cuMemRelease(handle); /* the mapping keeps it */
    }
    const bool mapped = status == CUDA_SUCCESS;
    if (mapped) status = cuMemSetAccess(at, more, &access, 1);
    if (status == CUDA_SUCCESS) return backed + more;
    if (mapped) cuMemUnmap(at, more);
    error_set(err, DT_ERR_MEMORY, "device cuda: %zu MiB more of the GPU's memory asked for, which it has not",
              more >> 20);
    return backed;
}

static void release(void *base, size_t limit, size_t backed)
{
    cuda_note(cudaStreamSynchronize(cuda_stream), "closing");
    if (backed) cuMemUnmap((CUdeviceptr)base, backed);
    cuMemAddressFree((CUdeviceptr)base, rounded(limit));
}

static const arena_backing backing = {reserve, extend, release};

static void memory_sizes(size_t *total, size_t *available)
{
    cuda_note(cudaMemGetInfo(available, total), "the size of its memory");
}

/* ---- copies ---- */

static void clear(void *numbers, size_t bytes)
{
    cuda_note(cudaMemsetAsync(numbers, 0, bytes, cuda_stream), "clearing");
}

static void copy(void *to, const void *from, size_t bytes)
{
    cuda_note(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cuda_stream), "copying");
}

static void upload_part(void *to, const void *host, size_t bytes)
{
    if (staging.used + bytes > STAGING) {
        cuda_note(cudaStreamSynchronize(cuda_stream), "waiting for earlier work");
        staging.used = 0;
    }
    unsigned char *part = staging.memory + staging.used;
    memcpy(part, host, bytes);
    cuda_note(cudaMemcpyAsync(to, part, bytes, cudaMemcpyHostToDevice, cuda_stream), "sending");
    staging.used += bytes;
}

static void upload(void *to, const void *host, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t part = bytes - done < STAGING / 2 ? bytes - done : STAGING / 2;
        upload_part((unsigned char *)to + done, (const unsigned char *)host + done, part);
        done += part;
    }
}

static dt_status download(void *host, const void *from, size_t bytes, dt_error *err)
{
    cuda_note(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, cuda_stream), "fetching");
    cuda_note(cudaStreamSynchronize(cuda_stream), "waiting for earlier work");
    return report(err);
}

static dt_status finish(dt_error *err)
{
    cuda_note(cudaStreamSynchronize(cuda_stream), "waiting for earlier work");
    return report(err);
}

static void *shared(size_t bytes)
{
    void *memory = NULL;
    if (cudaMallocManaged(&memory, bytes, cudaMemAttachGlobal) == cudaSuccess) return memory;
    forget_last();
    return NULL;
}

/* ---- opening ---- */

#define FILES(X)      X(gemm) X(attention) X(elementwise) X(norm) X(layout) X(loss) X(adamw) X(conv) X(group_norm)
#define DECLARE(file) void cuda_register_##file(engine *e);
#define CALL(file)    cuda_register_##file(e);

FILES(DECLARE)

/* The GPU that the process uses. */
static int gpu;

/* Any thread may work with the engine; each begins with the process's GPU. */
static void enter(void)
{
    cuda_note(cudaSetDevice(gpu), "using the GPU");
}

/* Once for the process; engines share the stream. */
static void open_device(int number)
{
    int gpus = 0;
    if (cuda_stream) return;
    cuda_note(cudaGetDeviceCount(&gpus), "counting GPUs");
    gpu = gpus > 0 ? number % gpus : 0;
    enter();
    cuda_note(cudaStreamCreateWithFlags(&cuda_stream, cudaStreamNonBlocking), "opening a stream");
    cuda_note(cudaMallocHost((void **)&staging.memory, STAGING), "pinned memory");
}

dt_status difftune_engine_cuda(engine *e, int number, dt_error *err)
{
    cudaDeviceProp device;
    open_device(number);
    cuda_note(cudaGetDeviceProperties(&device, gpu), "the GPU");
    if (report(err) != DT_OK) return err->status;
    if (device.major < 8)
        return error_set(err, DT_ERR_UNSUPPORTED, "device cuda: %s has compute capability %d.%d, 8.0 is needed",
                         device.name, device.major, device.minor);
    memset(e, 0, sizeof *e);
    e->narrow = e->narrow_weights = true;
    snprintf(e->name, sizeof e->name, "cuda %.50s", device.name);
    e->memory.backing = &backing;
    e->memory.enter = enter;
    e->memory.clear = clear;
    e->memory.copy = copy;
    e->memory.upload = upload;
    e->memory.download = download;
    e->memory.finish = finish;
    e->memory.sizes = memory_sizes;
    e->memory.shared = shared;
    FILES(CALL)
    return report(err);
}
