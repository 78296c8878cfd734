/* Rows of a table are replaced by, or combined with, others.
 *
 * r is (rows, columns) and holds the old values; for k = 0 ... count - 1 in this order, row indices[k] of r
 * becomes f(row, updates[k]).  An index outside of 0 <= j < rows is left out.
 *
 * Each item owns the rows of one residue class and a share of the columns, and walks all indices: no two
 * items write to one element, and what several indices say of one row is applied in their order.
 *
 * Entries: scatter_rows.
 * Defines:
 *   GR_ROWS_T      element type in memory
 *   GR_ROWS_C      element type in arithmetic
 *   GR_ROWS_INDEX  type of the indices
 *   GR_ROWS_MODE   f: 0 the update, 1 sum, 2 difference, 3 product, 4 quotient, 5 minimum, 6 maximum
 *   GR_ROWS_HALF   defined: elements are half
 *   GR_ROWS_ONE    defined: updates is one number for all
 *   GR_ROWS_DEPTH  coordinates that make an index, 1 by default; else with
 *   GR_ROWS_DIMS   the dimensions that they count, separated by commas
 */
#ifndef GR_ROWS_T
#define GR_ROWS_T float
#endif
#ifndef GR_ROWS_C
#define GR_ROWS_C float
#endif
#ifndef GR_ROWS_INDEX
#define GR_ROWS_INDEX int
#endif
#ifndef GR_ROWS_MODE
#define GR_ROWS_MODE 0
#endif
#ifndef GR_NAME
#define GR_NAME scatter_rows
#define GR_ROWS_OWN_NAME
#endif

#ifdef GR_ROWS_HALF
#define GR_ROWS_LOAD(p, k) vload_half(k, p)
#define GR_ROWS_STORE(x, p, k) vstore_half(x, k, p)
#else
#define GR_ROWS_LOAD(p, k) (p)[k]
#define GR_ROWS_STORE(x, p, k) (p)[k] = (GR_ROWS_T)(x)
#endif
#if GR_ROWS_MODE == 0
#define GR_ROWS_F(x, u) (u)
#elif GR_ROWS_MODE == 1
#define GR_ROWS_F(x, u) ((x) + (u))
#elif GR_ROWS_MODE == 2
#define GR_ROWS_F(x, u) ((x) - (u))
#elif GR_ROWS_MODE == 3
#define GR_ROWS_F(x, u) ((x) * (u))
#elif GR_ROWS_MODE == 4
#define GR_ROWS_F(x, u) ((x) / (u))
#elif GR_ROWS_MODE == 5
#define GR_ROWS_F(x, u) ((u) != (u) || (u) < (x) ? (u) : (x))
#else
#define GR_ROWS_F(x, u) ((u) != (u) || (u) > (x) ? (u) : (x))
#endif

__kernel void GR_NAME(__global const GR_ROWS_INDEX *restrict indices, const ulong indices_offset,
                      __global const GR_ROWS_T *restrict updates, const ulong updates_offset,
                      __global GR_ROWS_T *restrict r, const ulong r_offset, const long rows, const ulong count,
                      const ulong columns, const ulong share, const ulong blocks) {
    const ulong shares = (columns + share - 1) / share;
    const ulong item = get_global_id(0);
    if (item >= blocks * shares) return;
    const ulong first = item % shares * share;
    const ulong last = min(first + share, columns);
    const ulong block = item / shares;
#ifdef GR_ROWS_DEPTH
    const long dims[GR_ROWS_DEPTH] = {GR_ROWS_DIMS};
#endif

    indices += indices_offset;
    updates += updates_offset;
    r += r_offset;
    for (ulong k = 0; k < count; ++k) {
#ifdef GR_ROWS_DEPTH
        long j = 0;
        int inside = 1;
        for (int d = 0; d < GR_ROWS_DEPTH; ++d) {
            const long at = (long)indices[k * GR_ROWS_DEPTH + (ulong)d];
            inside &= at >= 0 && at < dims[d];
            j = j * dims[d] + at;
        }
        if (!inside) continue;
#else
        const long j = (long)indices[k];
        if (j < 0 || j >= rows) continue;
#endif
        if ((ulong)j % blocks != block) continue;
        const ulong row = (ulong)j * columns;
        for (ulong c = first; c < last; ++c) {
#ifdef GR_ROWS_ONE
            const GR_ROWS_C u = GR_ROWS_LOAD(updates, 0);
#else
            const GR_ROWS_C u = GR_ROWS_LOAD(updates, k * columns + c);
#endif
#if GR_ROWS_MODE != 0
            const GR_ROWS_C x = GR_ROWS_LOAD(r, row + c);
#endif
            GR_ROWS_STORE(GR_ROWS_F(x, u), r, row + c);
        }
    }
}

#undef GR_ROWS_LOAD
#undef GR_ROWS_STORE
#undef GR_ROWS_F
#ifdef GR_ROWS_OWN_NAME
#undef GR_ROWS_OWN_NAME
#undef GR_NAME
#endif
