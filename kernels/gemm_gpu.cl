// Matrix multiplication on GPUs: tiles in local memory, a block of registers per work-item.
//
// The one entry is gemm_local.  What it computes, how matrices lie, what a split sum is and how results are
// stored stands in gemm.cl, whose arguments it takes: C[i, j] = sum over p of A[i, p] * B[p, j], A (m, k) with row
// stride lda or (k, m) with TRANS_A, B (k, n) with row stride ldb or (n, k) with TRANS_B, for a batch of matrices.
//
// A work-group makes TM x TN elements of C, TK terms at a time.  While it multiplies one pair of tiles, the next
// pair is on its way into registers; two pairs fit in local memory, so one barrier a step is enough.  A work-item
// owns blocks of VM x VN elements, VM rows below each other, in TM / RM * VM steps, so that a vector from local
// memory serves several products and neighbours read neighbouring words.
//
// Assumptions: as in gemm.cl.  Vectors are read whole where the address allows, which is asked at run time.
//
// Tunables: REAL, TM, TN, TK (a multiple of 4), RM, RN (a work-item's part; 1, 2 or a multiple of 4), A_HALF, B_HALF,
//   C_HALF (half in memory, REAL is float), NARROW (REAL is narrower than uint), BY_LANE (as in gemm.cl).
//   Local size: (TN / RN, TM / RM, 1).

#ifndef GR_NAME
#define GR_NAME gemm_local
#endif
#ifndef REAL
#define REAL float
#endif
#ifndef TM
#define TM 64
#endif
#ifndef TN
#define TN 64
#endif
#ifndef TK
#define TK 16
#endif
#ifndef RM
#define RM 4
#endif
#ifndef RN
#define RN 4
#endif
#define GROUP_X (TN / RN)
#define GROUP_Y (TM / RM)
#define GROUP (GROUP_X * GROUP_Y)
#if RM % 4 == 0
#define VM 4
#else
#define VM RM
#endif
// The plan defines W, the lanes of a vector that is stored: 4 where RN is a multiple of 4, else 1.
#ifndef W
#if RN % 4 == 0
#define W 4
#else
#define W 1
#endif
#endif
#define CAT_(x, y) x##y
#define CAT(x, y) CAT_(x, y)
#define REAL4 CAT(REAL, 4)
#if W == 4
#define VEC REAL4
#define LANE(v, e) ((e) == 0 ? (v).s0 : (e) == 1 ? (v).s1 : (e) == 2 ? (v).s2 : (v).s3)
#else
#define VEC REAL
#define LANE(v, e) (v)
#endif
#define PITCH_A (TM + 4)
#define PITCH_B (TN + 4)

#ifdef A_HALF
#define A_TYPE half
#define A_LOAD(p) vload_half(0, p)
#define A_LOAD4(p) (REAL4)(vload_half(0, p), vload_half(1, p), vload_half(2, p), vload_half(3, p))
#else
#define A_TYPE REAL
#define A_LOAD(p) (*(p))
#define A_LOAD4(p) (*(__global const REAL4 *)(p))
#endif
#ifdef B_HALF
#define B_TYPE half
#define B_LOAD(p) vload_half(0, p)
#define B_LOAD4(p) (REAL4)(vload_half(0, p), vload_half(1, p), vload_half(2, p), vload_half(3, p))
#else
#define B_TYPE REAL
#define B_LOAD(p) (*(p))
#define B_LOAD4(p) (*(__global const REAL4 *)(p))
#endif

#define GR_OUT c
#ifndef GR_EPILOGUE
#define GR_EPI_PARAMS
#define GR_EPI_BEGIN
#ifdef C_HALF
#define OUT_TYPE half
#define GR_STORE_S(v, at) vstore_half(v, at, GR_OUT)
#define GR_STORE_V(v, at)                                                                                \
    for (uint e_ = 0; e_ < W; ++e_) vstore_half(LANE(v, e_), (at) + e_, GR_OUT)
#else
#define OUT_TYPE REAL
#define GR_STORE_S(v, at) GR_OUT[at] = (v)
#if W == 4
#define GR_STORE_V(v, at) vstore4(v, 0, GR_OUT + (at))
#else
#define GR_STORE_V(v, at) GR_STORE_S(v, at)
#endif
#endif
#endif

// Scalars narrower than int would be multiplied as int, which overflows; vectors are not widened.
#if defined(NARROW) && W == 1
#define MULTIPLY_ADD(sum, x, y) sum += (REAL)((uint)(x) * (uint)(y))
#else
#define MULTIPLY_ADD(sum, x, y) sum += (x) * (y)
#endif

// Four elements that lie side by side, (i, p) and on along `fast`, of which those beyond the edge are 0.
#define FETCH(to, LOAD, LOAD4, x, ld, wide, slow, slow_end, fast, fast_end)                              \
    {                                                                                                    \
        to = (REAL4)(0);                                                                                 \
        if ((slow) < (slow_end)) {                                                                       \
            const ulong from = (ulong)(slow) * ld + (fast);                                              \
            if (wide && (fast) + 4 <= (fast_end)) to = LOAD4(x + from);                                  \
            else {                                                                                       \
                if ((fast) < (fast_end)) to.s0 = LOAD(x + from);                                         \
                if ((fast) + 1 < (fast_end)) to.s1 = LOAD(x + from + 1);                                 \
                if ((fast) + 2 < (fast_end)) to.s2 = LOAD(x + from + 2);                                 \
                if ((fast) + 3 < (fast_end)) to.s3 = LOAD(x + from + 3);                                 \
            }                                                                                            \
        }                                                                                                \
    }
// A tile's vectors, `NUM` for each work-item, of an operand that is stored along k or across it.
#define FETCH_ALONG(to, NUM, LOAD, LOAD4, x, ld, wide, T, x0, end)                                       \
    _Pragma("unroll") for (uint s = 0; s < NUM; ++s)                                                     \
    {                                                                                                    \
        const uint q = id + s * GROUP;                                                                   \
        if (T * TK / 4 % GROUP == 0 || q < T * TK / 4)                                                   \
            FETCH(to[s], LOAD, LOAD4, x, ld, wide, x0 + q / (TK / 4), end, p0 + q % (TK / 4) * 4, k)     \
    }
#define FETCH_ACROSS(to, NUM, LOAD, LOAD4, x, ld, wide, T, x0, end)                                      \
    _Pragma("unroll") for (uint s = 0; s < NUM; ++s)                                                     \
    {                                                                                                    \
        const uint q = id + s * GROUP;                                                                   \
        if (T * TK / 4 % GROUP == 0 || q < T * TK / 4)                                                   \
            FETCH(to[s], LOAD, LOAD4, x, ld, wide, p0 + q / (T / 4), k, x0 + q % (T / 4) * 4, end)       \
    }
#define KEEP_ALONG(from, NUM, tile, PITCH, T)                                                            \
    _Pragma("unroll") for (uint s = 0; s < NUM; ++s)                                                     \
    {                                                                                                    \
        const uint q = id + s * GROUP, i = q / (TK / 4), p = q % (TK / 4) * 4;                           \
        if (T * TK / 4 % GROUP == 0 || q < T * TK / 4) {                                                 \
            tile[(p + 0) * PITCH + i] = from[s].s0;                                                      \
            tile[(p + 1) * PITCH + i] = from[s].s1;                                                      \
            tile[(p + 2) * PITCH + i] = from[s].s2;                                                      \
            tile[(p + 3) * PITCH + i] = from[s].s3;                                                      \
        }                                                                                                \
    }
#define KEEP_ACROSS(from, NUM, tile, PITCH, T)                                                           \
    _Pragma("unroll") for (uint s = 0; s < NUM; ++s)                                                     \
    {                                                                                                    \
        const uint q = id + s * GROUP, p = q / (T / 4), i = q % (T / 4) * 4;                             \
        if (T * TK / 4 % GROUP == 0 || q < T * TK / 4) *(__local REAL4 *)(tile + p * PITCH + i) = from[s]; \
    }
#ifdef TRANS_A
#define A_FETCH FETCH_ACROSS
#define A_KEEP KEEP_ACROSS
#define A_STEP lda
#else
#define A_FETCH FETCH_ALONG
#define A_KEEP KEEP_ALONG
#define A_STEP 1
#endif
#ifdef TRANS_B
#define B_FETCH FETCH_ALONG
#define B_KEEP KEEP_ALONG
#define B_STEP 1
#else
#define B_FETCH FETCH_ACROSS
#define B_KEEP KEEP_ACROSS
#define B_STEP ldb
#endif
#define NUM_A ((TM * TK / 4 + GROUP - 1) / GROUP)
#define NUM_B ((TN * TK / 4 + GROUP - 1) / GROUP)
#define BAND 8 // rows of tiles that are worked on together, so that their parts of B are still in the cache

// Work-group (x, 0, 0): tile x % (tiles_x * tiles_y), bands of rows one after the other, and part x / (tiles_x *
// tiles_y) of the batch; in one dimension, because some drivers take few groups in the others.
__kernel __attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, 1))) void GR_NAME(
    __global const A_TYPE *a, ulong a_offset, __global const B_TYPE *b, ulong b_offset,
    __global OUT_TYPE *c, ulong c_offset, uint m, uint n, uint k, ulong lda, ulong ldb, uint d1, uint d2,
    ulong as0, ulong as1, ulong as2, ulong bs0, ulong bs1, ulong bs2, ulong a_start, ulong b_start,
    ulong c_start, uint splits, uint k_part GR_EPI_PARAMS)
{
    __local REAL4 tiles[2 * TK * (PITCH_A + PITCH_B) / 4]; // of vectors, so that they lie on their boundary
    const uint tiles_x = (n + TN - 1) / TN, tiles_y = (m + TM - 1) / TM;
    const ulong group = get_group_id(0), parts = get_num_groups(0) / tiles_x / tiles_y;
    const ulong z = group / tiles_x / tiles_y, g = z / splits, part = z % splits;
    const ulong b0 = g / ((ulong)d1 * d2), b1 = g / d2 % d1, b2 = g % d2;
    a += a_offset + a_start + b0 * as0 + b1 * as1 + b2 * as2 + part * k_part * A_STEP;
    b += b_offset + b_start + b0 * bs0 + b1 * bs1 + b2 * bs2 + part * k_part * B_STEP;
    const ulong c_at = c_start + (part * (parts / splits) + g) * m * n;
    k = min(k_part, k - (uint)part * k_part);
    c += c_offset;
    GR_EPI_BEGIN
    const uint in_matrix = (uint)(group - z * tiles_x * tiles_y), band = in_matrix / (BAND * tiles_x);
    const uint in_band = in_matrix - band * BAND * tiles_x, band_rows = min((uint)BAND, tiles_y - band * BAND);
    const uint i0 = (band * BAND + in_band % band_rows) * TM, j0 = in_band / band_rows * TN;
    const uint lx = get_local_id(0), ly = get_local_id(1), id = ly * GROUP_X + lx;
    const int wide_a = ((size_t)a & (sizeof(REAL4) - 1)) == 0 && lda % 4 == 0;
    const int wide_b = ((size_t)b & (sizeof(REAL4) - 1)) == 0 && ldb % 4 == 0;
    VEC acc[RM][RN / W];
#pragma unroll
    for (uint i = 0; i < RM; ++i)
#pragma unroll
        for (uint j = 0; j < RN / W; ++j) acc[i][j] = (VEC)(0);
    REAL4 next_a[NUM_A], next_b[NUM_B];
    uint p0 = 0;
    A_FETCH(next_a, NUM_A, A_LOAD, A_LOAD4, a, lda, wide_a, TM, i0, m)
    B_FETCH(next_b, NUM_B, B_LOAD, B_LOAD4, b, ldb, wide_b, TN, j0, n)
    uint turn = 0;
    while (p0 < k) {
        __local REAL *at = (__local REAL *)tiles + turn * TK * (PITCH_A + PITCH_B), *bt = at + TK * PITCH_A;
        A_KEEP(next_a, NUM_A, at, PITCH_A, TM)
        B_KEEP(next_b, NUM_B, bt, PITCH_B, TN)
        barrier(CLK_LOCAL_MEM_FENCE);
        p0 += TK;
        if (p0 < k) {
            A_FETCH(next_a, NUM_A, A_LOAD, A_LOAD4, a, lda, wide_a, TM, i0, m)
            B_FETCH(next_b, NUM_B, B_LOAD, B_LOAD4, b, ldb, wide_b, TN, j0, n)
        }
#pragma unroll
        for (uint p = 0; p < TK; ++p) {
            VEC u[RN / W];
            REAL t[RM];
#pragma unroll
            for (uint j = 0; j < RN / W; ++j)
                u[j] = *(__local const VEC *)(bt + p * PITCH_B + (j * GROUP_X + lx) * W);
#pragma unroll
            for (uint i = 0; i < RM; i += VM) {
                __local const REAL *from = at + p * PITCH_A + i * GROUP_Y + ly * VM;
#if VM == 4
                const REAL4 four = *(__local const REAL4 *)from;
                t[i] = four.s0;
                t[i + 1] = four.s1;
                t[i + 2] = four.s2;
                t[i + 3] = four.s3;
#else
#pragma unroll
                for (uint e = 0; e < VM; ++e) t[i + e] = from[e];
#endif
            }
#pragma unroll
            for (uint i = 0; i < RM; ++i)
#pragma unroll
                for (uint j = 0; j < RN / W; ++j) MULTIPLY_ADD(acc[i][j], t[i], u[j]);
        }
        turn ^= 1;
    }
#define STORE(v, i, j)                                                                                   \
    {                                                                                                    \
        const uint row = i0 + ((i) / VM * GROUP_Y + ly) * VM + (i) % VM;                                 \
        const uint col = j0 + ((j)*GROUP_X + lx) * W;                                                    \
        const ulong at = c_at + (ulong)row * n + col;                                                    \
        if (row < m) {                                                                                   \
            if (WHOLE && col + W <= n) GR_STORE_V(v, at);                                                \
            else                                                                                         \
                for (uint e = 0; e < min((uint)W, n - min(n, col)); ++e) GR_STORE_S(LANE(v, e), at + e); \
        }                                                                                                \
    }
#ifdef BY_LANE
#define WHOLE 0
#else
#define WHOLE 1
#endif
#ifdef GR_EPILOGUE
    // An epilogue is long text, so it stands in one loop that picks a register; not in every one of its turns.
#pragma unroll 1
    for (uint r = 0; r < RM * (RN / W); ++r) {
        VEC v = acc[0][0];
#pragma unroll
        for (uint q = 1; q < RM * (RN / W); ++q) v = r == q ? acc[q / (RN / W)][q % (RN / W)] : v;
        STORE(v, r / (RN / W), r % (RN / W))
    }
#else
#pragma unroll
    for (uint i = 0; i < RM; ++i)
#pragma unroll
        for (uint j = 0; j < RN / W; ++j) STORE(acc[i][j], i, j)
#endif
}

#undef STORE
#undef WHOLE
#undef BAND
#undef NUM_A
#undef NUM_B
#undef A_FETCH
#undef A_KEEP
#undef A_STEP
#undef B_FETCH
#undef B_KEEP
#undef B_STEP
#undef KEEP_ALONG
#undef KEEP_ACROSS
#undef FETCH_ALONG
#undef FETCH_ACROSS
#undef FETCH
#undef MULTIPLY_ADD
#undef GR_OUT
#ifndef GR_EPILOGUE
#undef OUT_TYPE
#undef GR_STORE_S
#undef GR_STORE_V
#undef GR_EPI_PARAMS
#undef GR_EPI_BEGIN
#endif
#undef A_TYPE
#undef A_LOAD
#undef A_LOAD4
#undef B_TYPE
#undef B_LOAD
#undef B_LOAD4
#undef PITCH_A
#undef PITCH_B
#undef VEC
#undef LANE
#undef REAL4
#undef CAT
#undef CAT_
#undef VM
#undef W
#undef GROUP
#undef GROUP_X
#undef GROUP_Y
#undef GR_NAME
#undef REAL
#undef TM
#undef TN
#undef TK
#undef RM
#undef RN
