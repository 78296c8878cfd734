/* Copies of dense tensors into a range of columns of another: one launch for each input of concat and stack.
 *
 * x is (outer, width), r is (outer, row); x goes to the columns begin ... begin + width - 1 of r.
 * Each item copies `share` consecutive elements of x.
 *
 * Entries: copy_columns.
 * Defines:
 *   GR_COPY_T  type of the size of an element: uchar, ushort, uint or ulong, since nothing is computed
 */
#ifndef GR_COPY_T
#define GR_COPY_T uint
#endif
#ifndef GR_NAME
#define GR_NAME copy_columns
#define GR_COPY_OWN_NAME
#endif

__kernel void GR_NAME(__global const GR_COPY_T *restrict x, const ulong x_offset,
                      __global GR_COPY_T *restrict r, const ulong r_offset, const ulong outer,
                      const ulong width, const ulong row, const ulong begin, const ulong share) {
    const ulong first = get_global_id(0) * share;
    const ulong last = min(first + share, outer * width);
    x += x_offset;
    r += r_offset + begin;
    for (ulong i = first; i < last;) {
        const ulong o = i / width;
        const ulong end = min(last, (o + 1) * width);
        __global GR_COPY_T *restrict to = r + o * (row - width);
        for (; i < end; ++i) to[i] = x[i];
    }
}

#ifdef GR_COPY_OWN_NAME
#undef GR_COPY_OWN_NAME
#undef GR_NAME
#endif
