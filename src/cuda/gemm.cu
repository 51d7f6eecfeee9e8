/* Matrix products by cuBLASLt, which takes matrices column by column: a row-major C = op(A) op(B) is its C' = op(B)' op(A)'
 * with the same memory. Operands of a bf16 product are rounded into room first; sums are f32 either way. */
#include <cublasLt.h>
#include <string.h>

#include "cuda/pack.cuh"

enum { WORKSPACE = 32 << 20, PLANS = 512, COLUMN_MULTIPLE = 8 };

/* Everything that the choice of an algorithm depends on. */
typedef struct shape {
    int64_t m, n, k, lda, ldb, ldc;
    int flags, epilogue; /* cublasLtEpilogue_t */
    unsigned align_a, align_b, align_c;
} shape;

/* A choice that was made, kept for the next product of the same shape. */
typedef struct plan {
    bool made;
    shape of;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c; /* as cuBLASLt calls them: a is our B, b our A */
    cublasLtMatmulAlgo_t algorithm;
} plan;

static cublasLtHandle_t handle;
static plan plans[PLANS];

static void note(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS) return;
    cuda_note(status == CUBLAS_STATUS_ALLOC_FAILED ? cudaErrorMemoryAllocation : cudaErrorUnknown, what);
}

static unsigned alignment_of(const void *p)
{
    unsigned bits = (unsigned)((uintptr_t)p & 255);
    return bits ? bits & (~bits + 1) : 256;
}

/* ---- plans ---- */

template <typename T> static void set_product(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t what, T value)
{
    note(cublasLtMatmulDescSetAttribute(d, what, &value, sizeof value), "describing a product");
}

template <typename T>
static void set_preference(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t what, T value)
{
    note(cublasLtMatmulPreferenceSetAttribute(p, what, &value, sizeof value), "describing a product");
}

static void describe(plan *p, const shape *s)
{
    const bool turn_a = s->flags & GEMM_TRANS_A, turn_b = s->flags & GEMM_TRANS_B;
    const cudaDataType_t type = s->flags & GEMM_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cudaDataType_t result = s->flags & GEMM_NARROW_C ? CUDA_R_16BF : CUDA_R_32F;
    note(cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    set_product(p->product, CUBLASLT_MATMUL_DESC_TRANSA, turn_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set_product(p->product, CUBLASLT_MATMUL_DESC_TRANSB, turn_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set_product(p->product, CUBLASLT_MATMUL_DESC_EPILOGUE, (cublasLtEpilogue_t)s->epilogue);
    if (s->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        set_product(p->product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, s->ldc);
    const uint64_t m = (uint64_t)s->m, n = (uint64_t)s->n, k = (uint64_t)s->k;
    note(cublasLtMatrixLayoutCreate(&p->a, type, turn_b ? k : n, turn_b ? n : k, s->ldb), "describing a matrix");
    note(cublasLtMatrixLayoutCreate(&p->b, type, turn_a ? m : k, turn_a ? k : m, s->lda), "describing a matrix");
    note(cublasLtMatrixLayoutCreate(&p->c, result, n, m, s->ldc), "describing a matrix");
}

static void choose_algorithm(plan *p, const shape *s)
{
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    note(cublasLtMatmulPreferenceCreate(&preference), "describing a product");
    set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (uint64_t)WORKSPACE);
    set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)s->align_b);
    set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)s->align_a);
    set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)s->align_c);
    set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)s->align_c);
    note(cublasLtMatmulAlgoGetHeuristic(handle, p->product, p->a, p->b, p->c, p->c, preference, 1, &best, &found),
         "choosing how to multiply");
    if (!found) note(CUBLAS_STATUS_NOT_SUPPORTED, "no way to multiply matrices of this shape");
    p->algorithm = best.algo;
    cublasLtMatmulPreferenceDestroy(preference);
}

static void destroy_plan(plan *p)
{
    cublasLtMatrixLayoutDestroy(p->a);
    cublasLtMatrixLayoutDestroy(p->b);
    cublasLtMatrixLayoutDestroy(p->c);
    cublasLtMatmulDescDestroy(p->product);
}

/* FNV-1a of the shape's bytes, which have no gaps that are not cleared. */
static unsigned hash_of(const shape *s)
{
    uint64_t h = 14695981039346656037U;
    for (size_t i = 0; i < sizeof *s; i++) h = (h ^ ((const unsigned char *)s)[i]) * 1099511628211U;
    return (unsigned)(h >> 32) % PLANS;
}

/* The plan of a shape; another one in its place makes way. */
static plan *plan_of(const shape *s)
{
    plan *p = &plans[hash_of(s)];
    if (p->made && !memcmp(&p->of, s, sizeof *s)) return p;
    if (p->made) destroy_plan(p);
    p->made = true;
    p->of = *s;
    describe(p, s);
    choose_algorithm(p, s);
    return p;
}

/* ---- operands in bf16 ---- */

static __global__ void round_matrix(bf16 *to, const float *from, int64_t columns, int64_t ld_to, int64_t ld_from,
                                    int64_t count)
{
    const int64_t i = thread_of_grid();
    if (i >= count) return;
    const int64_t row = i / ld_to, column = i % ld_to;
    to[i] = __float2bfloat16_rn(column < columns ? from[row * ld_from + column] : 0);
}

static __global__ void round_fours(bf16 *to, const float *from, int64_t count)
{
    const int64_t i = 4 * thread_of_grid();
    if (i < count) store<4>(to + i, load<4>(from + i));
}

static int64_t padded(int64_t columns)
{
    return (columns + COLUMN_MULTIPLE - 1) / COLUMN_MULTIPLE * COLUMN_MULTIPLE;
}

/* Rows of `to` end in zeros where ld_to is more than the columns. */
static void round_rows(bf16 *to, const float *from, int64_t rows, int64_t columns, int64_t ld_to, int64_t ld_from)
{
    const int64_t count = rows * ld_to;
    if (ld_to == columns && ld_from == columns && count % 4 == 0 && on_16_bytes(from, to))
        round_fours<<<cuda_blocks(count / 4, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(to, from, count);
    else
        round_matrix<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(to, from, columns, ld_to,
                                                                                         ld_from, count);
    CUDA_LAUNCHED("rounding to bf16");
}

/* ---- the product ---- */

/* `aux` receives what gelu is taken of, where the epilogue gives that. */
static void multiply(void *c, void *aux, const void *a, const void *b, const void *bias, shape s, void *workspace)
{
    const float one = 1, add = s.flags & GEMM_ACCUMULATE ? 1 : 0;
    s.align_a = alignment_of(a);
    s.align_b = alignment_of(b);
    s.align_c = alignment_of(c);
    plan *p = plan_of(&s);
    if (bias) set_product(p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (aux) set_product(p->product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
    note(cublasLtMatmul(handle, p->product, &one, b, p->a, a, p->b, &add, c, p->c, c, p->c, &p->algorithm, workspace,
                        WORKSPACE, cuda_stream),
         "a matrix product");
}

/* An operand as the product takes it: itself when it is narrow, else rounded into `to`. */
static const void *rounded_operand(bf16 *to, const real *from, int64_t rows, int64_t columns, int64_t *ld, bool narrow)
{
    if (narrow) return from;
    round_rows(to, from, rows, columns, padded(columns), *ld);
    *ld = padded(columns);
    return to;
}

static size_t room_for(int64_t rows, int64_t columns, bool narrow)
{
    return narrow ? 0 : ((size_t)(rows * padded(columns)) * sizeof(bf16) + 255) / 256 * 256;
}

/* Beside the workspace lie the rounded operands, and the bias, which cuBLASLt takes in the type of the result. */
static void multiply_rounded(real *c, real *aux, const real *a, const real *b, const real *bias, shape s)
{
    const bool turn_a = s.flags & GEMM_TRANS_A, turn_b = s.flags & GEMM_TRANS_B;
    const bool narrow_a = s.flags & GEMM_NARROW_A, narrow_b = s.flags & GEMM_NARROW_B;
    const bool round_bias = bias && s.flags & GEMM_NARROW_C && !(s.flags & GEMM_NARROW_BIAS);
    const int64_t a_rows = turn_a ? s.k : s.m, a_columns = turn_a ? s.m : s.k;
    const int64_t b_rows = turn_b ? s.n : s.k, b_columns = turn_b ? s.k : s.n;
    const size_t a_bytes = room_for(a_rows, a_columns, narrow_a), b_bytes = room_for(b_rows, b_columns, narrow_b);
    unsigned char *room = (unsigned char *)cuda_room(WORKSPACE + a_bytes + b_bytes + room_for(1, s.n, !round_bias));
    if (!room) return;
    bf16 *a16 = (bf16 *)(room + WORKSPACE), *b16 = (bf16 *)(room + WORKSPACE + a_bytes);
    bf16 *bias16 = (bf16 *)(room + WORKSPACE + a_bytes + b_bytes);
    const void *left = rounded_operand(a16, a, a_rows, a_columns, &s.lda, narrow_a);
    const void *right = rounded_operand(b16, b, b_rows, b_columns, &s.ldb, narrow_b);
    if (round_bias) round_rows(bias16, bias, 1, s.n, s.n, s.n);
    multiply(c, aux, left, right, round_bias ? (const void *)bias16 : bias, s, room);
}

static shape shape_of(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int flags,
                      cublasLtEpilogue_t epilogue)
{
    shape s;
    memset(&s, 0, sizeof s);
    s.m = m;
    s.n = n;
    s.k = k;
    s.lda = lda;
    s.ldb = ldb;
    s.ldc = ldc;
    s.flags = flags;
    s.epilogue = epilogue;
    return s;
}

void cuda_gemm(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k, int64_t lda,
               int64_t ldb, int64_t ldc, int flags)
{
    shape s = shape_of(m, n, k, lda, ldb, ldc, flags, bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    if (flags & GEMM_BF16) {
        multiply_rounded(c, NULL, a, b, bias, s);
        return;
    }
    void *workspace = cuda_room(WORKSPACE);
    if (workspace) multiply(c, NULL, a, b, bias, s, workspace);
}

static void gemm_gelu(real *y, real *u, const real *x, const real *w, const real *bias, int64_t m, int64_t o, int64_t i,
                      int flags)
{
    flags |= GEMM_TRANS_B | GEMM_NARROW_A | GEMM_NARROW_C;
    shape s = shape_of(m, o, i, i, i, o, flags, u ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_BIAS);
    multiply_rounded(y, u, x, w, bias, s);
}

static void round_numbers(void *narrow, const real *x, int64_t count)
{
    round_rows((bf16 *)narrow, x, 1, count, count, count);
}

void cuda_register_gemm(engine *e)
{
    if (!handle) note(cublasLtCreate(&handle), "opening cuBLASLt");
    e->gemm = cuda_gemm;
    e->gemm_gelu = gemm_gelu;
    e->round = round_numbers;
}
