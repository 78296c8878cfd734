/* The order of the entries of rows, by merging.
 *
 * x is (rows, n).  The first launch sorts blocks of GR_SORT_BLOCK entries by insertion; each further one merges
 * pairs of runs of `run` entries, every item finding the place of one entry by bisection; the last one writes
 * the first `kept` places of each row, and the entries themselves.  Equal entries keep their order; NaN counts
 * as larger than everything.
 *
 * Entries: sort_blocks (GR_SORT_BLOCKS defined), sort_merge, sort_pick (GR_SORT_PICK defined).
 * Defines:
 *   GR_SORT_T           element type in memory
 *   GR_SORT_C           element type in arithmetic
 *   GR_SORT_HALF        defined: elements are half
 *   GR_SORT_FLOATS      defined: there may be NaN
 *   GR_SORT_DESCENDING  defined: the largest first
 *   GR_SORT_BLOCK       entries that one item sorts at first, 16
 *   GR_SORT_BLOCKS, GR_SORT_PICK  which entry it is; neither: sort_merge
 *   GR_SORT_VALUES      defined: sort_pick writes the entries too
 */
#ifndef GR_SORT_T
#define GR_SORT_T float
#endif
#ifndef GR_SORT_C
#define GR_SORT_C float
#endif
#ifndef GR_SORT_BLOCK
#define GR_SORT_BLOCK 16
#endif
#ifndef GR_NAME
#define GR_NAME sort_merge
#define GR_SORT_OWN_NAME
#endif

#ifdef GR_SORT_HALF
#define GR_SORT_LOAD(k) vload_half(k, x)
#else
#define GR_SORT_LOAD(k) x[k]
#endif
#ifdef GR_SORT_FLOATS
#define GR_SORT_LESS(a, b) ((a) < (b) || ((b) != (b) && (a) == (a)))
#else
#define GR_SORT_LESS(a, b) ((a) < (b))
#endif
/* Whether a comes before b. */
#ifdef GR_SORT_DESCENDING
#define GR_SORT_BEFORE(a, b) GR_SORT_LESS(b, a)
#else
#define GR_SORT_BEFORE(a, b) GR_SORT_LESS(a, b)
#endif

#if defined(GR_SORT_BLOCKS)
__kernel void GR_NAME(__global const GR_SORT_T *restrict x, const ulong x_offset, __global int *restrict to,
                      const ulong to_offset, const ulong rows, const int n, const int blocks) {
    const ulong item = get_global_id(0);
    if (item >= rows * (ulong)blocks) return;
    const ulong row = item / (ulong)blocks;
    const int first = (int)(item % (ulong)blocks) * GR_SORT_BLOCK;
    const int count = min(GR_SORT_BLOCK, n - first);
    x += x_offset + row * (ulong)n;
    to += to_offset + row * (ulong)n + (ulong)first;
    for (int i = 0; i < count; ++i) {
        const GR_SORT_C own = GR_SORT_LOAD(first + i);
        int j = i;
        for (; j > 0; --j) {
            const int other = to[j - 1];
            const GR_SORT_C before = GR_SORT_LOAD(other);
            if (!GR_SORT_BEFORE(own, before)) break;
            to[j] = other;
        }
        to[j] = first + i;
    }
}
#elif defined(GR_SORT_PICK)
__kernel void GR_NAME(__global const GR_SORT_T *restrict x, const ulong x_offset,
                      __global const int *restrict from, const ulong from_offset,
#ifdef GR_SORT_VALUES
                      __global GR_SORT_T *restrict values, const ulong values_offset,
#endif
                      __global int *restrict places, const ulong places_offset, const ulong rows, const int n,
                      const int kept) {
    const ulong item = get_global_id(0);
    if (item >= rows * (ulong)kept) return;
    const ulong row = item / (ulong)kept;
    const int place = from[from_offset + row * (ulong)n + item % (ulong)kept];
    places[places_offset + item] = place;
#ifdef GR_SORT_VALUES
    values[values_offset + item] = x[x_offset + row * (ulong)n + (ulong)place];
#endif
}
#else
__kernel void GR_NAME(__global const GR_SORT_T *restrict x, const ulong x_offset,
                      __global const int *restrict from, const ulong from_offset, __global int *restrict to,
                      const ulong to_offset, const ulong rows, const int n, const int run) {
    const ulong item = get_global_id(0);
    if (item >= rows * (ulong)n) return;
    const ulong row = item / (ulong)n;
    const int i = (int)(item % (ulong)n);
    x += x_offset + row * (ulong)n;
    from += from_offset + row * (ulong)n;
    to += to_offset + row * (ulong)n;
    const int pair = i / run / 2 * 2;
    const int left = pair * run, middle = min(left + run, n), right = min(middle + run, n);
    const int place = from[i];
    const GR_SORT_C own = GR_SORT_LOAD(place);
    const int is_left = i < middle;
    /* How many entries of the other run come before this one; of equal ones those of the left run do. */
    int low = is_left ? middle : left, high = is_left ? right : middle;
    const int start = low;
    while (low < high) {
        const int at = low + (high - low) / 2;
        const GR_SORT_C other = GR_SORT_LOAD(from[at]);
        const int before = is_left ? GR_SORT_BEFORE(other, own) : !GR_SORT_BEFORE(own, other);
        if (before) low = at + 1;
        else high = at;
    }
    to[left + (is_left ? i - left : i - middle) + (low - start)] = place;
}
#endif

#undef GR_SORT_LOAD
#undef GR_SORT_LESS
#undef GR_SORT_BEFORE
#ifdef GR_SORT_OWN_NAME
#undef GR_SORT_OWN_NAME
#undef GR_NAME
#endif
