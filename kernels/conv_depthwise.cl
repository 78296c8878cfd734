/* Convolution of each channel by itself, and its two gradients, for CPUs: vectors of channels of NHWC images.
 *
 * x[n][h][w][c] has `channels`, a filter is w[i][j][o] and y[n][p][q][o] has channels * GR_DW_TIMES: output o
 * comes from channel o / GR_DW_TIMES.  Output pixel (p, q) reads the input pixels
 * (p * stride_h + i * dilation_h - top, ...); what lies outside the image is left out.  The order of additions is
 * fixed: the same launch gives the same bits.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>; an item makes `per_item` lines:
 *   conv_depthwise          forward, lines are rows of y
 *   conv_depthwise_input    gradient of the input, lines are rows of x
 *   conv_depthwise_filter   gradient of the filter, part[slice][i][j][o]: sums over a slice of the rows of y
 * Defines:
 *   GR_CONV_REAL      float or double: what is computed in
 *   GR_CONV_HALF_IN   source elements are half
 *   GR_CONV_HALF_OUT  result elements are half
 *   GR_DW_TIMES       outputs of a channel
 * Tunables:
 *   W                 vector width, 2, 4, 8 or 16
 *   GR_DW_PIXELS      pixels of a row that share a vector of the filter
 * Epilogue: the first two store through GR_STORE_V and GR_STORE_S, as conv.cl says.
 */
#ifndef GR_CONV_REAL
#define GR_CONV_REAL float
#endif
#ifndef GR_DW_TIMES
#define GR_DW_TIMES 1
#endif
#ifndef W
#define W 8
#endif
#ifndef GR_DW_PIXELS
#define GR_DW_PIXELS 4
#endif
#ifndef GR_NAME
#define GR_CONV_OWN_NAME
#if defined(GR_ENTRY_conv_depthwise_input)
#define GR_NAME conv_depthwise_input
#elif defined(GR_ENTRY_conv_depthwise_filter)
#define GR_NAME conv_depthwise_filter
#else
#define GR_NAME conv_depthwise
#define GR_ENTRY_conv_depthwise 1
#endif
#endif

#define GR_DW_CAT_(a, b) a##b
#define GR_DW_CAT(a, b) GR_DW_CAT_(a, b)
#define GR_DW_VEC GR_DW_CAT(GR_CONV_REAL, W)
#ifdef GR_CONV_HALF_IN
#define GR_CONV_IN half
#define GR_CONV_LOAD(p, k) vload_half(k, p)
/* By way of a variable: PoCL 3.1 takes the address of vectors of halves for one that is aligned to all of them. */
#define GR_DW_VLOAD(p) GR_DW_CAT(GR_NAME, _load)(p)
static inline GR_DW_VEC GR_DW_CAT(GR_NAME, _load)(__global const half *p) {
    const GR_DW_CAT(ushort, W) bits = GR_DW_CAT(gr_vload, W)((__global const ushort *)p);
    return GR_DW_CAT(vload_half, W)(0, (const half *)&bits);
}
#else
#define GR_CONV_IN GR_CONV_REAL
#define GR_CONV_LOAD(p, k) ((p)[k])
#define GR_DW_VLOAD(p) GR_DW_CAT(gr_vload, W)(p)
#endif
#ifdef GR_CONV_HALF_OUT
#define GR_CONV_OUT half
#define GR_CONV_STORE(v, p, k) vstore_half_rte(v, k, p)
#define GR_DW_VSTORE_OUT(v, p) GR_DW_CAT(GR_NAME, _store)(v, p)
static inline void GR_DW_CAT(GR_NAME, _store)(const GR_DW_VEC v, __global half *p) {
    GR_DW_CAT(ushort, W) bits;
    GR_DW_CAT(GR_DW_CAT(vstore_half, W), _rte)(v, 0, (half *)&bits);
    GR_DW_CAT(gr_vstore, W)(bits, (__global ushort *)p);
}
#else
#define GR_CONV_OUT GR_CONV_REAL
#define GR_CONV_STORE(v, p, k) ((p)[k] = (v))
#define GR_DW_VSTORE_OUT(v, p) GR_DW_CAT(gr_vstore, W)(v, p)
#endif
#define GR_OUT y
#ifndef GR_EPILOGUE
#define OUT_TYPE GR_CONV_OUT
#define GR_STORE_V(v, at) GR_DW_VSTORE_OUT(v, GR_OUT + (at))
#define GR_STORE_S(v, at) GR_CONV_STORE(v, GR_OUT, at)
#define GR_EPI_PARAMS
#define GR_EPI_BEGIN
#endif

#if GR_DW_TIMES == 1
#define GR_DW_CHANNELS(p, o) GR_DW_VLOAD((p) + (o))
#else
#define GR_DW_CHANNELS(p, o) GR_DW_CAT(GR_NAME, _channels)(p, o)
#if !defined(GR_ENTRY_conv_depthwise_input)
/* The channels that W outputs from o on come from. */
static inline GR_DW_VEC GR_DW_CAT(GR_NAME, _channels)(__global const GR_CONV_IN *p, int o) {
    GR_CONV_REAL lanes[W];
    for (int l = 0; l < W; ++l)
        lanes[l] = GR_CONV_LOAD(p, (o + l) / GR_DW_TIMES);
    return GR_DW_CAT(gr_vload, W)(lanes);
}
#endif
#endif

/* Which window positions k = begin, begin + 1, ... < end of `kernel` lie in [0, size) when k = 0 lies at first. */
#define GR_DW_FIRST(first, dilation) ((first) < 0 ? ((dilation) - 1 - (first)) / (dilation) : 0)
#define GR_DW_END(first, dilation, size, kernel) \
    ((first) >= (size) ? 0 : min(kernel, ((size) - 1 - (first)) / (dilation) + 1))

#if defined(GR_ENTRY_conv_depthwise)
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_IN *w, ulong w_offset,
    __global OUT_TYPE *y, ulong y_offset,
    uint lines, uint per_item, int height, int width, int channels, int rows, int columns, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left GR_EPI_PARAMS)
{
    const uint begin = get_global_id(0) * per_item;
    const uint end = min(begin + per_item, lines);
    const int outputs = channels * GR_DW_TIMES;
    const ulong tap = (ulong)dilation_w * channels;
    const ulong step = (ulong)stride_w * channels;
    w += w_offset;
    y += y_offset;
    GR_EPI_BEGIN
    for (uint line = begin; line < end; ++line) {
        const int h = (int)(line % (uint)rows) * stride_h - top;
        const int i0 = GR_DW_FIRST(h, dilation_h);
        const int i1 = GR_DW_END(h, dilation_h, height, kernel_h);
        __global const GR_CONV_IN *image = x + x_offset + (ulong)(line / (uint)rows) * height * width * channels;
        for (int q = 0; q < columns;) {
            const int v = q * stride_w - left;
            const int j0 = GR_DW_FIRST(v, dilation_w);
            const int j1 = GR_DW_END(v, dilation_w, width, kernel_w);
            const int last = v + (GR_DW_PIXELS - 1) * stride_w + (kernel_w - 1) * dilation_w;
            const bool several = j0 == 0 && last < width && q + GR_DW_PIXELS <= columns;
            const ulong at = ((ulong)line * columns + q) * outputs;
            int o = 0;
            for (; o + W <= outputs; o += W) {
                GR_DW_VEC sum[GR_DW_PIXELS];
                for (int t = 0; t < GR_DW_PIXELS; ++t)
                    sum[t] = (GR_DW_VEC)(0);
                for (int i = i0; i < i1; ++i) {
                    __global const GR_CONV_IN *b = w + (ulong)(i * kernel_w + j0) * outputs + o;
                    __global const GR_CONV_IN *a =
                        image + ((long)(h + i * dilation_h) * width + v + j0 * dilation_w) * channels;
                    for (int j = j0; j < j1; ++j, a += tap, b += outputs) {
                        const GR_DW_VEC f = GR_DW_VLOAD(b);
                        if (several) {
                            for (int t = 0; t < GR_DW_PIXELS; ++t)
                                sum[t] += GR_DW_CHANNELS(a + t * step, o) * f;
                        } else {
                            sum[0] += GR_DW_CHANNELS(a, o) * f;
                        }
                    }
                }
                for (int t = 0; t < (several ? GR_DW_PIXELS : 1); ++t)
                    GR_STORE_V(sum[t], at + (ulong)t * outputs + o);
            }
            for (; o < outputs; ++o) {
                for (int t = 0; t < (several ? GR_DW_PIXELS : 1); ++t) {
                    GR_CONV_REAL sum = 0;
                    for (int i = i0; i < i1; ++i)
                        for (int j = j0; j < j1; ++j)
                            sum += GR_CONV_LOAD(image, ((long)(h + i * dilation_h) * width + v + t * stride_w +
                                                        j * dilation_w) * channels + o / GR_DW_TIMES) *
                                GR_CONV_LOAD(w, (ulong)(i * kernel_w + j) * outputs + o);
                    GR_STORE_S(sum, at + (ulong)t * outputs + o);
                }
            }
            q += several ? GR_DW_PIXELS : 1;
        }
    }
}
#endif

#if defined(GR_ENTRY_conv_depthwise_input)
/* Input row h meets filter rows i = first, first + period, ... whose output row is (h + top - i * dilation) /
 * stride; `period` is stride / gcd(stride, dilation).  Sets the first and the end, or an empty range. */
#define GR_DW_PHASE(k0, k1, at, stride, dilation, period, kernel, size) \
    int k0 = 0; \
    while (k0 < (period) && ((at) - k0 * (dilation)) % (stride)) \
        ++k0; \
    int k1 = (at) < 0 ? 0 : min(kernel, (at) / (dilation) + 1); \
    if (k0 == (period)) \
        k1 = 0; \
    while (k0 < k1 && ((at) - k0 * (dilation)) / (stride) >= (size)) \
        k0 += (period);

__kernel void GR_NAME(
    __global const GR_CONV_IN *w, ulong w_offset, __global const GR_CONV_IN *dy, ulong dy_offset,
    __global OUT_TYPE *y, ulong y_offset,
    uint lines, uint per_item, int height, int width, int channels, int rows, int columns, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left, int period_h,
    int period_w GR_EPI_PARAMS)
{
    const uint begin = get_global_id(0) * per_item;
    const uint end = min(begin + per_item, lines);
    const int outputs = channels * GR_DW_TIMES;
    w += w_offset;
    y += y_offset;
    GR_EPI_BEGIN
    for (uint line = begin; line < end; ++line) {
        const int p = (int)(line % (uint)height) + top;
        GR_DW_PHASE(i0, i1, p, stride_h, dilation_h, period_h, kernel_h, rows)
        __global const GR_CONV_IN *image = dy + dy_offset + (ulong)(line / (uint)height) * rows * columns * outputs;
        for (int v = 0; v < width; ++v) {
            const int q = v + left;
            GR_DW_PHASE(j0, j1, q, stride_w, dilation_w, period_w, kernel_w, columns)
            const ulong at = ((ulong)line * width + v) * channels;
            int c = 0;
            for (; c + W <= channels; c += W) {
                GR_DW_VEC sum = (GR_DW_VEC)(0);
                for (int i = i0; i < i1; i += period_h)
                    for (int j = j0; j < j1; j += period_w) {
                        __global const GR_CONV_IN *a = image + (ulong)c * GR_DW_TIMES +
                            ((ulong)((p - i * dilation_h) / stride_h) * columns + (q - j * dilation_w) / stride_w) *
                                outputs;
                        __global const GR_CONV_IN *b = w + (ulong)(i * kernel_w + j) * outputs + c * GR_DW_TIMES;
#if GR_DW_TIMES == 1
                        sum += GR_DW_VLOAD(a) * GR_DW_VLOAD(b);
#else
                        GR_CONV_REAL lanes[W];
                        for (int l = 0; l < W; ++l) {
                            lanes[l] = 0;
                            for (int m = 0; m < GR_DW_TIMES; ++m)
                                lanes[l] += GR_CONV_LOAD(a, l * GR_DW_TIMES + m) * GR_CONV_LOAD(b, l * GR_DW_TIMES + m);
                        }
                        sum += GR_DW_CAT(gr_vload, W)(lanes);
#endif
                    }
                GR_STORE_V(sum, at + c);
            }
            for (; c < channels; ++c) {
                GR_CONV_REAL sum = 0;
                for (int i = i0; i < i1; i += period_h)
                    for (int j = j0; j < j1; j += period_w)
                        for (int m = 0; m < GR_DW_TIMES; ++m)
                            sum += GR_CONV_LOAD(image, ((ulong)((p - i * dilation_h) / stride_h) * columns +
                                                        (q - j * dilation_w) / stride_w) * outputs +
                                                           c * GR_DW_TIMES + m) *
                                GR_CONV_LOAD(w, (ulong)(i * kernel_w + j) * outputs + c * GR_DW_TIMES + m);
                GR_STORE_S(sum, at + c);
            }
        }
    }
}
#undef GR_DW_PHASE
#endif

#if defined(GR_ENTRY_conv_depthwise_filter)
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_IN *dy, ulong dy_offset,
    __global GR_CONV_REAL *part, ulong part_offset,
    uint lines, uint per_item, int height, int width, int channels, int rows, int columns, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left)
{
    const uint begin = get_global_id(0) * per_item;
    const uint end = min(begin + per_item, lines);
    const int outputs = channels * GR_DW_TIMES;
    const ulong taps = (ulong)kernel_h * kernel_w * outputs;
    const ulong step = (ulong)stride_w * channels;
    part += part_offset + get_global_id(0) * taps;
    for (ulong k = 0; k < taps; ++k)
        part[k] = 0;
    for (uint line = begin; line < end; ++line) {
        const int h = (int)(line % (uint)rows) * stride_h - top;
        const int i1 = GR_DW_END(h, dilation_h, height, kernel_h);
        __global const GR_CONV_IN *image = x + x_offset + (ulong)(line / (uint)rows) * height * width * channels;
        __global const GR_CONV_IN *row = dy + dy_offset + (ulong)line * columns * outputs;
        for (int i = GR_DW_FIRST(h, dilation_h); i < i1; ++i)
            for (int j = 0; j < kernel_w; ++j) {
                /* pixels q whose window pixel j is a real one */
                const int v = j * dilation_w - left;
                const int q0 = GR_DW_FIRST(v, stride_w);
                const int q1 = GR_DW_END(v, stride_w, width, columns);
                __global const GR_CONV_IN *pixel =
                    image + ((long)(h + i * dilation_h) * width + v + q0 * stride_w) * channels;
                __global GR_CONV_REAL *target = part + (ulong)(i * kernel_w + j) * outputs;
                int o = 0;
                for (; o + W <= outputs; o += W) {
                    GR_DW_VEC sum = GR_DW_CAT(gr_vload, W)(target + o);
                    __global const GR_CONV_IN *a = pixel;
                    __global const GR_CONV_IN *b = row + (ulong)q0 * outputs + o;
                    for (int q = q0; q < q1; ++q, a += step, b += outputs)
                        sum += GR_DW_CHANNELS(a, o) * GR_DW_VLOAD(b);
                    GR_DW_CAT(gr_vstore, W)(sum, target + o);
                }
                for (; o < outputs; ++o) {
                    GR_CONV_REAL sum = target[o];
                    for (int q = q0; q < q1; ++q)
                        sum += GR_CONV_LOAD(pixel, (ulong)(q - q0) * step + o / GR_DW_TIMES) *
                            GR_CONV_LOAD(row, (ulong)q * outputs + o);
                    target[o] = sum;
                }
            }
    }
}
#endif

#undef GR_CONV_REAL
#undef GR_CONV_IN
#undef GR_CONV_OUT
#undef GR_CONV_LOAD
#undef GR_CONV_STORE
#undef GR_DW_CAT_
#undef GR_DW_CAT
#undef GR_DW_VEC
#undef GR_DW_VLOAD
#undef GR_DW_VSTORE_OUT
#undef GR_DW_CHANNELS
#undef GR_DW_FIRST
#undef GR_DW_END
#undef GR_DW_TIMES
#undef GR_DW_PIXELS
#undef W
#undef GR_OUT
#ifndef GR_EPILOGUE
#undef OUT_TYPE
#undef GR_STORE_V
#undef GR_STORE_S
#undef GR_EPI_PARAMS
#undef GR_EPI_BEGIN
#endif
#ifdef GR_CONV_OWN_NAME
#undef GR_CONV_OWN_NAME
#undef GR_NAME
#undef GR_ENTRY_conv_depthwise
#endif
