// Matrix multiplication: C[i, j] = sum over p of A[i, p] * B[p, j], for a batch of matrices.
//
// Entries, one per inclusion of this text; the define in brackets selects it:
//   gemm_tile [GEMM_TILE, default]  a register tile of MR rows by NV vectors per step.
//   gemm_dot  [GEMM_DOT]            a B that is stored (n, k) and is not worth turning: dot products.
//   gemm_pack [GEMM_PACK]           rearranges an operand for gemm_tile, converting half to float.
//   gemm_sum  [GEMM_SUM]            adds the parts of a sum over k that was split.
// They suit CPUs; those for GPUs are in gemm_gpu.cl.
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
// Results are stored through GR_STORE_V(v, at) and GR_STORE_S(v, at) alone, v a vector of W lanes of REAL or
// one REAL and `at` the element of C; whoever defines GR_EPILOGUE before this text defines them, OUT_TYPE,
// GR_EPI_PARAMS and GR_EPI_BEGIN, to store something else than the product (see kernels/README.md).  Sums lie
// in C between blocks of k, so an OUT_TYPE other than REAL needs a KB of at least k.
//
// A long sum may be split: matrix z of a launch is part z % splits, of k_part terms, of matrix z / splits, and
// C has the parts of all matrices one behind the other, part by part.
//
// Tunables: REAL (type computed in), W (lanes of a vector), MR, NV (tile), KB (length of a block of k),
//   PACKED_B (B is in gemm_pack's panels), PACK_HERE (each work-item copies its panel of B, a block of k at a
//   time; its value is the longest block), KEEP_B (the first strip of a work-item keeps what it reads of its
//   panel for the others; its value is the largest k), PANELS_A (A is in gemm_pack's panels of MR columns of
//   its transpose), NARROW_PANELS and TOGETHER (see gemm_pack), TRANS_A, TRANS_B, A_HALF, B_HALF, C_HALF (half
//   in memory, REAL is float), NARROW (REAL is narrower than uint), BY_LANE (rows of C are shorter than the n
//   given here).  Local size: (1, 1, 1).

#ifndef GR_NAME
#if defined(GEMM_PACK)
#define GR_NAME gemm_pack
#elif defined(GEMM_DOT)
#define GR_NAME gemm_dot
#elif defined(GEMM_SUM)
#define GR_NAME gemm_sum
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
#ifndef AHEAD
#define AHEAD 12 // so many rows of B are asked for before they are needed, where B is read in place
#endif
#ifndef KB
#define KB 256 // KB * NV * W floats of B stay in the second-level cache while the strips pass
#endif

#define CAT_(x, y) x##y
#define CAT(x, y) CAT_(x, y)
#define VEC CAT(REAL, W)
#define VLOAD(p) CAT(gr_vload, W)(p)
#define VSTORE(v, p) CAT(gr_vstore, W)(v, p)
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
        CAT(gr_vstore, W)(bits, (__global ushort *)(GR_OUT + (at)));                                     \
    }
#else
#define OUT_TYPE REAL
#define GR_STORE_S(v, at) GR_OUT[at] = (v)
#define GR_STORE_V(v, at) VSTORE(v, GR_OUT + (at))
#endif
#endif
#define K_BLOCKS (KB < 0x40000000) // whether there may be more than one block of k

#define OPERANDS                                                                                         \
    __global const A_TYPE *a, ulong a_offset, __global const B_TYPE *b, ulong b_offset,                  \
        __global OUT_TYPE *c, ulong c_offset, uint m, uint n, uint k, ulong lda, ulong ldb, uint d1,     \
        uint d2, ulong as0, ulong as1, ulong as2, ulong bs0, ulong bs1, ulong bs2, ulong a_start,        \
        ulong b_start, ulong c_start, uint splits, uint k_part

#if defined(PANELS_A)
#define A_STEP MR
#elif defined(TRANS_A)
#define A_STEP lda
#else
#define A_STEP 1
#endif
#if defined(PACKED_B)
#define B_STEP NR
#elif defined(TRANS_B)
#define B_STEP 1
#else
#define B_STEP ldb
#endif

// Moves a and b to the part of the matrices that get_global_id(2) stands for, c to the start of the output and
// c_at to the matrix in it; k_all becomes the length of a whole sum and k that of the part.
#define SEEK                                                                                             \
    const uint k_all = k;                                                                                \
    ulong c_at;                                                                                          \
    {                                                                                                    \
        const ulong z = get_global_id(2), g = z / splits, part = z % splits;                             \
        const ulong b0 = g / ((ulong)d1 * d2), b1 = g / d2 % d1, b2 = g % d2;                            \
        a += a_offset + a_start + b0 * as0 + b1 * as1 + b2 * as2 + part * k_part * A_STEP;               \
        b += b_offset + b_start + b0 * bs0 + b1 * bs1 + b2 * bs2 + part * k_part * B_STEP;               \
        c_at = c_start + (part * (get_global_size(2) / splits) + g) * m * n;                             \
        k = min(k_part, k - (uint)part * k_part);                                                        \
    }                                                                                                    \
    c += c_offset;                                                                                       \
    GR_EPI_BEGIN

// Copies rows [r_begin, r_end) and columns [c_begin, c_end) of src into dst, `width` elements a row.  src
// has them by row or, with TRANS_B, by column.  What of `width` lies behind c_end gets any finite copies or
// zeros.
#define FILL(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                        \
    if (c_end - c_begin < width)                                                                         \
        for (uint r = r_begin; r < r_end; ++r)                                                           \
            GR_REST for (uint j = c_end - c_begin; j < width; ++j)                                       \
                (dst)[(ulong)(r - r_begin) * width + j] = 0;
#ifdef TRANS_B
// log2(TW) perfect shuffles transpose a block of TW x TW in registers.
#if W > 8
#define TW 8 // twice as many instructions for a block of 16 x 16 take four times as long to compile
#else
#define TW W
#endif
#define TVEC CAT(REAL, TW)
#define TURN(src, ld, dst, width, r_begin, c_begin, c_end, r, c)                                         \
    {                                                                                                    \
        TVEC x[TW], y[TW];                                                                               \
        _Pragma("unroll") for (uint i = 0; i < TW; ++i) x[i] =                                           \
            CAT(gr_vload, TW)(src + (ulong)min((c) + i, c_end - 1) * ld + (r));                          \
        _Pragma("unroll") for (uint stage = 1; stage < TW; stage *= 2)                                   \
        {                                                                                                \
            _Pragma("unroll") for (uint i = 0; i < TW / 2; ++i)                                          \
            {                                                                                            \
                y[2 * i].even = x[i].lo;                                                                 \
                y[2 * i].odd = x[i + TW / 2].lo;                                                         \
                y[2 * i + 1].even = x[i].hi;                                                             \
                y[2 * i + 1].odd = x[i + TW / 2].hi;                                                     \
            }                                                                                            \
            _Pragma("unroll") for (uint i = 0; i < TW; ++i) x[i] = y[i];                                 \
        }                                                                                                \
        _Pragma("unroll") for (uint i = 0; i < TW; ++i)                                                  \
            CAT(gr_vstore, TW)(x[i], (dst) + (ulong)((r) + i - r_begin) * width + ((c)-c_begin));        \
    }
#ifdef B_HALF
#define TURN_ALL(src, ld, dst, width, r_begin, r_end, c_begin, c_end)
#define TURNED(c, c_begin, width, r_begin, r_end) 0
#else
// Whole blocks; the last one overlaps the one before.
#define TURN_ALL(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                    \
    if (c - c_begin + TW <= width && r_end - r_begin >= TW)                                              \
        for (uint r = r_begin; r < r_end; r += TW) {                                                     \
            const uint from = min(r, r_end - TW);                                                        \
            TURN(src, ld, dst, width, r_begin, c_begin, c_end, from, c)                                  \
        }
#define TURNED(c, c_begin, width, r_begin, r_end) ((c) - c_begin + TW <= width && r_end - r_begin >= TW)
#endif
#define PACK(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                        \
    FILL(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                            \
    for (uint c = c_begin; c < c_end; c += TW) {                                                         \
        TURN_ALL(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                    \
        if (!TURNED(c, c_begin, width, r_begin, r_end))                                                  \
            for (uint r = r_begin; r < r_end; ++r)                                                       \
                GR_REST for (uint j = c; j < min(c + TW, c_end); ++j)                                    \
                    (dst)[(ulong)(r - r_begin) * width + (j - c_begin)] = B_LOAD(src + (ulong)j * ld + r); \
    }
#else
#define PACK(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                        \
    FILL(src, ld, dst, width, r_begin, r_end, c_begin, c_end)                                            \
    for (uint r = r_begin; r < r_end; ++r)                                                               \
        for (uint j = c_begin; j < c_end; ++j)                                                           \
            (dst)[(ulong)(r - r_begin) * width + (j - c_begin)] = B_LOAD(src + (ulong)r * ld + j);
#endif

#if defined(GEMM_PACK)

// Copies a (rows, cols) operand into panels of `width` columns: element (r, c) goes to
// (c / width) * rows * width + r * width + c % width.  With TRANS_B the source is (cols, rows).  With
// width = cols the result is plain row-major.  Work-item (x, y, z): rows [x * chunk, x * chunk + chunk),
// panel y, matrix z = (z0 * d1 + z1) * d2 + z2.  With NARROW_PANELS, which is the width, it takes TOGETHER
// panels from y * TOGETHER on, and the source is not turned.
__kernel void GR_NAME(
    __global const B_TYPE *src, ulong src_offset, __global REAL *dst, ulong dst_offset, uint rows,
    uint cols, uint width, ulong ld, uint chunk, ulong src_start, uint d1, uint d2, ulong s0, ulong s1,
    ulong s2, ulong dst_batch)
{
    const ulong z = get_global_id(2);
    const uint r0 = get_global_id(0) * chunk, r1 = min(r0 + chunk, rows);
    src += src_offset + src_start + z / ((ulong)d1 * d2) * s0 + z / d2 % d1 * s1 + z % d2 * s2;
    dst += dst_offset + z * dst_batch + (ulong)r0 * width;
#ifdef NARROW_PANELS
    // Several panels row by row, so that rows are read in whole lines.
    const uint begin = get_global_id(1) * TOGETHER * NARROW_PANELS;
    const uint end = min(begin + TOGETHER * NARROW_PANELS, cols);
    for (uint r = r0; r < r1; ++r) {
        __global REAL *to = dst + (ulong)begin * rows + (ulong)(r - r0) * NARROW_PANELS;
        __global const B_TYPE *from = src + (ulong)r * ld;
        for (uint c = begin; c < end; c += 16) gr_fetch(from + 8 * ld + c);
        uint c = begin;
        for (; c + NARROW_PANELS <= end; c += NARROW_PANELS, to += (ulong)rows * NARROW_PANELS)
#pragma unroll
            for (uint j = 0; j < NARROW_PANELS; ++j) to[j] = B_LOAD(from + c + j);
        GR_REST
        for (uint j = 0; c < end && j < NARROW_PANELS; ++j) to[j] = c + j < end ? B_LOAD(from + c + j) : 0;
    }
#else
    const uint c0 = get_global_id(1) * width, c1 = min(c0 + width, cols);
    dst += (ulong)c0 * rows;
    PACK(src, ld, dst, width, r0, r1, c0, c1)
#endif
}

#elif defined(GEMM_SUM)

// C is the sum of `splits` parts that lie one behind the other, each of `rows` rows of n; in order, so that the
// same bits come out each time.  Work-item x: vectors [x * share, x * share + share) of (n + W - 1) / W a row.
__kernel void GR_NAME(
    __global const REAL *parts, ulong parts_offset, __global OUT_TYPE *c, ulong c_offset, ulong rows, uint n,
    uint splits, ulong share GR_EPI_PARAMS)
{
    parts += parts_offset;
    c += c_offset;
    GR_EPI_BEGIN
    const uint across = (n + W - 1) / W;
    const ulong begin = get_global_id(0) * share, end = min(begin + share, rows * across);
    for (ulong t = begin; t < end; ++t) {
        const uint j = t % across * W;
        const ulong at = t / across * n + j;
        const ulong part = rows * n;
#ifndef BY_LANE
        if (j + W <= n) {
            VEC sum = VLOAD(parts + at);
            for (uint s = 1; s < splits; ++s) sum += VLOAD(parts + s * part + at);
            GR_STORE_V(sum, at);
            continue;
        }
#endif
        GR_REST
        for (uint q = 0; q < min((uint)W, n - j); ++q) {
            REAL sum = parts[at + q];
            GR_REST
            for (uint s = 1; s < splits; ++s) sum += parts[s * part + at + q];
            GR_STORE_S(sum, at + q);
        }
    }
}

#elif defined(GEMM_DOT)

// B is (n, k).  Work-item (x, y, z): `groups` groups of NV = 4 columns, `strips` strips of MR rows, part z.
// The tile is MR by 4 dot products, each summed in W lanes, which are added at the end, halves first.
#if W >= 16
#define FOUR_LANES(x) (((x).lo + (x).hi).lo + ((x).lo + (x).hi).hi)
#elif W >= 8
#define FOUR_LANES(x) ((x).lo + (x).hi)
#else
#define FOUR_LANES(x) (x)
#endif
#define VEC4 CAT(REAL, 4)
__kernel void GR_NAME(OPERANDS, uint groups, uint strips GR_EPI_PARAMS)
{
    SEEK
    const uint i_begin = get_global_id(1) * strips * MR, i_end = min(m, i_begin + strips * MR);
    const uint j_begin = get_global_id(0) * groups * 4, j_end = min(n, j_begin + groups * 4);
    for (uint j0 = j_begin; j0 < j_end; j0 += 4) {
        // Beyond the edge the last row is read again and its result dropped.
        __global const REAL *y[4];
#pragma unroll
        for (uint j = 0; j < 4; ++j) y[j] = b + min(j0 + j, n - 1) * ldb;
        for (uint i0 = i_begin; i0 < i_end; i0 += MR) {
            __global const REAL *x[MR];
            VEC acc[MR][4], u[4];
#pragma unroll
            for (uint i = 0; i < MR; ++i) {
                x[i] = a + min(i0 + i, m - 1) * lda;
#pragma unroll
                for (uint j = 0; j < 4; ++j) acc[i][j] = (VEC)(0);
            }
            uint p = 0;
            for (; p + W <= k; p += W) {
#pragma unroll
                for (uint j = 0; j < 4; ++j) u[j] = VLOAD(y[j] + p);
#pragma unroll
                for (uint i = 0; i < MR; ++i) {
                    const VEC t = VLOAD(x[i] + p);
#pragma unroll
                    for (uint j = 0; j < 4; ++j) acc[i][j] += t * u[j];
                }
            }
            if (p < k) { // the last terms, filled up with zeros
                REAL rest[MR + 4][W];
#pragma unroll
                for (uint q = 0; q < MR + 4; ++q) {
                    VSTORE((VEC)(0), rest[q]);
                    __global const REAL *from = (q < MR ? x[q < MR ? q : 0] : y[q < MR ? 0 : q - MR]) + p;
                    GR_REST
                    for (uint e = 0; e < k - p; ++e) rest[q][e] = from[e];
                }
#pragma unroll
                for (uint j = 0; j < 4; ++j) u[j] = VLOAD(rest[MR + j]);
#pragma unroll
                for (uint i = 0; i < MR; ++i) {
                    const VEC t = VLOAD(rest[i]);
#pragma unroll
                    for (uint j = 0; j < 4; ++j) acc[i][j] += t * u[j];
                }
            }
            REAL sums[MR * 4];
#pragma unroll
            for (uint i = 0; i < MR; ++i) {
#if W >= 4
                VEC4 q[4], s[2];
#pragma unroll
                for (uint j = 0; j < 4; ++j) q[j] = FOUR_LANES(acc[i][j]);
#pragma unroll
                for (uint j = 0; j < 2; ++j)
                    s[j] = (VEC4)(q[2 * j].lo + q[2 * j].hi, q[2 * j + 1].lo + q[2 * j + 1].hi);
                vstore4((VEC4)(s[0].even + s[0].odd, s[1].even + s[1].odd), i, sums);
#else
#pragma unroll
                for (uint j = 0; j < 4; ++j) sums[i * 4 + j] = acc[i][j].lo + acc[i][j].hi;
#endif
            }
            for (uint i = 0; i < min((uint)MR, i_end - i0); ++i)
                GR_REST
                for (uint j = 0; j < min(4u, n - j0); ++j)
                    GR_STORE_S(sums[i * 4 + j], c_at + (ulong)(i0 + i) * n + j0 + j);
        }
    }
}
#undef FOUR_LANES
#undef VEC4

#else // GEMM_TILE

// u[] against MR rows of A.
#if defined(PANELS_A)
#define A_ELEMENT(i) row[i]
#define A_NEXT row += MR
#elif defined(TRANS_A)
#define A_ELEMENT(i) row[at[i]]
#define A_NEXT row += lda
#else
#define A_ELEMENT(i) row[i][p]
#define A_NEXT
#endif
#define TILE_STEP                                                                                        \
    _Pragma("unroll") for (uint i = 0; i < MR; ++i)                                                      \
    {                                                                                                    \
        const VEC t = (VEC)(A_ELEMENT(i));                                                               \
        _Pragma("unroll") for (uint v = 0; v < NV; ++v) acc[i][v] += t * u[v];                           \
    }                                                                                                    \
    A_NEXT;

#if !defined(PACKED_B) && !defined(PACK_HERE)
#define IN_PLACE
#endif
#ifdef KEEP_B
#define KEEP _Pragma("unroll") for (uint v = 0; v < NV; ++v) kept[p * NV + v] = u[v];
#else
#define KEEP
#endif

// Work-item (x, y, z): panel y of NR columns, `strips` strips of MR rows from row x * strips * MR, part z;
// neighbours share a panel of B, which stays in the cache.  B is read from gemm_pack's panels of NR columns
// (PACKED_B), from a copy of the panel that is made here (PACK_HERE), or in place.  Then its rows lie so far
// apart that the processor does not foresee them, and often so that they meet in few lines of the nearest
// cache: they are asked for early, and only the first strip need read them (KEEP_B).
__kernel void GR_NAME(OPERANDS, uint strips GR_EPI_PARAMS)
{
    SEEK
    const uint j0 = get_global_id(1) * NR, cols = min((uint)NR, n - j0);
    uint whole = k; // rows of B of which NR elements can be read
#if defined(PACKED_B)
    b += (ulong)j0 * k_all;
#elif defined(PACK_HERE)
    REAL panel[PACK_HERE * NR];
#else
#ifdef KEEP_B
    VEC kept[KEEP_B * NV]; // of one block of k
#endif
    b += j0;
    // An incomplete panel is read on into the next row, but not beyond the last one.
    if (cols < NR) whole -= min(k, (uint)((NR - cols + ldb - 1) / ldb));
#endif
    const uint i_begin = get_global_id(0) * strips * MR;
    const uint i_end = min(m, i_begin + strips * MR);
    uint p0 = 0;
    do {
        const uint kb = min((uint)(KB), k - p0), kb_whole = min(kb, max(whole, p0) - p0);
#if K_BLOCKS
        const int first = p0 == 0, last = p0 + kb == k;
#endif
#ifdef PACK_HERE
        {
            const uint p1 = p0 + kb, j1 = j0 + cols;
            PACK(b, ldb, panel, NR, p0, p1, j0, j1)
        }
#endif
        for (uint i0 = i_begin; i0 < i_end; i0 += MR) {
            // One register tile: MR rows of A against NR columns of B over kb steps.  Beyond the edge the
            // last row is read again and its result dropped.
            const uint rows = min((uint)MR, i_end - i0);
#ifdef PACK_HERE
            const REAL *col = panel;
            const ulong b_next = NR;
#else
            __global const B_TYPE *col = b + p0 * B_STEP;
            const ulong b_next = B_STEP;
#endif
            VEC acc[MR][NV], u[NV];
#pragma unroll
            for (uint i = 0; i < MR; ++i)
#pragma unroll
                for (uint v = 0; v < NV; ++v) acc[i][v] = (VEC)(0);
#if defined(PANELS_A)
            __global const A_TYPE *row = a + (ulong)i0 * k_all + (ulong)p0 * MR;
#elif defined(TRANS_A)
            __global const A_TYPE *row = a + p0 * lda + i0;
            uint at[MR];
#pragma unroll
            for (uint i = 0; i < MR; ++i) at[i] = min(i, rows - 1);
#else
            __global const A_TYPE *row[MR];
#pragma unroll
            for (uint i = 0; i < MR; ++i) row[i] = a + (i0 + min(i, rows - 1)) * lda + p0;
#endif
            uint p = 0;
#ifdef GR_EPI_FETCH
            // A row's operands of the epilogue at a time, between parts of the sum: all at once would fill the
            // queue of lines that are on their way, and rows of B wait behind them.
            for (uint i = 0; i < MR; ++i) {
#pragma unroll
                for (uint v = 0; v < NV; ++v) { GR_EPI_FETCH(c_at + (ulong)(i0 + i) * n + j0 + v * W) }
                const uint part = i + 1 < MR ? kb_whole / MR * (i + 1) : kb;
#else
            {
                const uint part = kb;
#endif
#ifdef KEEP_B
                if (i0 > i_begin) {
                    for (; p < part; ++p) {
#pragma unroll
                        for (uint v = 0; v < NV; ++v) u[v] = kept[p * NV + v];
                        TILE_STEP
                    }
                }
#endif
                for (; p < min(part, kb_whole); ++p) {
#ifdef IN_PLACE
#pragma unroll
                    for (uint v = 0; v < NV; ++v) gr_fetch(col + AHEAD * b_next + v * W);
#endif
#pragma unroll
                    for (uint v = 0; v < NV; ++v) u[v] = VLOAD(col + v * W);
                    KEEP
                    col += b_next;
                    TILE_STEP
                }
            }
#ifdef IN_PLACE
            for (; p < kb; ++p) {
                REAL lane[NR];
                GR_REST
                for (uint j = 0; j < NR; ++j) lane[j] = j < cols ? col[j] : (REAL)0;
#pragma unroll
                for (uint v = 0; v < NV; ++v) u[v] = VLOAD(lane + v * W);
                KEEP
                col += b_next;
                TILE_STEP
            }
#endif
            const ulong to = c_at + (ulong)i0 * n + j0;
#if !defined(GR_EPILOGUE) && !defined(BY_LANE)
            if (cols == NR) {
#pragma unroll
                for (uint i = 0; i < MR; ++i) {
                    if (i < rows) {
#pragma unroll
                        for (uint v = 0; v < NV; ++v) {
#if K_BLOCKS
                            if (!first) acc[i][v] += VLOAD(c + to + i * (ulong)n + v * W);
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
                uint j = 0;
                const ulong row_at = to + i * (ulong)n;
#ifndef BY_LANE
                for (; j + W <= cols; j += W) {
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
                GR_REST
                for (; j < cols; ++j) {
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
#undef A_ELEMENT
#undef A_NEXT
#undef TILE_STEP
#undef KEEP
#undef IN_PLACE

#endif

#ifdef TRANS_B
#undef TURN
#undef TVEC
#undef TW
#undef TURN_ALL
#undef TURNED
#endif
#undef FILL
#undef PACK
#undef A_STEP
#undef B_STEP
#undef SEEK
#undef GR_NAME
#undef REAL
#undef W
#undef MR
#undef NV
#undef KB
#undef AHEAD
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
#undef OPERANDS
