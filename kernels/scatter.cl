/* Sums of rows by number: the gradient of gather.
 *
 * r[o, indices[o / between, k], c] is the sum over k of dy[o, k, c]; rows that no index names are zero.  dy is
 * (outer, count, columns), r is (outer, rows, columns), indices is (outer / between, count).  An index outside
 * of 0 <= j < rows is left out.
 *
 * Each item owns a block of rows and a share of the columns, and walks all indices: no two items write to one
 * element, so there are no atomics, and the terms of a sum are added in the order of k on every device.
 *
 * Entries: scatter_add_rows.
 * Defines:
 *   GR_SCATTER_T      element type in memory
 *   GR_SCATTER_INDEX  type of the indices
 *   GR_SCATTER_WRAP   defined: negative indices count from the end
 *   GR_SCATTER_HALF   defined: elements are half, sums are kept as float in the scratch buffer until the end
 */
#ifndef GR_SCATTER_T
#define GR_SCATTER_T float
#endif
#ifndef GR_SCATTER_INDEX
#define GR_SCATTER_INDEX int
#endif
#ifndef GR_NAME
#define GR_NAME scatter_add_rows
#define GR_SCATTER_OWN_NAME
#endif

#ifdef GR_SCATTER_HALF
#define GR_SCATTER_SUM float
#define GR_SCATTER_SCRATCH , __global float *restrict sums, const ulong sums_offset
#define GR_SCATTER_LOAD(p, k) vload_half(k, p)
#else
#define GR_SCATTER_SUM GR_SCATTER_T
#define GR_SCATTER_SCRATCH
#define GR_SCATTER_LOAD(p, k) (p)[k]
#endif

__kernel void GR_NAME(__global const GR_SCATTER_T *restrict dy, const ulong dy_offset,
                      __global const GR_SCATTER_INDEX *restrict indices, const ulong indices_offset,
                      __global GR_SCATTER_T *restrict r, const ulong r_offset GR_SCATTER_SCRATCH,
                      const ulong outer, const ulong between, const long rows, const ulong count,
                      const ulong columns, const ulong share, const ulong blocks) {
    const ulong shares = (columns + share - 1) / share;
    const ulong item = get_global_id(0);
    if (item >= outer * blocks * shares) return;
    const ulong first = item % shares * share;
    const ulong last = min(first + share, columns);
    const ulong o = item / shares / blocks;
    const long block = (rows + (long)blocks - 1) / (long)blocks;
    const long low = (long)(item / shares % blocks) * block;
    const long high = min(low + block, rows);

    dy += dy_offset + o * count * columns;
    indices += indices_offset + o / between * count;
    r += r_offset + o * (ulong)rows * columns;
#ifdef GR_SCATTER_HALF
    __global float *restrict to = sums + sums_offset + o * (ulong)rows * columns;
#else
    __global GR_SCATTER_T *restrict to = r;
#endif

    for (long j = low; j < high; ++j)
        for (ulong c = first; c < last; ++c) to[(ulong)j * columns + c] = 0;
    for (ulong k = 0; k < count; ++k) {
        long j = (long)indices[k];
#ifdef GR_SCATTER_WRAP
        if (j < 0) j += rows;
#endif
        if (j < low || j >= high) continue;
        __global GR_SCATTER_SUM *restrict row = to + (ulong)j * columns;
        for (ulong c = first; c < last; ++c) row[c] += GR_SCATTER_LOAD(dy, k * columns + c);
    }
#ifdef GR_SCATTER_HALF
    for (long j = low; j < high; ++j)
        for (ulong c = first; c < last; ++c) vstore_half(to[(ulong)j * columns + c], (ulong)j * columns + c, r);
#endif
}

#undef GR_SCATTER_SUM
#undef GR_SCATTER_SCRATCH
#undef GR_SCATTER_LOAD
#ifdef GR_SCATTER_OWN_NAME
#undef GR_SCATTER_OWN_NAME
#undef GR_NAME
#endif
