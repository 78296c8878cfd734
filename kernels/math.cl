// Helpers with NumPy's semantics, included once at the top of every generated program.
//
// Names:       gr_<name>_<T>, T one of char, uchar, short, int, uint, long, ulong, float, and double
//              where the program is built with GR_FP64 defined.  T is the type of the values; the
//              predicates (lt, isnan, ...) and the condition of where are uchar holding 0 or 1.
// Vectors:     T may be a vector of N = 4, 8 or 16 of these, where the program asks for them, since what
//              nobody calls takes time to read too: GR_VECTOR_float<N>, GR_VECTOR_double<N>, and
//              GR_VECTOR_int<N> for all integer types.  Conditions are then uchar<N>.  Scalars and
//              vectors come from one text, and so do their bits.
// Assumptions: no -cl-fast-relaxed-math and no -cl-finite-math-only: NaN, infinity and the sign of zero
//              mean something here, and exp rounds by adding a magic number.
// Tunables:    none.
//
// Integers wrap.  Division and remainder by integer zero give 0, and the smallest number divided by -1
// gives itself: nothing traps.  Of two equal zeros min and max may return either.
//
// Largest errors measured against NumPy in the next wider precision, in units in the last place of the
// result, over all exponents, denormals, special values and dense random values (PoCL 3.1, AVX-512);
// tests/kernels/test_math_cl.py asserts them.  Not listed: exact or correctly rounded.
//
//   helper      float  double
//   exp           1.0     1.0
//   expm1         1.1     1.1
//   exp2          0.9     0.9
//   log           0.6     0.8
//   log1p         1.1     1.1
//   log2          0.6     0.6
//   log10         0.6     0.8
//   rsqrt         1.5     1.5
//   cbrt          0.6     0.6
//   sin           1.5     1.4
//   cos           1.4     1.4
//   tan           2.9     2.5
//   asin          0.7     0.8
//   acos          0.7     0.7
//   atan          0.9     1.0
//   sinh          2.1     1.4
//   cosh          2.1     1.4
//   tanh          2.4     1.1
//   asinh         1.2     0.8
//   acosh         1.3     1.2
//   atanh         0.9     0.9
//   erf           1.8     1.1
//   erfc          1.6     2.1
//   lgamma        0.6     9.1
//   sigmoid       2.0     2.0
//   softplus      1.6     1.5
//   pow           0.9     0.9
//   hypot         0.8     0.6
//   atan2         1.4     1.5
//
// lgamma: where the result is below 1, in units of the last place of 1.

#ifdef GR_FP64
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#endif

// ---- every type ----------------------------------------------------------------------------------
// S is the scalar type, I an integer type as wide as T, N the number of lanes or nothing.  A comparison
// is 1 where true for scalars and -1 for vectors: `?:`, `&` and `|` of comparisons mean the same in both.

#define GR_COMMON(T, I, N)                                                                               \
    static inline T gr_where_##T(uchar##N c, T a, T b) { return convert_##I(c != (uchar##N)0) ? a : b; } \
    static inline T gr_clip_##T(T a, T lo, T hi) { return gr_min_##T(gr_max_##T(a, lo), hi); }           \
    GR_COMPARE(eq, ==, T, N)                                                                             \
    GR_COMPARE(ne, !=, T, N)                                                                             \
    GR_COMPARE(lt, <, T, N)                                                                              \
    GR_COMPARE(le, <=, T, N)                                                                             \
    GR_COMPARE(gt, >, T, N)                                                                              \
    GR_COMPARE(ge, >=, T, N)

#define GR_COMPARE(name, op, T, N)                                                                       \
    static inline uchar##N gr_##name##_##T(T a, T b) {                                                   \
        return convert_uchar##N(a op b) & (uchar##N)1;                                                   \
    }

// For a vector, the scalar function of each lane: where there is no vector code to gain.
#define GR_EACH_1(name, T, S, N)                                                                         \
    static inline T gr_##name##_##T(T a) {                                                               \
        S x[N];                                                                                          \
        gr_vstore##N(a, x);                                                                              \
        for (int l = 0; l < N; ++l) x[l] = gr_##name##_##S(x[l]);                                        \
        return gr_vload##N(x);                                                                           \
    }
#define GR_EACH_2(name, T, S, N)                                                                         \
    static inline T gr_##name##_##T(T a, T b) {                                                          \
        S x[N], y[N];                                                                                    \
        gr_vstore##N(a, x);                                                                              \
        gr_vstore##N(b, y);                                                                              \
        for (int l = 0; l < N; ++l) x[l] = gr_##name##_##S(x[l], y[l]);                                  \
        return gr_vload##N(x);                                                                           \
    }

// ---- integers: U is the unsigned type of the same width, W that or a wider one in which to wrap ----------

#define GR_INTEGER(T, U, W, I, N)                                                                        \
    static inline T gr_square_##T(T a) {                                                                 \
        W x = convert_##W(as_##U(a));                                                                    \
        return as_##T(convert_##U(x * x));                                                               \
    }                                                                                                    \
    static inline T gr_neg_##T(T a) { return as_##T(convert_##U((W)0 - convert_##W(as_##U(a)))); }       \
    static inline T gr_min_##T(T a, T b) { return a < b ? a : b; }                                       \
    static inline T gr_max_##T(T a, T b) { return a > b ? a : b; }                                       \
    static inline T gr_floor_##T(T a) { return a; }                                                      \
    static inline T gr_ceil_##T(T a) { return a; }                                                       \
    static inline T gr_rint_##T(T a) { return a; }                                                       \
    static inline T gr_round_##T(T a) { return a; }                                                      \
    static inline T gr_trunc_##T(T a) { return a; }                                                      \
    static inline uchar##N gr_isnan_##T(T a) { return 0; }                                               \
    static inline uchar##N gr_isinf_##T(T a) { return 0; }                                               \
    static inline uchar##N gr_isfinite_##T(T a) { return 1; }                                            \
    GR_COMMON(T, I, N)

#define GR_SIGNED(T, U, W, N)                                                                            \
    GR_INTEGER(T, U, W, T, N)                                                                            \
    static inline T gr_abs_##T(T a) { return a < (T)0 ? gr_neg_##T(a) : a; }                             \
    static inline T gr_sign_##T(T a) { return a > (T)0 ? (T)1 : a < (T)0 ? (T)-1 : (T)0; }

#define GR_UNSIGNED(T, W, I, N)                                                                          \
    GR_INTEGER(T, T, W, I, N)                                                                            \
    static inline T gr_abs_##T(T a) { return a; }                                                        \
    static inline T gr_sign_##T(T a) { return a > (T)0 ? (T)1 : (T)0; }

// Division, remainder and power: vectors take them lane by lane, since processors have no such vector code.
#define GR_SIGNED_DIVISION(T, U)                                                                         \
    static inline T gr_truncdiv_##T(T a, T b) {                                                          \
        T d = b == 0 || b == -1 ? (T)1 : b;                                                              \
        T q = (T)(a / d);                                                                                \
        return b == 0 ? (T)0 : b == -1 ? gr_neg_##T(a) : q;                                              \
    }                                                                                                    \
    static inline T gr_fmod_##T(T a, T b) {                                                              \
        T d = b == 0 || b == -1 ? (T)1 : b;                                                              \
        return (T)(a % d);                                                                               \
    }                                                                                                    \
    static inline T gr_mod_##T(T a, T b) {                                                               \
        T r = gr_fmod_##T(a, b);                                                                         \
        return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;                                            \
    }                                                                                                    \
    static inline T gr_floordiv_##T(T a, T b) {                                                          \
        T r = gr_fmod_##T(a, b);                                                                         \
        T q = gr_truncdiv_##T(a, b);                                                                     \
        return r != 0 && (r < 0) != (b < 0) ? (T)(q - 1) : q;                                            \
    }                                                                                                    \
    /* A negative exponent gives the true power rounded towards zero, and 0 for a base of 0. */          \
    static inline T gr_ipow_##T(T a, T n) {                                                              \
        U x = (U)a, r = 1;                                                                               \
        if (n < 0) return a == 1 ? (T)1 : a == -1 ? (T)((n & 1) ? -1 : 1) : (T)0;                        \
        for (; n != 0; n >>= 1, x *= x) r = (n & 1) ? r * x : r;                                         \
        return (T)r;                                                                                     \
    }

#define GR_UNSIGNED_DIVISION(T, U)                                                                       \
    static inline T gr_truncdiv_##T(T a, T b) { return b == 0 ? (T)0 : (T)(a / (b == 0 ? (T)1 : b)); }   \
    static inline T gr_fmod_##T(T a, T b) { return (T)(a % (b == 0 ? (T)1 : b)); }                       \
    static inline T gr_mod_##T(T a, T b) { return gr_fmod_##T(a, b); }                                   \
    static inline T gr_floordiv_##T(T a, T b) { return gr_truncdiv_##T(a, b); }                          \
    static inline T gr_ipow_##T(T a, T n) {                                                              \
        U x = (U)a, r = 1;                                                                               \
        for (; n != 0; n >>= 1, x *= x) r = (n & 1) ? r * x : r;                                         \
        return (T)r;                                                                                     \
    }

GR_SIGNED(char, uchar, uint, )
GR_SIGNED(short, ushort, uint, )
GR_SIGNED(int, uint, uint, )
GR_SIGNED(long, ulong, ulong, )
GR_UNSIGNED(uchar, uint, char, )
GR_UNSIGNED(uint, uint, int, )
GR_UNSIGNED(ulong, ulong, long, )
GR_SIGNED_DIVISION(char, uint)
GR_SIGNED_DIVISION(short, uint)
GR_SIGNED_DIVISION(int, uint)
GR_SIGNED_DIVISION(long, ulong)
GR_UNSIGNED_DIVISION(uchar, uint)
GR_UNSIGNED_DIVISION(uint, uint)
GR_UNSIGNED_DIVISION(ulong, ulong)

#define GR_DIVISION_OF_EACH(T, S, N)                                                                     \
    GR_EACH_2(truncdiv, T, S, N)                                                                         \
    GR_EACH_2(fmod, T, S, N)                                                                             \
    GR_EACH_2(mod, T, S, N)                                                                              \
    GR_EACH_2(floordiv, T, S, N)                                                                         \
    GR_EACH_2(ipow, T, S, N)
#define GR_INTEGERS(N)                                                                                   \
    GR_SIGNED(char##N, uchar##N, uchar##N, N)                                                            \
    GR_SIGNED(short##N, ushort##N, ushort##N, N)                                                         \
    GR_SIGNED(int##N, uint##N, uint##N, N)                                                               \
    GR_SIGNED(long##N, ulong##N, ulong##N, N)                                                            \
    GR_UNSIGNED(uchar##N, uchar##N, char##N, N)                                                          \
    GR_UNSIGNED(uint##N, uint##N, int##N, N)                                                             \
    GR_UNSIGNED(ulong##N, ulong##N, long##N, N)                                                          \
    GR_DIVISION_OF_EACH(char##N, char, N)                                                                \
    GR_DIVISION_OF_EACH(short##N, short, N)                                                              \
    GR_DIVISION_OF_EACH(int##N, int, N)                                                                  \
    GR_DIVISION_OF_EACH(long##N, long, N)                                                                \
    GR_DIVISION_OF_EACH(uchar##N, uchar, N)                                                              \
    GR_DIVISION_OF_EACH(uint##N, uint, N)                                                                \
    GR_DIVISION_OF_EACH(ulong##N, ulong, N)

#ifdef GR_VECTOR_int2
GR_INTEGERS(2)
#endif
#ifdef GR_VECTOR_int4
GR_INTEGERS(4)
#endif
#ifdef GR_VECTOR_int8
GR_INTEGERS(8)
#endif
#ifdef GR_VECTOR_int16
GR_INTEGERS(16)
#endif

#undef GR_SIGNED_DIVISION
#undef GR_UNSIGNED_DIVISION
#undef GR_DIVISION_OF_EACH
#undef GR_INTEGER
#undef GR_INTEGERS
#undef GR_SIGNED
#undef GR_UNSIGNED

// ---- floating point --------------------------------------------------------------------------------

#define GR_FLOATING(T, I, N)                                                                             \
    static inline T gr_abs_##T(T a) { return fabs(a); }                                                  \
    static inline T gr_neg_##T(T a) { return -a; }                                                       \
    static inline T gr_sign_##T(T a) {                                                                   \
        return a > (T)0 ? (T)1 : a < (T)0 ? (T)-1 : a == (T)0 ? (T)0 : a;                                \
    }                                                                                                    \
    static inline T gr_square_##T(T a) { return a * a; }                                                 \
    static inline T gr_reciprocal_##T(T a) { return (T)1 / a; }                                          \
    static inline T gr_min_##T(T a, T b) { return ((a <= b) | (a != a)) ? a : b; }                       \
    static inline T gr_max_##T(T a, T b) { return ((a >= b) | (a != a)) ? a : b; }                       \
    static inline uchar##N gr_isnan_##T(T a) { return convert_uchar##N(a != a) & (uchar##N)1; }          \
    static inline uchar##N gr_isinf_##T(T a) {                                                           \
        return convert_uchar##N(fabs(a) == (T)INFINITY) & (uchar##N)1;                                   \
    }                                                                                                    \
    static inline uchar##N gr_isfinite_##T(T a) {                                                        \
        return convert_uchar##N(fabs(a) < (T)INFINITY) & (uchar##N)1;                                    \
    }                                                                                                    \
    static inline T gr_floor_##T(T a) { return floor(a); }                                               \
    static inline T gr_ceil_##T(T a) { return ceil(a); }                                                 \
    static inline T gr_rint_##T(T a) { return rint(a); }                                                 \
    /* NumPy's round is half to even too. */                                                             \
    static inline T gr_round_##T(T a) { return rint(a); }                                                \
    static inline T gr_trunc_##T(T a) { return trunc(a); }                                               \
    static inline T gr_truncdiv_##T(T a, T b) { return trunc(a / b); }                                   \
    static inline T gr_sqrt_##T(T a) { return sqrt(a); }                                                 \
    static inline T gr_rsqrt_##T(T a) { return (T)1 / sqrt(a); }                                         \
    /* exp of a negative number only: no overflow, and denormal results stay accurate. */                \
    static inline T gr_sigmoid_##T(T a) {                                                                \
        T e = gr_exp_##T(-fabs(a));                                                                      \
        return (a >= (T)0 ? (T)1 : e) / ((T)1 + e);                                                      \
    }                                                                                                    \
    static inline T gr_softplus_##T(T a) {                                                               \
        return gr_max_##T(a, (T)0) + gr_log1p_##T(gr_exp_##T(-fabs(a)));                                 \
    }                                                                                                    \
    GR_COMMON(T, I, N)

// What the driver's library does for scalars; for vectors, lane by lane.
#define GR_LIBRARY(T)                                                                                    \
    static inline T gr_fmod_##T(T a, T b) { return fmod(a, b); }                                         \
    static inline T gr_mod_##T(T a, T b) {                                                               \
        T r = fmod(a, b);                                                                                \
        T moved = (b < 0) != (r < 0) ? r + b : r;                                                        \
        return b == 0 ? r : r == 0 ? copysign((T)0, b) : moved;                                          \
    }                                                                                                    \
    static inline T gr_floordiv_##T(T a, T b) {                                                          \
        T r = fmod(a, b);                                                                                \
        T q = (a - r) / b;                                                                               \
        q = r != 0 && (b < 0) != (r < 0) ? q - (T)1 : q;                                                 \
        T f = floor(q);                                                                                  \
        f = q - f > (T)0.5 ? f + (T)1 : f; /* the division may have rounded just below an integer */     \
        return b == 0 ? a / b : q == 0 ? copysign((T)0, a / b) : f;                                      \
    }                                                                                                    \
    static inline T gr_ipow_##T(T a, int n) {                                                            \
        uint m = n < 0 ? 0u - (uint)n : (uint)n;                                                         \
        T x = a, r = 1;                                                                                  \
        for (; m != 0; m >>= 1, x *= x) r = (m & 1) ? r * x : r;                                         \
        return n < 0 ? (T)1 / r : r;                                                                     \
    }                                                                                                    \
    static inline T gr_expm1_##T(T a) { return expm1(a); }                                               \
    static inline T gr_exp2_##T(T a) { return exp2(a); }                                                 \
    static inline T gr_log_##T(T a) { return log(a); }                                                   \
    static inline T gr_log1p_##T(T a) { return log1p(a); }                                               \
    static inline T gr_log2_##T(T a) { return log2(a); }                                                 \
    static inline T gr_log10_##T(T a) { return log10(a); }                                               \
    static inline T gr_cbrt_##T(T a) { return cbrt(a); }                                                 \
    static inline T gr_sin_##T(T a) { return sin(a); }                                                   \
    static inline T gr_cos_##T(T a) { return cos(a); }                                                   \
    static inline T gr_tan_##T(T a) { return tan(a); }                                                   \
    static inline T gr_asin_##T(T a) { return asin(a); }                                                 \
    static inline T gr_acos_##T(T a) { return acos(a); }                                                 \
    static inline T gr_atan_##T(T a) { return atan(a); }                                                 \
    static inline T gr_sinh_##T(T a) { return sinh(a); }                                                 \
    static inline T gr_cosh_##T(T a) { return cosh(a); }                                                 \
    static inline T gr_asinh_##T(T a) { return asinh(a); }                                               \
    static inline T gr_acosh_##T(T a) { return acosh(a); }                                               \
    static inline T gr_atanh_##T(T a) { return atanh(a); }                                               \
    static inline T gr_erf_##T(T a) { return erf(a); }                                                   \
    static inline T gr_erfc_##T(T a) { return erfc(a); }                                                 \
    static inline T gr_lgamma_##T(T a) { return lgamma(a); }                                             \
    static inline T gr_atan2_##T(T a, T b) { return atan2(a, b); }                                       \
    static inline T gr_pow_##T(T a, T b) { return pow(a, b); }                                           \
    static inline T gr_hypot_##T(T a, T b) { return hypot(a, b); }

#define GR_LIBRARY_OF_EACH(T, S, N)                                                                      \
    GR_EACH_1(expm1, T, S, N)                                                                            \
    GR_EACH_1(exp2, T, S, N)                                                                             \
    GR_EACH_1(log, T, S, N)                                                                              \
    GR_EACH_1(log1p, T, S, N)                                                                            \
    GR_EACH_1(log2, T, S, N)                                                                             \
    GR_EACH_1(log10, T, S, N)                                                                            \
    GR_EACH_1(cbrt, T, S, N)                                                                             \
    GR_EACH_1(sin, T, S, N)                                                                              \
    GR_EACH_1(cos, T, S, N)                                                                              \
    GR_EACH_1(tan, T, S, N)                                                                              \
    GR_EACH_1(asin, T, S, N)                                                                             \
    GR_EACH_1(acos, T, S, N)                                                                             \
    GR_EACH_1(atan, T, S, N)                                                                             \
    GR_EACH_1(sinh, T, S, N)                                                                             \
    GR_EACH_1(cosh, T, S, N)                                                                             \
    GR_EACH_1(asinh, T, S, N)                                                                            \
    GR_EACH_1(acosh, T, S, N)                                                                            \
    GR_EACH_1(atanh, T, S, N)                                                                            \
    GR_EACH_1(erf, T, S, N)                                                                              \
    GR_EACH_1(erfc, T, S, N)                                                                             \
    GR_EACH_1(lgamma, T, S, N)                                                                           \
    GR_EACH_2(atan2, T, S, N)                                                                            \
    GR_EACH_2(pow, T, S, N)                                                                              \
    GR_EACH_2(hypot, T, S, N)                                                                            \
    GR_EACH_2(fmod, T, S, N)                                                                             \
    GR_EACH_2(mod, T, S, N)                                                                              \
    GR_EACH_2(floordiv, T, S, N)

// Of x, with n log 2 + r = x and |r| <= log(2) / 2: `shifted`, in whose low bits n is, r, and q = exp(r) - 1.
// log 2 is split so that n times its first part is exact.  The magic number is 1.5 * 2^23: adding it leaves the
// nearest integer in the low bits.  Without a branch, a table or a conversion, so that vectors take it.
#define GR_EXP_STEPS(T)                                                                                  \
    const T magic = (T)12582912.0f;                                                                      \
    T shifted = fma(x, (T)1.44269504088896341f, magic);                                                  \
    T whole = shifted - magic;                                                                           \
    T r = fma(whole, (T)-0.693359375f, x);                                                               \
    r = fma(whole, (T)2.12194440e-4f, r);                                                                \
    T p = fma((T)1.9875691500e-4f, r, (T)1.3981999507e-3f);                                              \
    p = fma(p, r, (T)8.3334519073e-3f);                                                                  \
    p = fma(p, r, (T)4.1665795894e-2f);                                                                  \
    p = fma(p, r, (T)1.6666665459e-1f);                                                                  \
    p = fma(p, r, (T)5.0000001201e-1f);                                                                  \
    T q = fma(p, r * r, r);

// The power of two is applied in two factors, because 2^128 and 2^-149 are results of exp and neither is a
// normal float.
#define GR_EXP_FLOAT(T, I, U)                                                                            \
    static inline T gr_exp_##T(T a) {                                                                    \
        T x = a > (T)89.0f ? (T)89.0f : a; /* comparisons are false for NaN, which thus stays */         \
        x = x < (T)-104.0f ? (T)-104.0f : x;                                                             \
        GR_EXP_STEPS(T)                                                                                  \
        I n = as_##I(as_##U(shifted) - as_##U(magic));                                                   \
        I half_n = n >> 1;                                                                               \
        T scale_1 = as_##T((half_n + 127) << 23);                                                        \
        T scale_2 = as_##T((n - half_n + 127) << 23);                                                    \
        return (q + (T)1.0f) * scale_1 * scale_2;                                                        \
    }

// m / (m + 2) with m = exp(2 |x|) - 1 = 2^n q + (2^n - 1): nothing cancels, and n is at least 0 and small.
// From 9.02 on the result is 1.
#define GR_TANH_FLOAT(T, I, U)                                                                           \
    static inline T gr_tanh_##T(T a) {                                                                   \
        T x = fabs(a);                                                                                   \
        x = x > (T)9.02f ? (T)18.04f : x + x;                                                            \
        GR_EXP_STEPS(T)                                                                                  \
        T scale = as_##T((as_##I(as_##U(shifted) - as_##U(magic)) + 127) << 23);                         \
        T m = fma(q, scale, scale - (T)1.0f);                                                            \
        return copysign(m / (m + (T)2.0f), a);                                                           \
    }

GR_LIBRARY(float)
GR_EXP_FLOAT(float, int, uint)
GR_TANH_FLOAT(float, int, uint)
GR_FLOATING(float, int, )

#define GR_FLOATS(N)                                                                                     \
    GR_LIBRARY_OF_EACH(float##N, float, N)                                                               \
    GR_EXP_FLOAT(float##N, int##N, uint##N)                                                              \
    GR_TANH_FLOAT(float##N, int##N, uint##N)                                                                     \
    GR_FLOATING(float##N, int##N, N)

#ifdef GR_VECTOR_float2
GR_FLOATS(2)
#endif
#ifdef GR_VECTOR_float4
GR_FLOATS(4)
#endif
#ifdef GR_VECTOR_float8
GR_FLOATS(8)
#endif
#ifdef GR_VECTOR_float16
GR_FLOATS(16)
#endif

#ifdef GR_FP64
static inline double gr_exp_double(double a) { return exp(a); }
static inline double gr_tanh_double(double a) { return tanh(a); }
GR_LIBRARY(double)
GR_FLOATING(double, long, )

#define GR_DOUBLES(N)                                                                                    \
    GR_LIBRARY_OF_EACH(double##N, double, N)                                                             \
    GR_EACH_1(exp, double##N, double, N)                                                                 \
    GR_EACH_1(tanh, double##N, double, N)                                                                \
    GR_FLOATING(double##N, long##N, N)

#ifdef GR_VECTOR_double2
GR_DOUBLES(2)
#endif
#ifdef GR_VECTOR_double4
GR_DOUBLES(4)
#endif
#ifdef GR_VECTOR_double8
GR_DOUBLES(8)
#endif
#ifdef GR_VECTOR_double16
GR_DOUBLES(16)
#endif
#undef GR_DOUBLES
#endif

#undef GR_FLOATS
#undef GR_EXP_FLOAT
#undef GR_EXP_STEPS
#undef GR_TANH_FLOAT
#undef GR_LIBRARY
#undef GR_LIBRARY_OF_EACH
#undef GR_FLOATING
#undef GR_EACH_1
#undef GR_EACH_2
#undef GR_COMPARE
#undef GR_COMMON
