/* Two-dimensional convolution and its two gradients, one output element at a time: any layout, any groups.
 *
 * An image is x[n][h][w][c] (NHWC) or x[n][c][h][w] (NCHW), a filter w[i][j][c][o].  Output pixel (p, q) reads
 * the input pixels (p * stride_h + i * dilation_h - top, ...).  Every kernel is a gather in a fixed order.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>:
 *   conv_plain          forward
 *   conv_plain_input    gradient of the input
 *   conv_plain_filter   gradient of the filter, partial sums over a slice of the rows
 * Defines:
 *   GR_CONV_REAL      float or double: what is computed in
 *   GR_CONV_HALF_IN   source elements are half
 *   GR_CONV_HALF_OUT  result elements are half
 * Epilogue: the first two store through GR_STORE_S(v, at), as conv.cl says.
 */
#ifndef GR_CONV_REAL
#define GR_CONV_REAL float
#endif
#ifndef GR_NAME
#define GR_CONV_OWN_NAME
#if defined(GR_ENTRY_conv_plain_input)
#define GR_NAME conv_plain_input
#elif defined(GR_ENTRY_conv_plain_filter)
#define GR_NAME conv_plain_filter
#else
#define GR_NAME conv_plain
#define GR_ENTRY_conv_plain 1
#endif
#endif

#ifdef GR_CONV_HALF_IN
#define GR_CONV_IN half
#define GR_CONV_LOAD(p, k) vload_half(k, p)
#else
#define GR_CONV_IN GR_CONV_REAL
#define GR_CONV_LOAD(p, k) ((p)[k])
#endif
#ifdef GR_CONV_HALF_OUT
#define GR_CONV_OUT half
#define GR_CONV_STORE(v, p, k) vstore_half_rte(v, k, p)
#else
#define GR_CONV_OUT GR_CONV_REAL
#define GR_CONV_STORE(v, p, k) ((p)[k] = (v))
#endif
#define GR_OUT y
#ifndef GR_EPILOGUE
#define OUT_TYPE GR_CONV_OUT
#define GR_STORE_S(v, at) GR_CONV_STORE(v, GR_OUT, at)
#define GR_EPI_PARAMS
#define GR_EPI_BEGIN
#endif

#if defined(GR_ENTRY_conv_plain)
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_IN *w, ulong w_offset,
    __global OUT_TYPE *y, ulong y_offset,
    ulong count, ulong per_item, int nchw, int height, int width, int channels, int rows, int columns,
    int outputs, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
    int top, int left, int inputs_per_group, int outputs_per_group GR_EPI_PARAMS)
{
    GR_EPI_BEGIN
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    const ulong x_channel = nchw ? (ulong)height * width : 1;
    const ulong x_pixel = nchw ? 1 : channels;
    w += w_offset;
    y += y_offset;
    for (ulong element = begin; element < end; ++element) {
        ulong rest = element;
        int o, p, q;
        if (nchw) {
            q = rest % (uint)columns;
            rest /= (uint)columns;
            p = rest % (uint)rows;
            rest /= (uint)rows;
            o = rest % (uint)outputs;
            rest /= (uint)outputs;
        } else {
            o = rest % (uint)outputs;
            rest /= (uint)outputs;
            q = rest % (uint)columns;
            rest /= (uint)columns;
            p = rest % (uint)rows;
            rest /= (uint)rows;
        }
        __global const GR_CONV_IN *image = x + x_offset + rest * ((ulong)height * width * channels) +
            (ulong)(o / outputs_per_group) * inputs_per_group * x_channel;
        GR_CONV_REAL sum = 0;
        for (int i = 0; i < kernel_h; ++i) {
            const int h = p * stride_h + i * dilation_h - top;
            if (h < 0 || h >= height)
                continue;
            for (int j = 0; j < kernel_w; ++j) {
                const int v = q * stride_w + j * dilation_w - left;
                if (v < 0 || v >= width)
                    continue;
                __global const GR_CONV_IN *a = image + ((ulong)h * width + v) * x_pixel;
                __global const GR_CONV_IN *b = w + (ulong)(i * kernel_w + j) * inputs_per_group * outputs + o;
                for (int c = 0; c < inputs_per_group; ++c)
                    sum += GR_CONV_LOAD(a, c * x_channel) * GR_CONV_LOAD(b, (ulong)c * outputs);
            }
        }
        GR_STORE_S(sum, element);
    }
}
#endif

#if defined(GR_ENTRY_conv_plain_input)
__kernel void GR_NAME(
    __global const GR_CONV_IN *w, ulong w_offset, __global const GR_CONV_IN *dy, ulong dy_offset,
    __global OUT_TYPE *y, ulong y_offset,
    ulong count, ulong per_item, int nchw, int height, int width, int channels, int rows, int columns,
    int outputs, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
    int top, int left, int inputs_per_group, int outputs_per_group GR_EPI_PARAMS)
{
    GR_EPI_BEGIN
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    const ulong dy_channel = nchw ? (ulong)rows * columns : 1;
    const ulong dy_pixel = nchw ? 1 : outputs;
    w += w_offset;
    y += y_offset;
    for (ulong element = begin; element < end; ++element) {
        ulong rest = element;
        int c, h, v;
        if (nchw) {
            v = rest % (uint)width;
            rest /= (uint)width;
            h = rest % (uint)height;
            rest /= (uint)height;
            c = rest % (uint)channels;
            rest /= (uint)channels;
        } else {
            c = rest % (uint)channels;
            rest /= (uint)channels;
            v = rest % (uint)width;
            rest /= (uint)width;
            h = rest % (uint)height;
            rest /= (uint)height;
        }
        const int first_output = (c / inputs_per_group) * outputs_per_group;
        __global const GR_CONV_IN *image =
            dy + dy_offset + rest * ((ulong)rows * columns * outputs) + first_output * dy_channel;
        GR_CONV_REAL sum = 0;
        for (int i = 0; i < kernel_h; ++i) {
            const int p = h + top - i * dilation_h;
            if (p < 0 || p % stride_h || p / stride_h >= rows)
                continue;
            for (int j = 0; j < kernel_w; ++j) {
                const int q = v + left - j * dilation_w;
                if (q < 0 || q % stride_w || q / stride_w >= columns)
                    continue;
                __global const GR_CONV_IN *a =
                    image + ((ulong)(p / stride_h) * columns + q / stride_w) * dy_pixel;
                __global const GR_CONV_IN *b =
                    w + ((ulong)(i * kernel_w + j) * inputs_per_group + c % inputs_per_group) * outputs +
                    first_output;
                for (int o = 0; o < outputs_per_group; ++o)
                    sum += GR_CONV_LOAD(a, o * dy_channel) * GR_CONV_LOAD(b, o);
            }
        }
        GR_STORE_S(sum, element);
    }
}
#endif

#if defined(GR_ENTRY_conv_plain_filter)
/* part[slice][i][j][c][o]: sums over output rows [slice * lines / slices, ...) of all images. */
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_IN *dy, ulong dy_offset,
    __global GR_CONV_REAL *part, ulong part_offset,
    ulong count, ulong per_item, uint slices, uint lines, int nchw, int height, int width, int channels,
    int rows, int columns, int outputs, int kernel_h, int kernel_w, int stride_h, int stride_w,
    int dilation_h, int dilation_w, int top, int left, int inputs_per_group, int outputs_per_group)
{
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count * slices);
    const ulong x_channel = nchw ? (ulong)height * width : 1;
    const ulong x_pixel = nchw ? 1 : channels;
    const ulong dy_channel = nchw ? (ulong)rows * columns : 1;
    const ulong dy_pixel = nchw ? 1 : outputs;
    part += part_offset;
    for (ulong element = begin; element < end; ++element) {
        ulong rest = element;
        const int o = rest % (uint)outputs;
        rest /= (uint)outputs;
        const int c = rest % (uint)inputs_per_group;
        rest /= (uint)inputs_per_group;
        const int j = rest % (uint)kernel_w;
        rest /= (uint)kernel_w;
        const int i = rest % (uint)kernel_h;
        const ulong slice = rest / (uint)kernel_h;
        const uint last = (slice + 1) * lines / slices;
        __global const GR_CONV_IN *a0 = x + x_offset +
            ((ulong)(o / outputs_per_group) * inputs_per_group + c) * x_channel;
        __global const GR_CONV_IN *b0 = dy + dy_offset + o * dy_channel;
        GR_CONV_REAL sum = 0;
        for (uint line = slice * lines / slices; line < last; ++line) {
            const int p = line % (uint)rows;
            const ulong image = line / (uint)rows;
            const int h = p * stride_h + i * dilation_h - top;
            if (h < 0 || h >= height)
                continue;
            __global const GR_CONV_IN *a =
                a0 + image * ((ulong)height * width * channels) + (ulong)h * width * x_pixel;
            __global const GR_CONV_IN *b =
                b0 + image * ((ulong)rows * columns * outputs) + (ulong)p * columns * dy_pixel;
            for (int q = 0; q < columns; ++q) {
                const int v = q * stride_w + j * dilation_w - left;
                if (v >= 0 && v < width)
                    sum += GR_CONV_LOAD(a, v * x_pixel) * GR_CONV_LOAD(b, q * dy_pixel);
            }
        }
        part[element] = sum;
    }
}
#endif

#undef GR_CONV_REAL
#undef GR_CONV_IN
#undef GR_CONV_OUT
#undef GR_CONV_LOAD
#undef GR_CONV_STORE
#undef GR_OUT
#ifndef GR_EPILOGUE
#undef OUT_TYPE
#undef GR_STORE_S
#undef GR_EPI_PARAMS
#undef GR_EPI_BEGIN
#endif
#ifdef GR_CONV_OWN_NAME
#undef GR_CONV_OWN_NAME
#undef GR_NAME
#undef GR_ENTRY_conv_plain
#endif
