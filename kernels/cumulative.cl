/* Running sums and products along one axis.
 *
 * x and r are (outer, count, inner); r[o, k, i] is the sum (or product) of x[o, j, i] over j <= k.
 *
 * A line (o, i) is cut into chunks.  Where there are several, a first launch computes the total of each chunk
 * but the last, and the items of the second begin with the totals before their own: the order of the terms
 * depends on the chunks alone.
 *
 * Entries: cumulative (GR_CUM_TOTALS undefined), totals (defined).
 * Defines:
 *   GR_CUM_T          element type in memory
 *   GR_CUM_C          element type in arithmetic
 *   GR_CUM_HALF       defined: elements are half
 *   GR_CUM_PRODUCT    defined: products
 *   GR_CUM_REVERSE    defined: from the end, over j >= k
 *   GR_CUM_EXCLUSIVE  defined: without j == k
 *   GR_CUM_TOTALS     defined: the totals of chunks
 */
#ifndef GR_CUM_T
#define GR_CUM_T float
#endif
#ifndef GR_CUM_C
#define GR_CUM_C float
#endif
#ifndef GR_NAME
#define GR_NAME cumulative
#define GR_CUM_OWN_NAME
#endif

#ifdef GR_CUM_HALF
#define GR_CUM_LOAD(p, k) vload_half(k, p)
#define GR_CUM_STORE(v, p, k) vstore_half(v, k, p)
#else
#define GR_CUM_LOAD(p, k) (p)[k]
#define GR_CUM_STORE(v, p, k) (p)[k] = (GR_CUM_T)(v)
#endif
#ifdef GR_CUM_PRODUCT
#define GR_CUM_FIRST 1
#define GR_CUM_WITH(a, b) ((a) * (b))
#else
#define GR_CUM_FIRST 0
#define GR_CUM_WITH(a, b) ((a) + (b))
#endif
#ifdef GR_CUM_REVERSE
#define GR_CUM_AT(j) ((ulong)(count - 1 - (j)) * inner)
#else
#define GR_CUM_AT(j) ((ulong)(j) * inner)
#endif

#ifdef GR_CUM_TOTALS
__kernel void GR_NAME(__global const GR_CUM_T *restrict x, const ulong x_offset,
                      __global GR_CUM_C *restrict totals, const ulong totals_offset, const ulong lines,
                      const long count, const ulong inner, const long share, const ulong chunks) {
    const ulong item = get_global_id(0);
    if (item >= lines * (chunks - 1)) return;
    const ulong line = item % lines, chunk = item / lines;
    x += x_offset + line / inner * (ulong)count * inner + line % inner;
    const long first = (long)chunk * share;
    GR_CUM_C sum = GR_CUM_FIRST;
    for (long j = first; j < first + share; ++j) sum = GR_CUM_WITH(sum, GR_CUM_LOAD(x, GR_CUM_AT(j)));
    totals[totals_offset + chunk * lines + line] = sum;
}
#else
__kernel void GR_NAME(__global const GR_CUM_T *restrict x, const ulong x_offset, __global GR_CUM_T *restrict r,
                      const ulong r_offset, __global const GR_CUM_C *restrict totals,
                      const ulong totals_offset, const ulong lines, const long count, const ulong inner,
                      const long share, const ulong chunks) {
    const ulong item = get_global_id(0);
    if (item >= lines * chunks) return;
    const ulong line = item % lines, chunk = item / lines;
    const ulong begin = line / inner * (ulong)count * inner + line % inner;
    x += x_offset + begin;
    r += r_offset + begin;
    const long first = (long)chunk * share, last = min(first + share, count);
    GR_CUM_C sum = GR_CUM_FIRST;
    for (ulong c = 0; c < chunk; ++c) sum = GR_CUM_WITH(sum, totals[totals_offset + c * lines + line]);
    for (long j = first; j < last; ++j) {
        const ulong at = GR_CUM_AT(j);
        const GR_CUM_C own = GR_CUM_LOAD(x, at);
#ifdef GR_CUM_EXCLUSIVE
        GR_CUM_STORE(sum, r, at);
        sum = GR_CUM_WITH(sum, own);
#else
        sum = GR_CUM_WITH(sum, own);
        GR_CUM_STORE(sum, r, at);
#endif
    }
}
#endif

#undef GR_CUM_LOAD
#undef GR_CUM_STORE
#undef GR_CUM_FIRST
#undef GR_CUM_WITH
#undef GR_CUM_AT
#ifdef GR_CUM_OWN_NAME
#undef GR_CUM_OWN_NAME
#undef GR_NAME
#endif
