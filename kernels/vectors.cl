// Vectors at the address of any element, included once at the top of every generated program.
//
// Names:       gr_vload<N>(p) and gr_vstore<N>(v, p), N one of 2, 4, 8 and 16, p a pointer to an element in
//              global, local or private memory: what vload<N>(0, p) and vstore<N>(v, 0, p) do.
//              gr_fetch(p) asks for the line of the cache around p, and gr_fetch_to(p) does where it will be
//              written; p may lie behind the end of all memory.
//              GR_REST stands before a loop over the few elements that whole vectors leave.
//              gr_vstream<N>(v, p) is gr_vstore<N> of floats past the caches, for what is larger than these.
// Assumptions: no alignment beyond the element's.
// Tunables:    GR_NO_FETCH (nothing is asked for early: simulators do not know what that compiles to).
//
// PoCL puts vstore16 together from smaller vectors, and its compiler makes three stores of one; what is
// loaded again right behind them has to wait until all have reached the cache.  A type of a vector that says
// itself that it is not aligned is one instruction.  Only compilers for CPUs are asked for this.

#if GR_CHUNKED && defined(__clang__) && !defined(GR_NO_FETCH)
#define gr_fetch(p) __builtin_prefetch((const void *)(ulong)(p), 0, 3)
#define gr_fetch_to(p) __builtin_prefetch((const void *)(ulong)(p), 1, 3)
#else
#define gr_fetch(p)
#define gr_fetch_to(p)
#endif

// Vector code for such a loop, and copies of its body, would never run, and be compiled all the same.
#ifdef __clang__
#define GR_REST _Pragma("clang loop vectorize(disable) unroll(disable)")
#else
#define GR_REST
#endif

#if GR_CHUNKED && defined(__clang__)
#define GR_LOOSE_IN(T, N, MEMORY)                                                                        \
    static inline __attribute__((overloadable)) T##N gr_vload##N(const MEMORY T *p) {                    \
        return *(const MEMORY gr_loose_##T##N *)p;                                                       \
    }                                                                                                    \
    static inline __attribute__((overloadable)) void gr_vstore##N(const T##N v, MEMORY T *p) {           \
        *(MEMORY gr_loose_##T##N *)p = v;                                                                \
    }
#define GR_LOOSE(T, N)                                                                                   \
    typedef T##N gr_loose_##T##N __attribute__((aligned(sizeof(T))));                                    \
    GR_LOOSE_IN(T, N, __global)                                                                          \
    GR_LOOSE_IN(T, N, __local)                                                                           \
    GR_LOOSE_IN(T, N, __private)
#define GR_LOOSE_EACH(T) GR_LOOSE(T, 2) GR_LOOSE(T, 4) GR_LOOSE(T, 8) GR_LOOSE(T, 16)
GR_LOOSE_EACH(char)
GR_LOOSE_EACH(uchar)
GR_LOOSE_EACH(short)
GR_LOOSE_EACH(ushort)
GR_LOOSE_EACH(int)
GR_LOOSE_EACH(uint)
GR_LOOSE_EACH(long)
GR_LOOSE_EACH(ulong)
GR_LOOSE_EACH(float)
#ifdef GR_FP64
GR_LOOSE_EACH(double)
#endif
#if __has_builtin(__builtin_nontemporal_store)
#define GR_STREAM(N)                                                                                     \
    static inline void gr_vstream##N(const float##N v, __global float *p) {                              \
        if (((ulong)p & (sizeof(v) - 1)) == 0)                                                           \
            __builtin_nontemporal_store(v, (__global float##N *)p);                                      \
        else                                                                                             \
            gr_vstore##N(v, p);                                                                          \
    }
GR_STREAM(4)
GR_STREAM(8)
GR_STREAM(16)
#undef GR_STREAM
#else // compilers of old
#define gr_vstream4(v, p) gr_vstore4(v, p)
#define gr_vstream8(v, p) gr_vstore8(v, p)
#define gr_vstream16(v, p) gr_vstore16(v, p)
#endif
#undef GR_LOOSE_EACH
#undef GR_LOOSE
#undef GR_LOOSE_IN
#else
#define gr_vload2(p) vload2(0, p)
#define gr_vload4(p) vload4(0, p)
#define gr_vload8(p) vload8(0, p)
#define gr_vload16(p) vload16(0, p)
#define gr_vstore2(v, p) vstore2(v, 0, p)
#define gr_vstore4(v, p) vstore4(v, 0, p)
#define gr_vstore8(v, p) vstore8(v, 0, p)
#define gr_vstore16(v, p) vstore16(v, 0, p)
#define gr_vstream4(v, p) vstore4(v, 0, p)
#define gr_vstream8(v, p) vstore8(v, 0, p)
#define gr_vstream16(v, p) vstore16(v, 0, p)
#endif
