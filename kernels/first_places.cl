/* Where in a list each of its integers stands first.
 *
 * r[k] is the smallest j with indices[j] == indices[k], for 0 <= k < count.
 *
 * A hash table with chains: heads[h] is the last entry that was put into bucket h, or -1, and next[k] the one
 * before entry k.  Each item owns the buckets of one residue class and walks all indices: no two items write
 * to one place, and the first of equal indices is the one that is put in.
 *
 * Entries: first_places.
 * Defines:
 *   GR_PLACES_INDEX  type of the indices
 */
#ifndef GR_PLACES_INDEX
#define GR_PLACES_INDEX int
#endif
#ifndef GR_NAME
#define GR_NAME first_places
#define GR_PLACES_OWN_NAME
#endif

/* `bits` is 1 or more, there are 1 << bits buckets, and `items` is a power of two, at most their number. */
__kernel void GR_NAME(__global const GR_PLACES_INDEX *restrict indices, const ulong indices_offset,
                      __global int *restrict r, const ulong r_offset, __global int *restrict heads,
                      const ulong heads_offset, __global int *restrict next, const ulong next_offset,
                      const int count, const uint bits, const uint items) {
    const uint item = get_global_id(0);
    if (item >= items) return;

    indices += indices_offset;
    r += r_offset;
    heads += heads_offset;
    next += next_offset;
    for (uint h = item; h < 1u << bits; h += items) heads[h] = -1;
    for (int k = 0; k < count; ++k) {
        /* Fibonacci hashing: the upper bits of a product with 2**64 divided by the golden ratio. */
        const GR_PLACES_INDEX x = indices[k];
        const uint h = (uint)(((ulong)x * 0x9E3779B97F4A7C15UL) >> (64u - bits));
        if ((h & (items - 1u)) != item) continue;
        int j = heads[h];
        while (j >= 0 && indices[j] != x) j = next[j];
        if (j < 0) {
            next[k] = heads[h];
            heads[h] = k;
            j = k;
        }
        r[k] = j;
    }
}

#ifdef GR_PLACES_OWN_NAME
#undef GR_PLACES_OWN_NAME
#undef GR_NAME
#endif
