/* Two-dimensional convolution and its two gradients.
 *
 * Index convention.  An image is x[n][h][w][c] (NHWC) or x[n][c][h][w] (NCHW), as strides say; a filter is
 * always w[i][j][c][o].  Output pixel (p, q) reads the input pixels (p * stride_h + i * dilation_h - top, ...).
 * Every kernel is a gather: one item writes an output element and nobody else does, and the order of the
 * additions is fixed, so that the same launch gives the same bits.  Offsets are in elements.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>:
 *   conv_halo           copy to contiguous NHWC with a halo of zeros; also changes layout and half to float
 *   conv_pack           copy a filter to panels of GR_CONV_NV * GR_CONV_VW output channels, padded with zeros
 *   conv_tile           a register tile of GR_CONV_MR pixels x one panel; forward, and each phase of the
 *                       gradient of the input, which is a convolution of dy with the filter turned round
 *   conv_filter_tile    gradient of the filter, partial sums over a slice of the images' rows, in tiles of
 *                       GR_CONV_MR rows of the filter's matrix x one panel
 *   conv_filter_total   sum of the slices
 *   conv_plain          forward, one output element at a time: any layout and any number of groups
 *   conv_plain_input    gradient of the input, likewise
 *   conv_plain_filter   gradient of the filter, likewise, partial sums over a slice of the rows
 * The tile kernels want many consecutive pixels an item and suit CPUs; the plain ones suit GPUs.
 *
 * Assumes: sizes of single dimensions fit an int; in conv_tile a row has at least GR_CONV_MR pixels, in
 * conv_filter_tile a run has at least GR_CONV_MR elements and dy at least one panel of channels (the last
 * tile of a row is shifted back instead of read past the end).
 * Defines:
 *   GR_CONV_REAL      float or double: what is computed in, and what scratch holds
 *   GR_CONV_HALF_IN   source elements are half
 *   GR_CONV_HALF_OUT  result elements are half
 *   GR_CONV_PIXEL     conv_tile: elements from one pixel of a tile to the next
 * Tunables:
 *   GR_CONV_VW        vector width, 2, 4, 8 or 16
 *   GR_CONV_NV        vectors of a panel
 *   GR_CONV_MR        rows of a register tile; MR * NV accumulators and NV more should fit the registers
 */
#ifndef GR_CONV_REAL
#define GR_CONV_REAL float
#endif
#ifndef GR_CONV_PIXEL
#define GR_CONV_PIXEL 1
#endif
#ifndef GR_CONV_VW
#define GR_CONV_VW 8
#endif
#ifndef GR_CONV_NV
#define GR_CONV_NV 2
#endif
#ifndef GR_CONV_MR
#define GR_CONV_MR 4
#endif
#ifndef GR_NAME
#define GR_CONV_OWN_NAME
#if defined(GR_ENTRY_conv_halo)
#define GR_NAME conv_halo
#elif defined(GR_ENTRY_conv_pack)
#define GR_NAME conv_pack
#elif defined(GR_ENTRY_conv_tile)
#define GR_NAME conv_tile
#elif defined(GR_ENTRY_conv_filter_tile)
#define GR_NAME conv_filter_tile
#elif defined(GR_ENTRY_conv_filter_total)
#define GR_NAME conv_filter_total
#elif defined(GR_ENTRY_conv_plain_input)
#define GR_NAME conv_plain_input
#elif defined(GR_ENTRY_conv_plain_filter)
#define GR_NAME conv_plain_filter
#else
#define GR_NAME conv_plain
#define GR_ENTRY_conv_plain 1
#endif
#endif

#define GR_CONV_CAT_(a, b) a##b
#define GR_CONV_CAT(a, b) GR_CONV_CAT_(a, b)
#define GR_CONV_VEC GR_CONV_CAT(GR_CONV_REAL, GR_CONV_VW)
#define GR_CONV_VLOAD(p) GR_CONV_CAT(vload, GR_CONV_VW)(0, p)
#define GR_CONV_VSTORE(v, p) GR_CONV_CAT(vstore, GR_CONV_VW)(v, 0, p)
#define GR_CONV_PANEL (GR_CONV_NV * GR_CONV_VW)
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

#if defined(GR_ENTRY_conv_halo)
/* to[n][h][w][c] of (images, height, width, channels) is from[n][h - top][w - left][c], or 0 outside its
 * (from_height, from_width, from_channels).  An item copies `rows_per_item` rows. */
__kernel void GR_NAME(
    __global const GR_CONV_IN *from, ulong from_offset, __global GR_CONV_REAL *to, ulong to_offset,
    uint rows_total, uint rows_per_item, int height, int width, int channels,
    int from_height, int from_width, int from_channels, int top, int left,
    ulong image_stride, ulong row_stride, ulong pixel_stride, ulong channel_stride)
{
    const uint begin = get_global_id(0) * rows_per_item;
    const uint end = min(begin + rows_per_item, rows_total);
    const int first = min(left, width);                                /* pixels before the image */
    const int last = min(left + from_width, width);
    for (uint line = begin; line < end; ++line) {
        const int h = (int)(line % (uint)height) - top;
        __global GR_CONV_REAL *row = to + to_offset + (ulong)line * width * channels;
        if (h < 0 || h >= from_height) {
            for (long k = 0; k < (long)width * channels; ++k)
                row[k] = 0;
            continue;
        }
        __global const GR_CONV_IN *source =
            from + from_offset + (line / (uint)height) * image_stride + h * row_stride;
        for (long k = 0; k < (long)first * channels; ++k)
            row[k] = 0;
        for (long k = (long)last * channels; k < (long)width * channels; ++k)
            row[k] = 0;
        row += (long)first * channels;
        if (channel_stride == 1 && pixel_stride == (ulong)channels && from_channels == channels) {
            for (long k = 0; k < (long)(last - first) * channels; ++k)
                row[k] = GR_CONV_LOAD(source, k);
        } else {
            for (int c = 0; c < from_channels; ++c)
                for (int k = 0; k < last - first; ++k)
                    row[(long)k * channels + c] = GR_CONV_LOAD(source, k * pixel_stride + c * channel_stride);
            for (int c = from_channels; c < channels; ++c)
                for (int k = 0; k < last - first; ++k)
                    row[(long)k * channels + c] = 0;
        }
    }
}
#endif

#if defined(GR_ENTRY_conv_pack)
/* to[panel][i][j][c][lane] is from[base + i * s_i + j * s_j + c * s_c + o * s_o] for
 * o = panel * GR_CONV_PANEL + lane, 0 from `outputs` on.  An item copies one (panel, i, j). */
__kernel void GR_NAME(
    __global const GR_CONV_IN *from, ulong from_offset, __global GR_CONV_REAL *to, ulong to_offset,
    uint items, int taps, int taps_w, int inputs, int outputs, long base, long s_i, long s_j, long s_c,
    long s_o, ulong to_base)
{
    const uint item = get_global_id(0);
    if (item >= items)
        return;
    const int tap = item % (uint)taps;
    const int first = (item / (uint)taps) * GR_CONV_PANEL;
    const int count = min(GR_CONV_PANEL, outputs - first);
    __global const GR_CONV_IN *source =
        from + from_offset + (base + (tap / taps_w) * s_i + (tap % taps_w) * s_j + first * s_o);
    __global GR_CONV_REAL *row = to + to_offset + to_base + (ulong)item * inputs * GR_CONV_PANEL;
    for (int c = 0; c < inputs; ++c, row += GR_CONV_PANEL) {
        for (int o = 0; o < count; ++o)
            row[o] = GR_CONV_LOAD(source, c * s_c + o * s_o);
        for (int o = count; o < GR_CONV_PANEL; ++o)
            row[o] = 0;
    }
}
#endif

#if defined(GR_ENTRY_conv_tile)
/* Item (panel, chunk): `tiles_per_item` tiles of a row's pixels.  A tap (i, j) adds `run` consecutive
 * elements of x per pixel: the channels, or a whole row of the filter where its columns are adjacent. */
__kernel void GR_NAME(
    __global const GR_CONV_REAL *x, ulong x_offset, __global const GR_CONV_REAL *w, ulong w_offset,
    __global GR_CONV_OUT *y, ulong y_offset,
    uint items, uint chunks, uint tiles_total, uint tiles_per_item, uint tiles_per_row, uint rows, int width,
    int outputs, int taps_h, int taps_w, int run,
    ulong x_base, ulong x_image, ulong x_row, ulong x_tap_h, ulong x_tap_w, ulong w_base, ulong w_panel,
    ulong y_base, ulong y_image, ulong y_row, ulong y_pixel, ulong y_channel)
{
    const uint item = get_global_id(0);
    if (item >= items)
        return;
    const uint panel = item / chunks;
    const uint begin = (item % chunks) * tiles_per_item;
    const uint end = min(begin + tiles_per_item, tiles_total);
    const int first_output = panel * GR_CONV_PANEL;
    x += x_offset + x_base;
    y += y_offset + y_base + first_output * y_channel;
    w += w_offset + w_base + panel * w_panel;
    for (uint tile = begin; tile < end; ++tile) {
        const uint line = tile / tiles_per_row;
        const int wanted = (tile % tiles_per_row) * GR_CONV_MR;
        const int start = min(wanted, width - GR_CONV_MR);
        __global const GR_CONV_REAL *corner =
            x + (line / rows) * x_image + (line % rows) * x_row + (ulong)start * GR_CONV_PIXEL;
        __global const GR_CONV_REAL *b = w;
        GR_CONV_VEC sum[GR_CONV_MR][GR_CONV_NV];
        #pragma unroll
        for (int m = 0; m < GR_CONV_MR; ++m)
            #pragma unroll
            for (int v = 0; v < GR_CONV_NV; ++v)
                sum[m][v] = 0;
        for (int i = 0; i < taps_h; ++i) {
            for (int j = 0; j < taps_w; ++j) {
                __global const GR_CONV_REAL *a = corner + i * x_tap_h + j * x_tap_w;
                for (int k = 0; k < run; ++k, b += GR_CONV_PANEL) {
                    GR_CONV_VEC column[GR_CONV_NV];
                    #pragma unroll
                    for (int v = 0; v < GR_CONV_NV; ++v)
                        column[v] = GR_CONV_VLOAD(b + v * GR_CONV_VW);
                    #pragma unroll
                    for (int m = 0; m < GR_CONV_MR; ++m)
                        #pragma unroll
                        for (int v = 0; v < GR_CONV_NV; ++v)
                            sum[m][v] += a[m * GR_CONV_PIXEL + k] * column[v];
                }
            }
        }
        __global GR_CONV_OUT *out =
            y + (line / rows) * y_image + (line % rows) * y_row + (ulong)start * y_pixel;
#ifndef GR_CONV_HALF_OUT
        if (y_channel == 1 && first_output + GR_CONV_PANEL <= outputs) {
            #pragma unroll
            for (int m = 0; m < GR_CONV_MR; ++m)
                if (start + m >= wanted)
                    #pragma unroll
                    for (int v = 0; v < GR_CONV_NV; ++v)
                        GR_CONV_VSTORE(sum[m][v], out + m * y_pixel + v * GR_CONV_VW);
            continue;
        }
#endif
        GR_CONV_REAL spill[GR_CONV_MR][GR_CONV_PANEL];
        #pragma unroll
        for (int m = 0; m < GR_CONV_MR; ++m)
            #pragma unroll
            for (int v = 0; v < GR_CONV_NV; ++v)
                GR_CONV_VSTORE(sum[m][v], spill[m] + v * GR_CONV_VW);
        const int count = min(GR_CONV_PANEL, outputs - first_output);
        if (y_channel == 1) {
            for (int m = wanted - start; m < GR_CONV_MR; ++m)
                for (int o = 0; o < count; ++o)
                    GR_CONV_STORE(spill[m][o], out, m * y_pixel + o);
        } else {
            for (int o = 0; o < count; ++o)
                for (int m = wanted - start; m < GR_CONV_MR; ++m)
                    GR_CONV_STORE(spill[m][o], out, m * y_pixel + o * y_channel);
        }
    }
}
#endif

#if defined(GR_ENTRY_conv_filter_tile)
/* Item (slice, tap, panel).  A slice is units [slice * units / slices, ...) of `rows_per_unit` output rows of
 * one image: small enough to stay in the cache while the tiles of the run pass over it.
 * part[slice][tap][tile][m][panel][lane]; tile and panel that would overhang are shifted back, each into
 * slots of its own. */
__kernel void GR_NAME(
    __global const GR_CONV_REAL *x, ulong x_offset, __global const GR_CONV_REAL *dy, ulong dy_offset,
    __global GR_CONV_REAL *part, ulong part_offset,
    uint items, uint slices, uint taps, uint taps_w, uint panels, uint units, uint units_per_image,
    int rows_per_unit, int rows, int width, int outputs, int run, int tiles,
    ulong x_image, ulong x_row, ulong x_pixel, ulong x_tap_h, ulong x_tap_w, ulong dy_image, ulong dy_row,
    ulong dy_pixel)
{
    const uint item = get_global_id(0);
    if (item >= items)
        return;
    const uint panel = item % panels;
    const uint tap = (item / panels) % taps;
    const uint slice = item / (panels * taps);
    const uint begin = (ulong)slice * units / slices;
    const uint end = (ulong)(slice + 1) * units / slices;
    x += x_offset + (tap / taps_w) * x_tap_h + (tap % taps_w) * x_tap_w;
    dy += dy_offset + min((int)panel * GR_CONV_PANEL, outputs - GR_CONV_PANEL);
    part += part_offset + (ulong)(slice * taps + tap) * tiles * GR_CONV_MR * panels * GR_CONV_PANEL +
        panel * GR_CONV_PANEL;
    const ulong slot = panels * GR_CONV_PANEL;
    for (uint unit = begin; unit < end; ++unit) {
        const uint image = unit / units_per_image;
        const int top = (unit % units_per_image) * rows_per_unit;
        const int bottom = min(top + rows_per_unit, rows);
        for (int tile = 0; tile < tiles; ++tile) {
            __global GR_CONV_REAL *target = part + (ulong)tile * GR_CONV_MR * slot;
            GR_CONV_VEC sum[GR_CONV_MR][GR_CONV_NV];
            if (unit == begin) {
                #pragma unroll
                for (int m = 0; m < GR_CONV_MR; ++m)
                    #pragma unroll
                    for (int v = 0; v < GR_CONV_NV; ++v)
                        sum[m][v] = 0;
            } else {
                #pragma unroll
                for (int m = 0; m < GR_CONV_MR; ++m)
                    #pragma unroll
                    for (int v = 0; v < GR_CONV_NV; ++v)
                        sum[m][v] = GR_CONV_VLOAD(target + m * slot + v * GR_CONV_VW);
            }
            for (int row = top; row < bottom; ++row) {
                __global const GR_CONV_REAL *a =
                    x + image * x_image + row * x_row + min(tile * GR_CONV_MR, run - GR_CONV_MR);
                __global const GR_CONV_REAL *b = dy + image * dy_image + row * dy_row;
                for (int q = 0; q < width; ++q, a += x_pixel, b += dy_pixel) {
                    GR_CONV_VEC column[GR_CONV_NV];
                    #pragma unroll
                    for (int v = 0; v < GR_CONV_NV; ++v)
                        column[v] = GR_CONV_VLOAD(b + v * GR_CONV_VW);
                    #pragma unroll
                    for (int m = 0; m < GR_CONV_MR; ++m)
                        #pragma unroll
                        for (int v = 0; v < GR_CONV_NV; ++v)
                            sum[m][v] += a[m] * column[v];
                }
            }
            #pragma unroll
            for (int m = 0; m < GR_CONV_MR; ++m)
                #pragma unroll
                for (int v = 0; v < GR_CONV_NV; ++v)
                    GR_CONV_VSTORE(sum[m][v], target + m * slot + v * GR_CONV_VW);
        }
    }
}
#endif

#if defined(GR_ENTRY_conv_filter_total)
/* dw[tap][k][o] is the sum over the slices of part; element (tap, k, o) lies where conv_filter_tile put it.
 * dy had `span` channels there.  conv_plain_filter uses it with tile_rows = run and panel_width = outputs, so
 * that nothing is shifted. */
__kernel void GR_NAME(
    __global const GR_CONV_REAL *part, ulong part_offset, __global GR_CONV_OUT *dw, ulong dw_offset,
    ulong count, ulong per_item, uint slices, int run, int outputs, int span, int tile_rows, int tiles,
    int panel_width, int panels)
{
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    const ulong line = (ulong)panels * panel_width;
    const ulong tap_size = line * tiles * tile_rows;
    const ulong slice_size = (count / ((ulong)run * outputs)) * tap_size;
    part += part_offset;
    dw += dw_offset;
    ulong element = begin;
    while (element < end) {
        const int o = element % (uint)outputs;
        const ulong row = element / (uint)outputs;
        const int k = row % (uint)run;
        const int tile = k / tile_rows;
        const int panel = o / panel_width;
        const int m = k - min(tile * tile_rows, run - tile_rows);
        const int lane = o - min(panel * panel_width, span - panel_width);
        __global const GR_CONV_REAL *source = part + (row / (uint)run) * tap_size +
            (ulong)(tile * tile_rows + m) * line + panel * panel_width + lane;
        /* neighbours in the panel need no further division */
        const int left = min(outputs, (panel + 1) * panel_width) - o;
        const int count_here = (int)min((ulong)left, end - element);
        for (int n = 0; n < count_here; ++n) {
            GR_CONV_REAL sum = 0;
            for (uint slice = 0; slice < slices; ++slice)
                sum += source[slice * slice_size + n];
            GR_CONV_STORE(sum, dw, element + n);
        }
        element += count_here;
    }
}
#endif

#if defined(GR_ENTRY_conv_plain)
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_IN *w, ulong w_offset,
    __global GR_CONV_OUT *y, ulong y_offset,
    ulong count, ulong per_item, int nchw, int height, int width, int channels, int rows, int columns,
    int outputs, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
    int top, int left, int inputs_per_group, int outputs_per_group)
{
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
        GR_CONV_STORE(sum, y, element);
    }
}
#endif

#if defined(GR_ENTRY_conv_plain_input)
__kernel void GR_NAME(
    __global const GR_CONV_IN *w, ulong w_offset, __global const GR_CONV_IN *dy, ulong dy_offset,
    __global GR_CONV_OUT *dx, ulong dx_offset,
    ulong count, ulong per_item, int nchw, int height, int width, int channels, int rows, int columns,
    int outputs, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
    int top, int left, int inputs_per_group, int outputs_per_group)
{
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    const ulong dy_channel = nchw ? (ulong)rows * columns : 1;
    const ulong dy_pixel = nchw ? 1 : outputs;
    w += w_offset;
    dx += dx_offset;
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
        GR_CONV_STORE(sum, dx, element);
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
#undef GR_CONV_PIXEL
#undef GR_CONV_VW
#undef GR_CONV_NV
#undef GR_CONV_MR
#undef GR_CONV_CAT_
#undef GR_CONV_CAT
#undef GR_CONV_VEC
#undef GR_CONV_VLOAD
#undef GR_CONV_VSTORE
#undef GR_CONV_PANEL
#undef GR_CONV_IN
#undef GR_CONV_OUT
#undef GR_CONV_LOAD
#undef GR_CONV_STORE
#ifdef GR_CONV_OWN_NAME
#undef GR_CONV_OWN_NAME
#undef GR_NAME
#undef GR_ENTRY_conv_plain
#endif
