// Matrix multiplication: C[i, j] = sum over p of A[i, p] * B[p, j], for a batch of matrices.
//
// Entries, one per inclusion of this text; the define in brackets selects it:
//   gemm_tile [GEMM_TILE, default]  CPUs: a register tile of MR rows by NV vectors per step.
//   gemm_dot  [GEMM_DOT]            CPUs: few rows of A and a B that is stored (n, k): dot products.
//   gemm_pack [GEMM_PACK]           CPUs: rearranges an operand for gemm_tile, converting half to float.
//   gemm_local [GEMM_LOCAL]         GPUs: tiles in local memory with a register block per work-item.
//
// Index convention: C is (m, n), row-major, matrices of the batch one behind the other.  A is (m, k) with
// row stride lda, or (k, m) with TRANS_A; B is (k, n) with row stride ldb, or (n, k) with TRANS_B.  The
// batch index is b = (b0 * d1 + b1) * d2 + b2; operand x starts at x_start + b0 * xs0 + b1 * xs1 + b2 * xs2,
// and a stride of 0 broadcasts.  A launch can take a part of the batch: x_start is not 0 then.  All strides
// and offsets count elements.
//
// Assumptions: no alignment beyond the element's; nothing is read or written outside the operands; values
// outside a matrix never meet values inside one, so NaN and infinity propagate as in NumPy; m, n >= 1;
// k = 0 gives zeros.  Integers are passed as the unsigned type of their width, whose products wrap.
//
// Results are stored through GR_STORE_V(v, at) and GR_STORE_S(v, at) alone, v a vector of W lanes of REAL or one
// REAL and `at` the element of C; whoever defines GR_EPILOGUE before this text defines them, OUT_TYPE,
// GR_EPI_PARAMS and GR_EPI_BEGIN, to store something else than the product (see kernels/README.md).  Sums lie
// in C between blocks of k, so an OUT_TYPE other than REAL needs a KB of at least k.
//
// Tunables: REAL (type computed in), W (lanes of a vector), MR, NV (tile), KB (length of a block of k),
//   PACKED_B, TRANS_A, TRANS_B, A_HALF, B_HALF, C_HALF (half in memory, REAL is float), NARROW (REAL is
//   narrower than uint), BY_LANE (rows of C are shorter than the n given here), and for gemm_local TM, TN, TK (tile of a work-group), RM, RN (block of a
//   work-item).  Local size: (TN / RN, TM / RM, 1) for gemm_local, else (1, 1, 1).

#ifndef GR_NAME
#if defined(GEMM_PACK)
#define GR_NAME gemm_pack
#elif defined(GEMM_DOT)
#define GR_NAME gemm_dot
#elif defined(GEMM_LOCAL)
#define GR_NAME gemm_local
#else
#define GR_NAME gemm_tile
#endif
#endif
#ifndef REAL
#define REAL float
#endif
#ifndef W
#define W 16 // one 64-byte register of float
#endif
#ifndef MR
#define MR 6
#endif
#ifndef NV
#define NV 4
#endif
#ifndef KB
#define KB 256 // KB * NV * W floats of B stay in the second-level cache while the strips pass
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

#define CAT_(x, y) x##y
#define CAT(x, y) CAT_(x, y)
#define VEC CAT(REAL, W)
#define VLOAD(p) CAT(vload, W)(0, p)
#define VSTORE(v, p) CAT(vstore, W)(v, 0, p)
#define NR (NV * W)

#ifdef A_HALF
#define A_TYPE half
#define A_LOAD(p) vload_half(0, p)
#else
#define A_TYPE REAL
#define A_LOAD(p) (*(p))
#endif
#ifdef B_HALF
#define B_TYPE half
#define B_LOAD(p) vload_half(0, p)
#else
#define B_TYPE REAL
#define B_LOAD(p) (*(p))
#endif
#define GR_OUT c
#ifndef GR_EPILOGUE
#define GR_EPI_PARAMS
#define GR_EPI_BEGIN
#ifdef C_HALF
#define OUT_TYPE half
#define GR_STORE_S(v, at) vstore_half(v, at, GR_OUT)
// Vectors of halves go through a variable: PoCL 3.1 takes their address for one of a whole vector.
#define GR_STORE_V(v, at)                                                                                \
    {                                                                                                    \
        CAT(ushort, W) bits;                                                                             \
        CAT(vstore_half, W)(v, 0, (half *)&bits);                                                        \
        CAT(vstore, W)(bits, 0, (__global ushort *)(GR_OUT + (at)));                                     \
    }
#else
#define OUT_TYPE REAL
#define GR_STORE_S(v, at) GR_OUT[at] = (v)
#define GR_STORE_V(v, at) VSTORE(v, GR_OUT + (at))
#endif
#endif
#define K_BLOCKS (KB < 0x40000000) // whether there may be more than one block of k

// Scalars narrower than int would be multiplied as int, which overflows.
#ifdef NARROW
#define MUL(x, y) ((REAL)((uint)(x) * (uint)(y)))
#else
#define MUL(x, y) ((x) * (y))
#endif

#define OPERANDS                                                                                         \
    __global const A_TYPE *a, ulong a_offset, __global const B_TYPE *b, ulong b_offset,                  \
        __global OUT_TYPE *c, ulong c_offset, uint m, uint n, uint k, ulong lda, ulong ldb, uint d1,       \
        uint d2, ulong as0, ulong as1, ulong as2, ulong bs0, ulong bs1, ulong bs2, ulong a_start,        \
        ulong b_start, ulong c_start

#define SEEK_BATCH(g_)                                                                                   \
    ulong c_at;                                                                                          \
    {                                                                                                    \
        const ulong g = (g_);                                                                            \
        const ulong b0 = g / ((ulong)d1 * d2), b1 = g / d2 % d1, b2 = g % d2;                            \
        a += a_offset + a_start + b0 * as0 + b1 * as1 + b2 * as2;                                        \
        b += b_offset + b_start + b0 * bs0 + b1 * bs1 + b2 * bs2;                                        \
        c_at = c_start + g * m * n;                                                                      \
    }                                                                                                    \
    c += c_offset;                                                                                       \
    GR_EPI_BEGIN

#if defined(GEMM_PACK)

// Copies a (rows, cols) operand into panels of `width` columns: element (r, c) goes to
// (c / width) * rows * width + r * width + c % width; the last panel is filled up with zeros.  With
// TRANS_B the source is (cols, rows).  With width = cols the result is plain row-major.
// Work-item (x, y, z): rows [x * chunk, x * chunk + chunk), panel y, matrix z.
__kernel void GR_NAME(
    __global const B_TYPE *src, ulong src_offset, __global REAL *dst, ulong dst_offset, uint rows,
    uint cols, uint width, ulong ld, uint chunk, ulong src_batch, ulong dst_batch)
{
    const uint r_begin = get_global_id(0) * chunk, r_end = min(r_begin + chunk, rows);
    const uint c_begin = get_global_id(1) * width, c_end = min(c_begin + width, cols);
    src += src_offset + get_global_id(2) * src_batch;
    dst += dst_offset + get_global_id(2) * dst_batch + (ulong)c_begin * rows;
#ifdef TRANS_B
    for (uint c = c_begin; c < c_end; c += W) {
        uint r = r_begin;
#ifndef B_HALF
        if (c + W <= c_end) {
            for (; r + W <= r_end; r += W) {
                // log2(W) perfect shuffles transpose a block of W x W in registers.
                VEC x[W], y[W];
#pragma unroll
                for (uint i = 0; i < W; ++i) x[i] = VLOAD(src + (ulong)(c + i) * ld + r);
#pragma unroll
                for (uint stage = 1; stage < W; stage *= 2) {
#pragma unroll
                    for (uint i = 0; i < W / 2; ++i) {
                        y[2 * i].even = x[i].lo;
                        y[2 * i].odd = x[i + W / 2].lo;
                        y[2 * i + 1].even = x[i].hi;
                        y[2 * i + 1].odd = x[i + W / 2].hi;
                    }
#pragma unroll
                    for (uint i = 0; i < W; ++i) x[i] = y[i];
                }
#pragma unroll
                for (uint i = 0; i < W; ++i) VSTORE(x[i], dst + (ulong)(r + i) * width + (c - c_begin));
            }
        }
#endif
        const uint c_stop = min(c + W, c_end);
        for (; r < r_end; ++r)
            for (uint j = c; j < c_stop; ++j)
                dst[(ulong)r * width + (j - c_begin)] = B_LOAD(src + (ulong)j * ld + r);
    }
#else
    for (uint r = r_begin; r < r_end; ++r) {
        __global const B_TYPE *from = src + (ulong)r * ld + c_begin;
        __global REAL *to = dst + (ulong)r * width;
        for (uint j = 0; j < c_end - c_begin; ++j) to[j] = B_LOAD(from + j);
    }
#endif
    for (uint r = r_begin; r < r_end; ++r)
        for (uint j = c_end - c_begin; j < width; ++j) dst[(ulong)r * width + j] = 0;
}

#elif defined(GEMM_DOT)

// B is (n, k).  Work-item (x, y, z): `groups` groups of NV columns, rows [y * MR, y * MR + MR), matrix z.
// The tile is MR by NV dot products, each summed in W lanes, and the lanes in order at the end.
__kernel void GR_NAME(OPERANDS, uint groups GR_EPI_PARAMS)
{
    SEEK_BATCH(get_global_id(2))
    const uint i0 = get_global_id(1) * MR;
    const ulong j_begin = get_global_id(0) * (ulong)groups * NV;
    const ulong j_end = min((ulong)n, j_begin + (ulong)groups * NV);
    for (ulong j0 = j_begin; j0 < j_end; j0 += NV) {
        __global const REAL *x[MR], *y[NV];
        VEC acc[MR][NV];
        // Beyond the edge the last row is read again and its result dropped.
#pragma unroll
        for (uint i = 0; i < MR; ++i) x[i] = a + (ulong)min(i0 + i, m - 1) * lda;
#pragma unroll
        for (uint j = 0; j < NV; ++j) y[j] = b + min(j0 + j, (ulong)n - 1) * ldb;
#pragma unroll
        for (uint i = 0; i < MR; ++i)
#pragma unroll
            for (uint j = 0; j < NV; ++j) acc[i][j] = (VEC)(0);
        uint p = 0;
        for (; p + W <= k; p += W) {
            VEC u[NV];
#pragma unroll
            for (uint j = 0; j < NV; ++j) u[j] = VLOAD(y[j] + p);
#pragma unroll
            for (uint i = 0; i < MR; ++i) {
                const VEC t = VLOAD(x[i] + p);
#pragma unroll
                for (uint j = 0; j < NV; ++j) acc[i][j] += t * u[j];
            }
        }
        REAL sums[MR][NV];
#pragma unroll
        for (uint i = 0; i < MR; ++i)
#pragma unroll
            for (uint j = 0; j < NV; ++j) {
                REAL lane[W], sum = 0;
                VSTORE(acc[i][j], lane);
                for (uint q = 0; q < W; ++q) sum += lane[q];
                for (uint q = p; q < k; ++q) sum += MUL(x[i][q], y[j][q]);
                sums[i][j] = sum;
            }
        for (uint i = 0; i < min((uint)MR, m - i0); ++i)
            for (uint j = 0; j < min((ulong)NV, n - j0); ++j) GR_STORE_S(sums[i][j], c_at + (ulong)(i0 + i) * n + j0 + j);
    }
}

#elif defined(GEMM_LOCAL)

// Work-group (x, 0, 0): columns from tile_x * TN, rows from tile_y * TM and a matrix of the batch, tile_x
// running fastest; in one dimension, because some drivers take few groups in the others.  Both tiles lie in
// local memory with k as the slow index; a work-item owns rows ly + i * (TM / RM) and columns
// lx + j * (TN / RN), so that neighbours read neighbouring words.  Tiles are filled up with zeros on every
// side.
#define GROUP_X (TN / RN)
#define GROUP_Y (TM / RM)
__kernel __attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, 1))) void GR_NAME(OPERANDS GR_EPI_PARAMS)
{
    __local REAL at[TK][TM + 1], bt[TK][TN + 1]; // + 1: a transposing store spreads over the banks
    const uint tiles_x = (n + TN - 1) / TN, tiles_y = (m + TM - 1) / TM;
    const ulong group = get_group_id(0);
    SEEK_BATCH(group / tiles_x / tiles_y)
    const uint lx = get_local_id(0), ly = get_local_id(1), local_id = ly * GROUP_X + lx;
    const uint i0 = (uint)(group / tiles_x % tiles_y) * TM, j0 = (uint)(group % tiles_x) * TN;
    REAL acc[RM][RN];
#pragma unroll
    for (uint i = 0; i < RM; ++i)
#pragma unroll
        for (uint j = 0; j < RN; ++j) acc[i][j] = 0;
    for (uint p0 = 0; p0 < k; p0 += TK) {
        for (uint e = local_id; e < TM * TK; e += GROUP_X * GROUP_Y) {
#ifdef TRANS_A
            const uint i = e % TM, p = e / TM;
            const ulong at_index = (ulong)(p0 + p) * lda + i0 + i;
#else
            const uint p = e % TK, i = e / TK;
            const ulong at_index = (ulong)(i0 + i) * lda + p0 + p;
#endif
            at[p][i] = i0 + i < m && p0 + p < k ? (REAL)A_LOAD(a + at_index) : (REAL)0;
        }
        for (uint e = local_id; e < TN * TK; e += GROUP_X * GROUP_Y) {
#ifdef TRANS_B
            const uint p = e % TK, j = e / TK;
            const ulong bt_index = (ulong)(j0 + j) * ldb + p0 + p;
#else
            const uint j = e % TN, p = e / TN;
            const ulong bt_index = (ulong)(p0 + p) * ldb + j0 + j;
#endif
            bt[p][j] = j0 + j < n && p0 + p < k ? (REAL)B_LOAD(b + bt_index) : (REAL)0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 4
        for (uint p = 0; p < TK; ++p) {
            REAL u[RN];
#pragma unroll
            for (uint j = 0; j < RN; ++j) u[j] = bt[p][lx + j * GROUP_X];
#pragma unroll
            for (uint i = 0; i < RM; ++i) {
                const REAL t = at[p][ly + i * GROUP_Y];
#pragma unroll
                for (uint j = 0; j < RN; ++j) acc[i][j] += MUL(t, u[j]);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#pragma unroll
    for (uint i = 0; i < RM; ++i)
#pragma unroll
        for (uint j = 0; j < RN; ++j) {
            const uint row = i0 + ly + i * GROUP_Y, col = j0 + lx + j * GROUP_X;
            if (row < m && col < n) GR_STORE_S(acc[i][j], c_at + (ulong)row * n + col);
        }
}
#undef GROUP_X
#undef GROUP_Y

#else // GEMM_TILE

// Work-item (x, y, z): panel y of NR columns, `strips` strips of MR rows from row x * strips * MR, matrix z;
// neighbours share a panel of B, which stays in the cache.  With PACKED_B, B is in gemm_pack's panels of NR
// columns.  Otherwise n >= NR, B is read in place, and the last panel starts further left, so that it ends
// with the matrix; it stores its own columns [lo, hi) only.
__kernel void GR_NAME(OPERANDS, uint strips GR_EPI_PARAMS)
{
    SEEK_BATCH(get_global_id(2))
    const uint j0 = get_global_id(1) * NR;
#ifdef PACKED_B
    const uint start = j0, lo = 0, hi = min((uint)NR, n - j0);
    const ulong b_step = NR;
    b += (ulong)j0 * k;
#else
    const uint start = min(j0, n - NR), lo = j0 - start, hi = NR;
    const ulong b_step = ldb;
    b += start;
#endif
    const uint i_begin = get_global_id(0) * strips * MR;
    const uint i_end = min(m, i_begin + strips * MR);
    uint p0 = 0;
    do {
        const uint kb = min((uint)(KB), k - p0);
#if K_BLOCKS
        const int first = p0 == 0, last = p0 + kb == k;
#endif
        for (uint i0 = i_begin; i0 < i_end; i0 += MR) {
            // One register tile: MR rows of A against NR columns of B over kb steps.  Beyond the edge the
            // last row is read again and its result dropped.
            const uint rows = min((uint)MR, i_end - i0);
            __global const B_TYPE *col = b + p0 * b_step;
            VEC acc[MR][NV];
#pragma unroll
            for (uint i = 0; i < MR; ++i)
#pragma unroll
                for (uint v = 0; v < NV; ++v) acc[i][v] = (VEC)(0);
#ifdef TRANS_A
            __global const A_TYPE *row = a + p0 * lda + i0;
            uint at[MR];
#pragma unroll
            for (uint i = 0; i < MR; ++i) at[i] = min(i, rows - 1);
#else
            __global const A_TYPE *row[MR];
#pragma unroll
            for (uint i = 0; i < MR; ++i) row[i] = a + (i0 + min(i, rows - 1)) * lda + p0;
#endif
            for (uint p = 0; p < kb; ++p) {
                VEC u[NV];
#pragma unroll
                for (uint v = 0; v < NV; ++v) u[v] = VLOAD(col + v * W);
                col += b_step;
#pragma unroll
                for (uint i = 0; i < MR; ++i) {
#ifdef TRANS_A
                    const VEC t = (VEC)(row[at[i]]);
#else
                    const VEC t = (VEC)(row[i][p]);
#endif
#pragma unroll
                    for (uint v = 0; v < NV; ++v) acc[i][v] += t * u[v];
                }
#ifdef TRANS_A
                row += lda;
#endif
            }
            const ulong to = c_at + (ulong)i0 * n + start;
#if !defined(GR_EPILOGUE) && !defined(BY_LANE)
            if (lo == 0 && hi == NR) {
#pragma unroll
                for (uint i = 0; i < MR; ++i) {
                    if (i < rows) {
#pragma unroll
                        for (uint v = 0; v < NV; ++v) {
#if K_BLOCKS
                            if (!first) acc[i][v] += VLOAD(c + to + i * n + v * W);
#endif
                            GR_STORE_V(acc[i][v], to + i * (ulong)n + v * W);
                        }
                    }
                }
                continue;
            }
#endif
            // By way of memory, so that the text of an epilogue stands here twice and not MR * NV times.
            REAL tile[MR * NR];
#pragma unroll
            for (uint i = 0; i < MR; ++i)
#pragma unroll
                for (uint v = 0; v < NV; ++v) VSTORE(acc[i][v], tile + i * NR + v * W);
            for (uint i = 0; i < rows; ++i) {
                uint j = lo;
                const ulong row_at = to + i * (ulong)n;
#ifndef BY_LANE
                for (; j + W <= hi; j += W) {
                    VEC sum = VLOAD(tile + i * NR + j);
#if K_BLOCKS
                    if (!first) sum += VLOAD(c + row_at + j);
                    if (!last) {
                        VSTORE(sum, c + row_at + j);
                        continue;
                    }
#endif
                    GR_STORE_V(sum, row_at + j);
                }
#endif
                for (; j < hi; ++j) {
                    REAL sum = tile[i * NR + j];
#if K_BLOCKS
                    if (!first) sum += c[row_at + j];
                    if (!last) {
                        c[row_at + j] = sum;
                        continue;
                    }
#endif
                    GR_STORE_S(sum, row_at + j);
                }
            }
        }
        p0 += kb;
    } while (p0 < k);
}

#endif

#undef GR_NAME
#undef REAL
#undef W
#undef MR
#undef NV
#undef KB
#undef TM
#undef TN
#undef TK
#undef RM
#undef RN
#undef CAT_
#undef CAT
#undef VEC
#undef VLOAD
#undef VSTORE
#undef NR
#undef A_TYPE
#undef A_LOAD
#undef B_TYPE
#undef B_LOAD
#undef K_BLOCKS
#undef GR_OUT
#ifndef GR_EPILOGUE
#undef OUT_TYPE
#undef GR_STORE_S
#undef GR_STORE_V
#undef GR_EPI_PARAMS
#undef GR_EPI_BEGIN
#endif
#undef MUL
#undef OPERANDS
#undef SEEK_BATCH
