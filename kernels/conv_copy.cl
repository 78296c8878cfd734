/* What surrounds the tile kernels of conv.cl: copies that rearrange, and the sum of partial filter gradients.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>:
 *   conv_halo           copy to contiguous NHWC with a halo of zeros; also changes layout and half to float
 *   conv_pack           copy a filter to panels of GR_CONV_NV * W output channels, padded with zeros
 *   conv_pack_dot       copy a filter of few outputs to vectors of inputs
 *   conv_filter_total   sum of the slices that conv_filter_tile, conv_plain_filter and depthwise_filter left
 * Offsets are in elements; an image is x[n][h][w][c] or x[n][c][h][w], as strides say, a filter w[i][j][c][o].
 * Defines:
 *   GR_CONV_REAL      float or double: what is computed in, and what scratch holds
 *   GR_CONV_HALF_IN   source elements are half
 *   GR_CONV_HALF_OUT  result elements are half
 * Tunables, which have to be those of the tile kernel that reads the packed filter:
 *   W                 vector width, 2, 4, 8 or 16
 *   GR_CONV_NV        vectors of a panel
 */
#ifndef GR_CONV_REAL
#define GR_CONV_REAL float
#endif
#ifndef W
#define W 8
#endif
#ifndef GR_CONV_NV
#define GR_CONV_NV 2
#endif
#ifndef GR_NAME
#define GR_CONV_OWN_NAME
#if defined(GR_ENTRY_conv_pack)
#define GR_NAME conv_pack
#elif defined(GR_ENTRY_conv_pack_dot)
#define GR_NAME conv_pack_dot
#elif defined(GR_ENTRY_conv_filter_total)
#define GR_NAME conv_filter_total
#else
#define GR_NAME conv_halo
#define GR_ENTRY_conv_halo 1
#endif
#endif

#define GR_CONV_CAT_(a, b) a##b
#define GR_CONV_CAT(a, b) GR_CONV_CAT_(a, b)
#define GR_CONV_VEC GR_CONV_CAT(GR_CONV_REAL, W)
#define GR_CONV_VLOAD(p) GR_CONV_CAT(gr_vload, W)(p)
#define GR_CONV_VSTORE(v, p) GR_CONV_CAT(gr_vstore, W)(v, p)
#define GR_CONV_PANEL (GR_CONV_NV * W)
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
#define GR_CONV_VSTORE_OUT(v, p) GR_CONV_CAT(GR_CONV_CAT(vstore_half, W), _rte)(v, 0, p)
#else
#define GR_CONV_OUT GR_CONV_REAL
#define GR_CONV_STORE(v, p, k) ((p)[k] = (v))
#define GR_CONV_VSTORE_OUT(v, p) GR_CONV_VSTORE(v, p)
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
            GR_REST
            for (long k = 0; k < (long)width * channels; ++k)
                row[k] = 0;
            continue;
        }
        __global const GR_CONV_IN *source =
            from + from_offset + (line / (uint)height) * image_stride + h * row_stride;
        GR_REST
        for (long k = 0; k < (long)first * channels; ++k)
            row[k] = 0;
        GR_REST
        for (long k = (long)last * channels; k < (long)width * channels; ++k)
            row[k] = 0;
        row += (long)first * channels;
        if (channel_stride == 1 && pixel_stride == (ulong)channels && from_channels == channels) {
            for (long k = 0; k < (long)(last - first) * channels; ++k)
                row[k] = GR_CONV_LOAD(source, k);
        } else {
            for (int c = 0; c < from_channels; ++c)
                GR_REST
                for (int k = 0; k < last - first; ++k)
                    row[(long)k * channels + c] = GR_CONV_LOAD(source, k * pixel_stride + c * channel_stride);
            for (int c = from_channels; c < channels; ++c)
                GR_REST
                for (int k = 0; k < last - first; ++k)
                    row[(long)k * channels + c] = 0;
        }
    }
}
#endif

#if defined(GR_ENTRY_conv_pack)
/* to[group][panel][i][j][c][lane] is from[base + group * s_g + i * s_i + j * s_j + c * s_c + o * s_o] for
 * o = panel * GR_CONV_PANEL + lane, 0 from `outputs` on.  An item copies one (group, panel, i, j). */
__kernel void GR_NAME(
    __global const GR_CONV_IN *from, ulong from_offset, __global GR_CONV_REAL *to, ulong to_offset,
    int panels, int taps, int taps_w, int inputs, int outputs, long base, long s_g, long s_i, long s_j, long s_c,
    long s_o, ulong to_base)
{
    const uint item = get_global_id(0);
    const int tap = item % (uint)taps;
    const int first = item / (uint)taps % panels * GR_CONV_PANEL;
    const int count = min(GR_CONV_PANEL, outputs - first);
    __global const GR_CONV_IN *source =
        from + from_offset +
        (base + (item / (uint)taps / panels) * s_g + (tap / taps_w) * s_i + (tap % taps_w) * s_j + first * s_o);
    __global GR_CONV_REAL *row = to + to_offset + to_base + (ulong)item * inputs * GR_CONV_PANEL;
    if (s_o == 1) {
        for (int c = 0; c < inputs; ++c, row += GR_CONV_PANEL, source += s_c) {
            for (int o = 0; o < count; ++o)
                row[o] = GR_CONV_LOAD(source, o);
            GR_REST
            for (int o = count; o < GR_CONV_PANEL; ++o)
                row[o] = 0;
        }
    } else {
        for (int o = 0; o < count; ++o, source += s_o)
            GR_REST
            for (int c = 0; c < inputs; ++c)
                row[c * GR_CONV_PANEL + o] = GR_CONV_LOAD(source, c * s_c);
        for (int o = count; o < GR_CONV_PANEL; ++o)
            GR_REST
            for (int c = 0; c < inputs; ++c)
                row[c * GR_CONV_PANEL + o] = 0;
    }
}
#endif

#if defined(GR_ENTRY_conv_pack_dot)
/* to[i][j][c / W][o][lane] is from[base + i * s_i + j * s_j + c * s_c + o * s_o] for o < outputs and
 * c = (c / W) * W + lane.  An item copies one (i, j). */
__kernel void GR_NAME(
    __global const GR_CONV_IN *from, ulong from_offset, __global GR_CONV_REAL *to, ulong to_offset,
    int taps_w, int inputs, int outputs, long base, long s_i, long s_j, long s_c, long s_o, ulong to_base)
{
    const int tap = get_global_id(0);
    from += from_offset + base + (tap / taps_w) * s_i + (tap % taps_w) * s_j;
    to += to_offset + to_base + (ulong)tap * inputs * outputs;
    for (int o = 0; o < outputs; ++o)
        GR_REST
        for (int c = 0; c < inputs; ++c)
            to[(c / W * outputs + o) * W + c % W] =
                GR_CONV_LOAD(from, c * s_c + o * s_o);
}
#endif

#if defined(GR_ENTRY_conv_filter_total)
/* dw[tap][k][o] is the sum over the slices of part, in the order of the slices; element (tap, k, o) lies where
 * conv_filter_tile put it.  `outputs` of a group are stored, dy had `span` channels a group there. */
__kernel void GR_NAME(
    __global const GR_CONV_REAL *part, ulong part_offset, __global GR_CONV_OUT *dw, ulong dw_offset,
    ulong count, ulong per_item, uint slices, uint groups, int taps, int run, int outputs, int span,
    int tile_rows, int tiles, int panel_width, int panels)
{
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    const ulong line = (ulong)panels * panel_width;
    const ulong tap_size = line * tiles * tile_rows;
    const ulong group_size = tap_size * taps;
    const ulong slice_size = group_size * groups;
    part += part_offset;
    dw += dw_offset;
    ulong element = begin;
    while (element < end) {
        const uint column = element % (groups * outputs);
        const ulong row = element / (groups * outputs);
        const int o = column % outputs;
        const int k = row % (uint)run;
        const int tile = k / tile_rows;
        const int panel = o / panel_width;
        const int m = k - min(tile * tile_rows, run - tile_rows);
        const int lane = o - min(panel * panel_width, span - panel_width);
        __global const GR_CONV_REAL *source = part + column / outputs * group_size +
            (row / (uint)run) * tap_size + (ulong)(tile * tile_rows + m) * line + panel * panel_width + lane;
        /* neighbours in the panel need no further division */
        const int left = min(outputs, (panel + 1) * panel_width) - o;
        const int here = (int)min((ulong)left, end - element);
        int n = 0;
        for (; n + W <= here; n += W) {
            GR_CONV_VEC sum = 0;
            for (uint slice = 0; slice < slices; ++slice)
                sum += GR_CONV_VLOAD(source + slice * slice_size + n);
            GR_CONV_VSTORE_OUT(sum, dw + element + n);
        }
        GR_REST
        for (; n < here; ++n) {
            GR_CONV_REAL sum = 0;
            GR_REST
            for (uint slice = 0; slice < slices; ++slice)
                sum += source[slice * slice_size + n];
            GR_CONV_STORE(sum, dw, element + n);
        }
        element += here;
    }
}
#endif

#undef GR_CONV_REAL
#undef W
#undef GR_CONV_NV
#undef GR_CONV_CAT_
#undef GR_CONV_CAT
#undef GR_CONV_VEC
#undef GR_CONV_VLOAD
#undef GR_CONV_VSTORE
#undef GR_CONV_VSTORE_OUT
#undef GR_CONV_PANEL
#undef GR_CONV_IN
#undef GR_CONV_OUT
#undef GR_CONV_LOAD
#undef GR_CONV_STORE
#ifdef GR_CONV_OWN_NAME
#undef GR_CONV_OWN_NAME
#undef GR_NAME
#undef GR_ENTRY_conv_halo
#endif
