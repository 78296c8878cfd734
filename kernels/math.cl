// Scalar helpers with NumPy's semantics, included once at the top of every generated program.
//
// Names:       gr_<name>_<T>, T one of char, uchar, short, int, uint, long, ulong, float, and double
//              where the program is built with GR_FP64 defined.  T is the type of the values; the
//              predicates (isnan, ...) and the condition of where are uchar holding 0 or 1.
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
//   tanh          1.3     1.1
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

#define GR_COMMON(T)                                                                                     \
    static inline T gr_where_##T(uchar c, T a, T b) { return c ? a : b; }                                \
    static inline T gr_clip_##T(T a, T lo, T hi) { return gr_min_##T(gr_max_##T(a, lo), hi); }

// ---- integers: U is the unsigned type of the same width or wider in which sums and products wrap -----

#define GR_INTEGER(T, U)                                                                                 \
    static inline T gr_square_##T(T a) { return (T)((U)a * (U)a); }                                      \
    static inline T gr_neg_##T(T a) { return (T)((U)0 - (U)a); }                                         \
    static inline T gr_min_##T(T a, T b) { return a < b ? a : b; }                                       \
    static inline T gr_max_##T(T a, T b) { return a > b ? a : b; }                                       \
    static inline T gr_floor_##T(T a) { return a; }                                                      \
    static inline T gr_ceil_##T(T a) { return a; }                                                       \
    static inline T gr_rint_##T(T a) { return a; }                                                       \
    static inline T gr_round_##T(T a) { return a; }                                                      \
    static inline T gr_trunc_##T(T a) { return a; }                                                      \
    static inline uchar gr_isnan_##T(T a) { return 0; }                                                  \
    static inline uchar gr_isinf_##T(T a) { return 0; }                                                  \
    static inline uchar gr_isfinite_##T(T a) { return 1; }                                               \
    GR_COMMON(T)

#define GR_SIGNED(T, U)                                                                                  \
    GR_INTEGER(T, U)                                                                                     \
    static inline T gr_abs_##T(T a) { return a < 0 ? gr_neg_##T(a) : a; }                                \
    static inline T gr_sign_##T(T a) { return (T)((a > 0) - (a < 0)); }                                  \
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

#define GR_UNSIGNED(T, U)                                                                                \
    GR_INTEGER(T, U)                                                                                     \
    static inline T gr_abs_##T(T a) { return a; }                                                        \
    static inline T gr_sign_##T(T a) { return (T)(a > 0); }                                              \
    static inline T gr_truncdiv_##T(T a, T b) { return b == 0 ? (T)0 : (T)(a / (b == 0 ? (T)1 : b)); }   \
    static inline T gr_fmod_##T(T a, T b) { return (T)(a % (b == 0 ? (T)1 : b)); }                       \
    static inline T gr_mod_##T(T a, T b) { return gr_fmod_##T(a, b); }                                   \
    static inline T gr_floordiv_##T(T a, T b) { return gr_truncdiv_##T(a, b); }                          \
    static inline T gr_ipow_##T(T a, T n) {                                                              \
        U x = (U)a, r = 1;                                                                               \
        for (; n != 0; n >>= 1, x *= x) r = (n & 1) ? r * x : r;                                         \
        return (T)r;                                                                                     \
    }

GR_SIGNED(char, uint)
GR_SIGNED(short, uint)
GR_SIGNED(int, uint)
GR_SIGNED(long, ulong)
GR_UNSIGNED(uchar, uint)
GR_UNSIGNED(uint, uint)
GR_UNSIGNED(ulong, ulong)

#undef GR_INTEGER
#undef GR_SIGNED
#undef GR_UNSIGNED

// ---- floating point --------------------------------------------------------------------------------

#define GR_FLOATING(T)                                                                                   \
    static inline T gr_abs_##T(T a) { return fabs(a); }                                                  \
    static inline T gr_neg_##T(T a) { return -a; }                                                       \
    static inline T gr_sign_##T(T a) { return a > 0 ? (T)1 : a < 0 ? (T)-1 : a == 0 ? (T)0 : a; }        \
    static inline T gr_square_##T(T a) { return a * a; }                                                 \
    static inline T gr_reciprocal_##T(T a) { return (T)1 / a; }                                          \
    static inline T gr_min_##T(T a, T b) { return a <= b || a != a ? a : b; }                            \
    static inline T gr_max_##T(T a, T b) { return a >= b || a != a ? a : b; }                            \
    static inline uchar gr_isnan_##T(T a) { return a != a; }                                             \
    static inline uchar gr_isinf_##T(T a) { return fabs(a) == (T)INFINITY; }                             \
    static inline uchar gr_isfinite_##T(T a) { return fabs(a) < (T)INFINITY; }                           \
    static inline T gr_floor_##T(T a) { return floor(a); }                                               \
    static inline T gr_ceil_##T(T a) { return ceil(a); }                                                 \
    static inline T gr_rint_##T(T a) { return rint(a); }                                                 \
    /* NumPy's round is half to even too. */                                                             \
    static inline T gr_round_##T(T a) { return rint(a); }                                                \
    static inline T gr_trunc_##T(T a) { return trunc(a); }                                               \
    static inline T gr_truncdiv_##T(T a, T b) { return trunc(a / b); }                                   \
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
    static inline T gr_sqrt_##T(T a) { return sqrt(a); }                                                 \
    static inline T gr_rsqrt_##T(T a) { return (T)1 / sqrt(a); }                                         \
    static inline T gr_cbrt_##T(T a) { return cbrt(a); }                                                 \
    static inline T gr_sin_##T(T a) { return sin(a); }                                                   \
    static inline T gr_cos_##T(T a) { return cos(a); }                                                   \
    static inline T gr_tan_##T(T a) { return tan(a); }                                                   \
    static inline T gr_asin_##T(T a) { return asin(a); }                                                 \
    static inline T gr_acos_##T(T a) { return acos(a); }                                                 \
    static inline T gr_atan_##T(T a) { return atan(a); }                                                 \
    static inline T gr_atan2_##T(T a, T b) { return atan2(a, b); }                                       \
    static inline T gr_sinh_##T(T a) { return sinh(a); }                                                 \
    static inline T gr_cosh_##T(T a) { return cosh(a); }                                                 \
    static inline T gr_asinh_##T(T a) { return asinh(a); }                                               \
    static inline T gr_acosh_##T(T a) { return acosh(a); }                                               \
    static inline T gr_atanh_##T(T a) { return atanh(a); }                                               \
    static inline T gr_erf_##T(T a) { return erf(a); }                                                   \
    static inline T gr_erfc_##T(T a) { return erfc(a); }                                                 \
    static inline T gr_lgamma_##T(T a) { return lgamma(a); }                                             \
    static inline T gr_pow_##T(T a, T b) { return pow(a, b); }                                           \
    static inline T gr_hypot_##T(T a, T b) { return hypot(a, b); }                                       \
    /* exp of a negative number only: no overflow, and denormal results stay accurate. */                \
    static inline T gr_sigmoid_##T(T a) {                                                                \
        T e = gr_exp_##T(-fabs(a));                                                                      \
        return (a >= 0 ? (T)1 : e) / ((T)1 + e);                                                         \
    }                                                                                                    \
    static inline T gr_softplus_##T(T a) { return gr_max_##T(a, (T)0) + log1p(gr_exp_##T(-fabs(a))); }   \
    GR_COMMON(T)

// Without a branch, a table or a conversion, so that a loop around it becomes vector code.  x = n log 2 + r
// with |r| <= log(2) / 2; log 2 is split so that n times its first part is exact.  The power of two is
// applied in two factors, because 2^128 and 2^-149 are results of exp and neither is a normal float.
static inline float gr_exp_float(float a) {
    const float magic = 12582912.0f; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    float x = a > 89.0f ? 89.0f : a; // comparisons are false for NaN, which thus stays
    x = x < -104.0f ? -104.0f : x;
    float shifted = fma(x, 1.44269504088896341f, magic);
    int n = (int)(as_uint(shifted) - as_uint(magic));
    float whole = shifted - magic;
    float r = fma(whole, -0.693359375f, x);
    r = fma(whole, 2.12194440e-4f, r);
    float p = fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    p = fma(p, r, 8.3334519073e-3f);
    p = fma(p, r, 4.1665795894e-2f);
    p = fma(p, r, 1.6666665459e-1f);
    p = fma(p, r, 5.0000001201e-1f);
    p = fma(p, r * r, r) + 1.0f;
    int half_n = n >> 1;
    float scale_1 = as_float((uint)(half_n + 127) << 23);
    float scale_2 = as_float((uint)(n - half_n + 127) << 23);
    return p * scale_1 * scale_2;
}

// Below 0.625 a polynomial in x^2, above it 1 - 2 / (exp(2x) + 1), both always computed.
static inline float gr_tanh_float(float a) {
    float x = fabs(a);
    float z = a * a;
    float p = fma(-5.70498872745e-3f, z, 2.06390887954e-2f);
    p = fma(p, z, -5.37397155531e-2f);
    p = fma(p, z, 1.33314422036e-1f);
    p = fma(p, z, -3.33332819422e-1f);
    float small = fma(p * z, x, x);
    float large = 1.0f - 2.0f / (gr_exp_float(x + x) + 1.0f);
    return copysign(x < 0.625f ? small : large, a);
}

GR_FLOATING(float)

#ifdef GR_FP64
static inline double gr_exp_double(double a) { return exp(a); }
static inline double gr_tanh_double(double a) { return tanh(a); }
GR_FLOATING(double)
#endif

#undef GR_FLOATING
#undef GR_COMMON
