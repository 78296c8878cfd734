/* Random numbers: Philox 4x32-10 (Salmon et al. 2011), and what is made of its words.
 *
 * Index convention.  counter[0] counts the 128-bit blocks that the stream has used; block b is Philox of the
 * counter words (low(b), high(b), 0, 0) under the key (key0, key1).  Element j of the output is made of
 *   32-bit draws: word j % 4 of block counter + j / 4;
 *   64-bit draws: words 2 * (j % 2) (low half) and 2 * (j % 2) + 1 of block counter + j / 2.
 * An item makes consecutive groups of GR_RNG_VW consecutive blocks each; the lanes of a vector are blocks.
 *
 * Results equal those of graphrun/ops/host/philox.py bit for bit, on every device.  So there is no fma, no
 * division and no built-in function of floats in it, contraction is off, and the order of the operations is
 * that of the NumPy code; who changes a line here changes it there.
 *
 * Assumes: conversions from integer to float and to half round to nearest even (the full profile's default);
 * the program is not built with -cl-fast-relaxed-math, -cl-unsafe-math-optimizations or -cl-mad-enable.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>:
 *   philox_uniform           float of [0, 1), 2**24, 2**53 or 2**11 equally spaced values
 *   philox_uniform_int       lo + high half of (draw * (hi - lo)); hi <= lo must be refused by the host
 *   philox_normal            inverse normal CDF of one draw (see the NumPy file)
 *   philox_truncated_normal  the same on condition that |z| < 2
 * Defines:
 *   GR_RNG_OUT   16, 32 or 64: bits of the output's elements, half, float or double (int or long)
 * Tunables:
 *   GR_RNG_VW    blocks made at once, 2, 4, 8 or 16
 */
#ifndef GR_RNG_OUT
#define GR_RNG_OUT 32
#endif
#ifndef GR_RNG_VW
#define GR_RNG_VW 8
#endif
#ifndef GR_NAME
#if defined(GR_ENTRY_philox_uniform_int)
#define GR_NAME philox_uniform_int
#elif defined(GR_ENTRY_philox_normal)
#define GR_NAME philox_normal
#elif defined(GR_ENTRY_philox_truncated_normal)
#define GR_NAME philox_truncated_normal
#else
#define GR_NAME philox_uniform
#endif
#define GR_RNG_OWN_NAME
#endif

#define GR_RNG_CAT_(a, b) a##b
#define GR_RNG_CAT(a, b) GR_RNG_CAT_(a, b)
#define GR_RNG_FN(suffix) GR_RNG_CAT(GR_NAME, _##suffix)
#define GR_RNG_UINT GR_RNG_CAT(uint, GR_RNG_VW)
#define GR_RNG_ULONG GR_RNG_CAT(ulong, GR_RNG_VW)

#if GR_RNG_OUT == 64
#if !defined(GR_ENTRY_philox_uniform_int) && defined(cl_khr_fp64)
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#define GR_RNG_PER_BLOCK 2
#define GR_RNG_FLOAT double
#define GR_RNG_REAL GR_RNG_CAT(double, GR_RNG_VW)
#define GR_RNG_INT GR_RNG_CAT(long, GR_RNG_VW)
#define GR_RNG_BITS GR_RNG_ULONG
#define GR_RNG_TO_REAL GR_RNG_CAT(convert_, GR_RNG_REAL)
#define GR_RNG_AS_REAL GR_RNG_CAT(as_, GR_RNG_REAL)
#define GR_RNG_AS_BITS GR_RNG_CAT(as_, GR_RNG_ULONG)
#else
#define GR_RNG_PER_BLOCK 4
#define GR_RNG_FLOAT float
#define GR_RNG_REAL GR_RNG_CAT(float, GR_RNG_VW)
#define GR_RNG_INT GR_RNG_CAT(int, GR_RNG_VW)
#define GR_RNG_BITS GR_RNG_UINT
#define GR_RNG_TO_REAL GR_RNG_CAT(convert_, GR_RNG_REAL)
#define GR_RNG_AS_REAL GR_RNG_CAT(as_, GR_RNG_REAL)
#define GR_RNG_AS_BITS GR_RNG_CAT(as_, GR_RNG_UINT)
#endif
#define GR_RNG_WIDEN(words) GR_RNG_CAT(convert_, GR_RNG_ULONG)(words)
#define GR_RNG_VSTORE(v, p) GR_RNG_CAT(gr_vstore, GR_RNG_VW)(v, p)

#if defined(GR_ENTRY_philox_uniform_int)
#define GR_RNG_VALUE GR_RNG_INT
#if GR_RNG_OUT == 64
#define GR_RNG_ELEMENT long
#else
#define GR_RNG_ELEMENT int
#endif
#else
#define GR_RNG_VALUE GR_RNG_REAL
#if GR_RNG_OUT == 16
#define GR_RNG_ELEMENT half
#else
#define GR_RNG_ELEMENT GR_RNG_FLOAT
#endif
#endif

static void GR_RNG_FN(philox)(GR_RNG_ULONG block, uint key0, uint key1, GR_RNG_UINT *words)
{
    GR_RNG_UINT x0 = GR_RNG_CAT(convert_, GR_RNG_UINT)(block);
    GR_RNG_UINT x1 = GR_RNG_CAT(convert_, GR_RNG_UINT)(block >> 32);
    GR_RNG_UINT x2 = 0;
    GR_RNG_UINT x3 = 0;
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const GR_RNG_UINT high0 = mul_hi((GR_RNG_UINT)(0xD2511F53u), x0);
        const GR_RNG_UINT low0 = x0 * 0xD2511F53u;
        const GR_RNG_UINT high1 = mul_hi((GR_RNG_UINT)(0xCD9E8D57u), x2);
        const GR_RNG_UINT low1 = x2 * 0xCD9E8D57u;
        x0 = high1 ^ x1 ^ key0;
        x1 = low1;
        x2 = high0 ^ x3 ^ key1;
        x3 = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    words[0] = x0;
    words[1] = x1;
    words[2] = x2;
    words[3] = x3;
}

#if defined(GR_ENTRY_philox_normal) || defined(GR_ENTRY_philox_truncated_normal)
#if GR_RNG_OUT == 64
static GR_RNG_REAL GR_RNG_FN(log_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(-0.02432617491821441);
    r = (r + (GR_RNG_FLOAT)(0.05647814073538777)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.06207496038793952)) * t;
    r = (r + (GR_RNG_FLOAT)(0.054081381753003616)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.053492389973253424)) * t;
    r = (r + (GR_RNG_FLOAT)(0.05825070238646302)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.06266871141028912)) * t;
    r = (r + (GR_RNG_FLOAT)(0.06673746435165462)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.07142178144931366)) * t;
    r = (r + (GR_RNG_FLOAT)(0.07691846251495121)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.08333341859605121)) * t;
    r = (r + (GR_RNG_FLOAT)(0.09090926519529235)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.10000000293648051)) * t;
    r = (r + (GR_RNG_FLOAT)(0.1111111072996344)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.12499999988229632)) * t;
    r = (r + (GR_RNG_FLOAT)(0.14285714290226392)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.16666666666809152)) * t;
    r = (r + (GR_RNG_FLOAT)(0.19999999999975535)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.24999999999999434)) * t;
    r = (r + (GR_RNG_FLOAT)(0.3333333333333337)) * t;
    return r + (GR_RNG_FLOAT)(-0.5);
}

static GR_RNG_REAL GR_RNG_FN(centre_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(5.2906655269888195e-11);
    r = (r + (GR_RNG_FLOAT)(3.264687925720059e-10)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.370886381664873e-09)) * t;
    r = (r + (GR_RNG_FLOAT)(-2.0863690574211677e-09)) * t;
    r = (r + (GR_RNG_FLOAT)(1.5592240022335258e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.0461234972467216e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.0023872607530786e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(2.830045153412e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(1.9207730329312594e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(-2.6222049336981386e-06)) * t;
    r = (r + (GR_RNG_FLOAT)(4.03285632391513e-06)) * t;
    r = (r + (GR_RNG_FLOAT)(1.223694679924114e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(-5.8593800510070225e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(2.8952338716588987e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(0.0004132200302984074)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0011796459361284011)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0006899925320309588)) * t;
    r = (r + (GR_RNG_FLOAT)(0.012056737649227937)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.02768119551434701)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.03692262112602371)) * t;
    r = (r + (GR_RNG_FLOAT)(0.8720050609976361)) * t;
    return r + (GR_RNG_FLOAT)(2.12331346701467);
}

static GR_RNG_REAL GR_RNG_FN(middle_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(8.277348789916633e-10);
    r = (r + (GR_RNG_FLOAT)(4.58042826685306e-11)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.012871532749628e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(1.657967280593011e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(2.735728289926359e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.6060267372159518e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(2.8323922213895107e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(1.8884857654740626e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(-2.3467085805384094e-06)) * t;
    r = (r + (GR_RNG_FLOAT)(5.384514384488605e-06)) * t;
    r = (r + (GR_RNG_FLOAT)(-6.869379311083006e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(-2.9070217381228796e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(8.26513419111213e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(-7.417023001148123e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0002080504939857431)) * t;
    r = (r + (GR_RNG_FLOAT)(0.0009893945620715685)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0022657459888040113)) * t;
    r = (r + (GR_RNG_FLOAT)(0.00382410610534676)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.005872976632449699)) * t;
    r = (r + (GR_RNG_FLOAT)(0.008545630510787407)) * t;
    r = (r + (GR_RNG_FLOAT)(1.2770638444677955)) * t;
    return r + (GR_RNG_FLOAT)(4.148216012419827);
}

static GR_RNG_REAL GR_RNG_FN(tail_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(9.787781398313365e-11);
    r = (r + (GR_RNG_FLOAT)(1.960043902303047e-11)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.2884440919727401e-09)) * t;
    r = (r + (GR_RNG_FLOAT)(3.771814414082583e-09)) * t;
    r = (r + (GR_RNG_FLOAT)(-7.656921944960627e-09)) * t;
    r = (r + (GR_RNG_FLOAT)(1.5241338206303172e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(-2.8540172630073023e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(5.305924860549301e-08)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.2764598709222032e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(4.4914327791370745e-07)) * t;
    r = (r + (GR_RNG_FLOAT)(-1.9180145430873613e-06)) * t;
    r = (r + (GR_RNG_FLOAT)(8.37331130016417e-06)) * t;
    r = (r + (GR_RNG_FLOAT)(-3.458982927017564e-05)) * t;
    r = (r + (GR_RNG_FLOAT)(0.0001263453137437583)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.00033379478224641895)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0002830673923432701)) * t;
    r = (r + (GR_RNG_FLOAT)(1.5180496761253583)) * t;
    return r + (GR_RNG_FLOAT)(6.948101358877555);
}

static GR_RNG_REAL GR_RNG_FN(minus_log)(GR_RNG_REAL y)
{
    #pragma OPENCL FP_CONTRACT OFF
    const GR_RNG_BITS bits = GR_RNG_AS_BITS(y) + (0x3FF0000000000000ul - 0x3FE6A09E667F3BCDul);
    const GR_RNG_REAL e = GR_RNG_TO_REAL(GR_RNG_CAT(convert_, GR_RNG_INT)(bits >> 52) - 1023);
    const GR_RNG_REAL f = GR_RNG_AS_REAL((bits & 0xFFFFFFFFFFFFFul) + 0x3FE6A09E667F3BCDul) - 1.0;
    const GR_RNG_REAL log_mantissa = f + (f * f) * GR_RNG_FN(log_poly)(f);
    return -(e * 0.693147180601954460144 + (log_mantissa + e * -4.20091507268107e-11));
}

static GR_RNG_REAL GR_RNG_FN(sqrt)(GR_RNG_REAL w)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL y = GR_RNG_AS_REAL(0x5FE6EB50C7B537A9ul - (GR_RNG_AS_BITS(w) >> 1));
    const GR_RNG_REAL h = w * 0.5;
    for (int step = 0; step < 4; ++step)
        y = y * (1.5 - (h * y) * y);
    return w * y;
}

/* sqrt(2) erfinv(x) / x as a function of w = -log(1 - x**2) */
static GR_RNG_REAL GR_RNG_FN(quotient)(GR_RNG_REAL w)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = GR_RNG_FN(centre_poly)((w - 2.5) * 0.4);
    const GR_RNG_INT far = w >= 5.0;
    if (any(far)) {
        const GR_RNG_REAL s = GR_RNG_FN(sqrt)(w);
        const GR_RNG_REAL middle = GR_RNG_FN(middle_poly)((s - 3.1) * 1.1111111111111112);
        const GR_RNG_REAL tail = GR_RNG_FN(tail_poly)((s - 5.0625) * 0.9411764705882353);
        r = select(r, select(tail, middle, s < 4.0), far);
    }
    return r;
}
#else
static GR_RNG_REAL GR_RNG_FN(log_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(-0.0767364129f);
    r = (r + (GR_RNG_FLOAT)(0.127226725f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.13127555f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.142048553f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.166266456f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.200012341f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.250007808f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.333333313f)) * t;
    return r + (GR_RNG_FLOAT)(-0.49999997f);
}

static GR_RNG_REAL GR_RNG_FN(centre_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(-4.81859242e-05f);
    r = (r + (GR_RNG_FLOAT)(5.03571173e-05f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.000404075749f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.00119599979f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.000686724961f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.0120622134f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.027681604f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0369232856f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.872005045f)) * t;
    return r + (GR_RNG_FLOAT)(2.12331343f);
}

static GR_RNG_REAL GR_RNG_FN(tail_poly)(GR_RNG_REAL t)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = t * (GR_RNG_FLOAT)(-0.000281717104f);
    r = (r + (GR_RNG_FLOAT)(0.000391220732f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.000662679144f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.00204405794f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.00278782286f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.0034193811f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.0044192425f)) * t;
    r = (r + (GR_RNG_FLOAT)(-0.00637436844f)) * t;
    r = (r + (GR_RNG_FLOAT)(0.00796310883f)) * t;
    r = (r + (GR_RNG_FLOAT)(1.78018677f)) * t;
    return r + (GR_RNG_FLOAT)(4.64586926f);
}

static GR_RNG_REAL GR_RNG_FN(minus_log)(GR_RNG_REAL y)
{
    #pragma OPENCL FP_CONTRACT OFF
    const GR_RNG_BITS bits = GR_RNG_AS_BITS(y) + (0x3F800000u - 0x3F3504F3u);
    const GR_RNG_REAL e = GR_RNG_TO_REAL(GR_RNG_CAT(convert_, GR_RNG_INT)(bits >> 23) - 127);
    const GR_RNG_REAL f = GR_RNG_AS_REAL((bits & 0x7FFFFFu) + 0x3F3504F3u) - 1.0f;
    const GR_RNG_REAL log_mantissa = f + (f * f) * GR_RNG_FN(log_poly)(f);
    return -(e * 0.693145751953125f + (log_mantissa + e * 1.42860677e-06f));
}

static GR_RNG_REAL GR_RNG_FN(sqrt)(GR_RNG_REAL w)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL y = GR_RNG_AS_REAL(0x5F3759DFu - (GR_RNG_AS_BITS(w) >> 1));
    const GR_RNG_REAL h = w * 0.5f;
    for (int step = 0; step < 3; ++step)
        y = y * (1.5f - (h * y) * y);
    return w * y;
}

/* sqrt(2) erfinv(x) / x as a function of w = -log(1 - x**2) */
static GR_RNG_REAL GR_RNG_FN(quotient)(GR_RNG_REAL w)
{
    #pragma OPENCL FP_CONTRACT OFF
    GR_RNG_REAL r = GR_RNG_FN(centre_poly)((w - 2.5f) * 0.4f);
    const GR_RNG_INT far = w >= 5.0f;
    if (any(far)) {
        const GR_RNG_REAL s = GR_RNG_FN(sqrt)(w);
        r = select(r, GR_RNG_FN(tail_poly)((s - 3.45f) * 0.8f), far);
    }
    return r;
}
#endif
#endif

static GR_RNG_VALUE GR_RNG_FN(value)(GR_RNG_BITS u, GR_RNG_BITS range, GR_RNG_BITS lo)
{
    #pragma OPENCL FP_CONTRACT OFF
#if defined(GR_ENTRY_philox_uniform_int)
    return GR_RNG_CAT(as_, GR_RNG_INT)(mul_hi(u, range) + lo);
#elif defined(GR_ENTRY_philox_uniform)
#if GR_RNG_OUT == 64
    return GR_RNG_TO_REAL(u >> 11) * 0x1p-53;
#elif GR_RNG_OUT == 16
    return GR_RNG_TO_REAL(u >> 21) * 0x1p-11f;
#else
    return GR_RNG_TO_REAL(u >> 8) * 0x1p-24f;
#endif
#else
    /* the sign, |x| = |2 p - 1|, and q, the distance of p from the nearer end of (0, 1) */
#if GR_RNG_OUT == 64
    const GR_RNG_BITS magnitude = (u >> 11) & 0xFFFFFFFFFFFFFul;
    const GR_RNG_BITS sign = u & 0x8000000000000000ul;
    GR_RNG_REAL x = GR_RNG_TO_REAL((0xFFFFFFFFFFFFFul - magnitude) * 2ul + 1ul) * 0x1p-53;
    const GR_RNG_REAL q = GR_RNG_TO_REAL(magnitude * 2ul + 1ul) * 0x1p-54;
#define GR_RNG_LITERAL(number) number
#else
    const GR_RNG_BITS magnitude = u & 0x7FFFFFFFu;
    const GR_RNG_BITS sign = u & 0x80000000u;
    GR_RNG_REAL x = GR_RNG_TO_REAL((0x7FFFFFFFu - magnitude) * 2u + 1u) * 0x1p-32f;
    const GR_RNG_REAL q = GR_RNG_TO_REAL(magnitude * 2u + 1u) * 0x1p-33f;
#define GR_RNG_LITERAL(number) number##f
#endif
#if defined(GR_ENTRY_philox_normal)
    const GR_RNG_REAL y = (q * GR_RNG_LITERAL(4.0)) * (GR_RNG_LITERAL(1.0) - q);
    const GR_RNG_REAL z = x * GR_RNG_FN(quotient)(GR_RNG_FN(minus_log)(y));
#else
    x = x * GR_RNG_LITERAL(0.9544997361036416);
    const GR_RNG_REAL y = (GR_RNG_LITERAL(1.0) - x) * (GR_RNG_LITERAL(1.0) + x);
    GR_RNG_REAL z = x * GR_RNG_FN(quotient)(GR_RNG_FN(minus_log)(y));
#if GR_RNG_OUT == 64
    const GR_RNG_REAL largest = 1.9999999999999998;
#elif GR_RNG_OUT == 16
    const GR_RNG_REAL largest = 1.99902344f; /* anything nearer to 2 would be stored as 2 */
#else
    const GR_RNG_REAL largest = 1.99999988f;
#endif
    z = select(z, largest, z > largest);
#endif
#undef GR_RNG_LITERAL
    return GR_RNG_AS_REAL(GR_RNG_AS_BITS(z) | sign);
#endif
}

/* Groups of blocks [get_global_id(0) * groups_per_item, ...) of the groups_total that cover n elements. */
__kernel void GR_NAME(
    __global const long *counter, ulong counter_offset,
#if defined(GR_ENTRY_philox_uniform_int)
    __global const GR_RNG_ELEMENT *lo, ulong lo_offset,
    __global const GR_RNG_ELEMENT *hi, ulong hi_offset,
#endif
    __global GR_RNG_ELEMENT *out, ulong out_offset,
    uint key0, uint key1, ulong n, ulong groups_total, ulong groups_per_item)
{
    const ulong first_block = (ulong)counter[counter_offset];
    const ulong begin = get_global_id(0) * groups_per_item;
    const ulong end = min(begin + groups_per_item, groups_total);
    GR_RNG_BITS base = 0;
    GR_RNG_BITS range = 0;
#if defined(GR_ENTRY_philox_uniform_int)
#if GR_RNG_OUT == 64
    base = (GR_RNG_BITS)((ulong)lo[lo_offset]);
    range = (GR_RNG_BITS)((ulong)hi[hi_offset] - (ulong)lo[lo_offset]);
#else
    base = (GR_RNG_BITS)((uint)lo[lo_offset]);
    range = (GR_RNG_BITS)((uint)hi[hi_offset] - (uint)lo[lo_offset]);
#endif
#endif
#if GR_RNG_VW == 16
    const ulong16 lane = (ulong16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif GR_RNG_VW == 8
    const ulong8 lane = (ulong8)(0, 1, 2, 3, 4, 5, 6, 7);
#elif GR_RNG_VW == 4
    const ulong4 lane = (ulong4)(0, 1, 2, 3);
#else
    const ulong2 lane = (ulong2)(0, 1);
#endif
    out += out_offset;
    for (ulong group = begin; group < end; ++group) {
        GR_RNG_UINT words[4];
        GR_RNG_VALUE run[GR_RNG_PER_BLOCK];
        GR_RNG_FN(philox)(lane + (first_block + group * GR_RNG_VW), key0, key1, words);
        /* lanes hold blocks: interleave them to the order of the elements */
#if GR_RNG_OUT == 64
        const GR_RNG_VALUE a = GR_RNG_FN(value)(
            GR_RNG_WIDEN(words[0]) | (GR_RNG_WIDEN(words[1]) << 32), range, base);
        const GR_RNG_VALUE b = GR_RNG_FN(value)(
            GR_RNG_WIDEN(words[2]) | (GR_RNG_WIDEN(words[3]) << 32), range, base);
        run[0].even = a.lo;
        run[0].odd = b.lo;
        run[1].even = a.hi;
        run[1].odd = b.hi;
#else
        const GR_RNG_VALUE a = GR_RNG_FN(value)(words[0], range, base);
        const GR_RNG_VALUE b = GR_RNG_FN(value)(words[1], range, base);
        const GR_RNG_VALUE c = GR_RNG_FN(value)(words[2], range, base);
        const GR_RNG_VALUE d = GR_RNG_FN(value)(words[3], range, base);
        GR_RNG_VALUE even, odd;
        even.even = a.lo;
        even.odd = c.lo;
        odd.even = b.lo;
        odd.odd = d.lo;
        run[0].even = even.lo;
        run[0].odd = odd.lo;
        run[1].even = even.hi;
        run[1].odd = odd.hi;
        even.even = a.hi;
        even.odd = c.hi;
        odd.even = b.hi;
        odd.odd = d.hi;
        run[2].even = even.lo;
        run[2].odd = odd.lo;
        run[3].even = even.hi;
        run[3].odd = odd.hi;
#endif
        const ulong element = group * (GR_RNG_VW * GR_RNG_PER_BLOCK);
        if (element + GR_RNG_VW * GR_RNG_PER_BLOCK <= n) {
            for (int k = 0; k < GR_RNG_PER_BLOCK; ++k)
#if GR_RNG_OUT == 16
                GR_RNG_CAT(GR_RNG_CAT(vstore_half, GR_RNG_VW), _rte)(run[k], k, out + element);
#else
                GR_RNG_VSTORE(run[k], out + element + k * GR_RNG_VW);
#endif
        } else {
#if GR_RNG_OUT == 16
            float rest[GR_RNG_VW * GR_RNG_PER_BLOCK];
#else
            GR_RNG_ELEMENT rest[GR_RNG_VW * GR_RNG_PER_BLOCK];
#endif
            for (int k = 0; k < GR_RNG_PER_BLOCK; ++k)
                GR_RNG_VSTORE(run[k], rest + k * GR_RNG_VW);
            for (int k = 0; element + k < n; ++k)
#if GR_RNG_OUT == 16
                vstore_half_rte(rest[k], element + k, out);
#else
                out[element + k] = rest[k];
#endif
        }
    }
}

#undef GR_RNG_OUT
#undef GR_RNG_VW
#undef GR_RNG_CAT_
#undef GR_RNG_CAT
#undef GR_RNG_FN
#undef GR_RNG_UINT
#undef GR_RNG_ULONG
#undef GR_RNG_PER_BLOCK
#undef GR_RNG_FLOAT
#undef GR_RNG_REAL
#undef GR_RNG_INT
#undef GR_RNG_BITS
#undef GR_RNG_TO_REAL
#undef GR_RNG_AS_REAL
#undef GR_RNG_AS_BITS
#undef GR_RNG_VSTORE
#undef GR_RNG_WIDEN
#undef GR_RNG_VALUE
#undef GR_RNG_ELEMENT
#ifdef GR_RNG_OWN_NAME
#undef GR_RNG_OWN_NAME
#undef GR_NAME
#endif
