/* Two-dimensional convolution and its two gradients, for CPUs: register tiles over many consecutive pixels.
 *
 * Index convention.  An image is x[n][h][w][c] (NHWC) or x[n][c][h][w] (NCHW), as strides say; a filter is
 * always w[i][j][c][o].  Channels may form groups that do not mix.  Output pixel (p, q) reads the source pixels
 * (p * step_h + shift_h + i * spacing_h, q * step_w + shift_w + j * spacing_w); what lies outside the image is 0.
 * Filter rows that lie outside are skipped, filter columns outside meet zeros: a NaN of the filter that meets
 * padding may or may not show.  The order of additions is fixed: the same launch gives the same bits.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry> (conv_copy.cl has what packs for them and sums up):
 *   conv_tile           a register tile of GR_CONV_MR pixels x one panel; forward, and each phase of the
 *                       gradient of the input, which is a convolution of dy with the filter turned round.
 *                       With GR_CONV_DOT, of pixels x that many outputs, each a dot product in vectors.
 *   conv_filter_tile    gradient of the filter, partial sums over a slice of the images' rows, in tiles of
 *                       GR_CONV_MR rows of the filter's matrix x one panel
 * With GR_CONV_RING the tile kernels gather the source's rows into a ring of rows in local memory, with zeros
 * at both ends; else they read the source as it lies, and every pixel that a tap reads must be there.  All want
 * local size 1.
 *
 * Epilogue: conv_tile stores through GR_STORE_V(v, at), a vector of W outputs, and GR_STORE_S(v, at), one; `at`
 * counts elements of the output.  Who defines GR_EPILOGUE before this text defines them, OUT_TYPE,
 * GR_EPI_PARAMS and GR_EPI_BEGIN, to store something else than the sums (see kernels/README.md).
 *
 * Assumes: sizes of single dimensions fit an int; in conv_tile a row has at least GR_CONV_MR pixels, in
 * conv_filter_tile a run has at least GR_CONV_MR elements and dy at least one panel of channels in a group (the
 * last tile of a row is shifted back instead of read past the end).
 * Defines:
 *   GR_CONV_REAL      float or double: what is computed in, and what scratch holds
 *   GR_CONV_HALF_IN   source elements are half
 *   GR_CONV_HALF_OUT  result elements are half
 *   GR_CONV_PIXEL     conv_tile: elements from one pixel of a tile to the next, where the taps read
 *   GR_CONV_RING      elements of the ring
 * Tunables:
 *   W                 vector width, 2, 4, 8 or 16
 *   GR_CONV_NV        vectors of a panel
 *   GR_CONV_MR        rows of a register tile; MR * NV accumulators and NV more should fit the registers
 *   GR_CONV_DOT       outputs of a tile of dot products, 1 to 4; runs are multiples of W then
 */
#ifndef GR_CONV_REAL
#define GR_CONV_REAL float
#endif
#ifndef GR_CONV_PIXEL
#define GR_CONV_PIXEL 1
#endif
#ifndef W
#define W 8
#endif
#ifndef GR_CONV_NV
#define GR_CONV_NV 2
#endif
#ifndef GR_CONV_MR
#define GR_CONV_MR 4
#endif
#ifndef GR_NAME
#define GR_CONV_OWN_NAME
#if defined(GR_ENTRY_conv_filter_tile)
#define GR_NAME conv_filter_tile
#else
#define GR_NAME conv_tile
#define GR_ENTRY_conv_tile 1
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
/* By way of a variable: PoCL 3.1 takes the address of vectors of halves for one that is aligned to all of them. */
#define GR_CONV_VSTORE_OUT(v, p) GR_CONV_CAT(GR_NAME, _store)(v, p)
static inline void GR_CONV_CAT(GR_NAME, _store)(const GR_CONV_VEC v, __global half *p) {
    GR_CONV_CAT(ushort, W) bits;
    GR_CONV_CAT(GR_CONV_CAT(vstore_half, W), _rte)(v, 0, (half *)&bits);
    GR_CONV_CAT(gr_vstore, W)(bits, (__global ushort *)p);
}
#else
#define GR_CONV_OUT GR_CONV_REAL
#define GR_CONV_STORE(v, p, k) ((p)[k] = (v))
#define GR_CONV_VSTORE_OUT(v, p) GR_CONV_VSTORE(v, p)
#endif
#define GR_OUT y
#ifndef GR_EPILOGUE
#define OUT_TYPE GR_CONV_OUT
#define GR_STORE_V(v, at) GR_CONV_VSTORE_OUT(v, GR_OUT + (at))
#define GR_STORE_S(v, at) GR_CONV_STORE(v, GR_OUT, at)
#define GR_EPI_PARAMS
#define GR_EPI_BEGIN
#endif
#ifdef GR_CONV_RING
#define GR_CONV_SPACE __local
#else
#define GR_CONV_SPACE __global
#endif

#ifdef GR_CONV_DOT
/* The sum of a vector's lanes, by halves. */
#define GR_CONV_SUM2(v) ((v).lo + (v).hi)
#define GR_CONV_SUM4(v) GR_CONV_SUM2((v).lo + (v).hi)
#define GR_CONV_SUM8(v) GR_CONV_SUM4((v).lo + (v).hi)
#define GR_CONV_SUM16(v) GR_CONV_SUM8((v).lo + (v).hi)
#define GR_CONV_SUM(v) GR_CONV_CAT(GR_CONV_SUM, W)(v)
#endif

#if defined(GR_CONV_RING)
static inline void GR_CONV_CAT(GR_NAME, _zeros)(__local GR_CONV_REAL *to, int count) {
    int k = 0;
    for (; k + W <= count; k += W)
        GR_CONV_VSTORE((GR_CONV_VEC)0, to + k);
    GR_REST
    for (; k < count; ++k)
        to[k] = 0;
}
/* One row of the ring: pixels first, first + 1, ... of a source row of `width` pixels, 0 where there is none. */
static inline void GR_CONV_CAT(GR_NAME, _row)(
    __local GR_CONV_REAL *to, __global const GR_CONV_IN *from, int pixels, int first, int width, int channels,
    ulong pixel_stride, ulong channel_stride)
{
    const int begin = clamp(-first, 0, pixels), end = clamp(width - first, begin, pixels);
    GR_CONV_CAT(GR_NAME, _zeros)(to, begin * channels);
    GR_CONV_CAT(GR_NAME, _zeros)(to + end * channels, (pixels - end) * channels);
    if (begin == end)
        return;
    to += begin * channels;
    from += (ulong)(first + begin) * pixel_stride;
    const int count = (end - begin) * channels;
#ifndef GR_CONV_HALF_IN
    if (channel_stride == 1 && pixel_stride == (ulong)channels) {
        int k = 0;
        for (; k + W <= count; k += W)
            GR_CONV_VSTORE(GR_CONV_VLOAD(from + k), to + k);
        GR_REST
        for (; k < count; ++k)
            to[k] = from[k];
        return;
    }
#endif
    if (channel_stride == 1) {
        for (int v = begin; v < end; ++v, from += pixel_stride, to += channels)
            for (int c = 0; c < channels; ++c)
                to[c] = GR_CONV_LOAD(from, c);
    } else {
        for (int c = 0; c < channels; ++c, from += channel_stride)
            GR_REST
            for (int v = 0; v < end - begin; ++v)
                to[v * channels + c] = GR_CONV_LOAD(from, v * pixel_stride);
    }
}
/* Rows of the ring that lines [p, p + count) of an image need and that are not there yet; `next` is the first
 * source row after those that are. */
#define GR_CONV_FILL(p, count, columns_first)                                                            \
    {                                                                                                    \
        const int fill_to = ((p) + (count) - 1) * step_h + shift_h + (taps_h - 1) * spacing_h;           \
        for (int h = max(next, (p) * step_h + shift_h); h <= fill_to; ++h)                               \
            if (h >= 0 && h < height)                                                                    \
                GR_CONV_CAT(GR_NAME, _row)(                                                              \
                    ring + (h - shift_h) % ring_rows * ring_row, image + (ulong)h * x_row, ring_columns, \
                    columns_first, width, channels, x_pixel, x_channel);                                 \
        next = fill_to + 1;                                                                              \
    }
#endif

#if defined(GR_ENTRY_conv_tile)
/* Item (group, panels, block of columns, lines): lines are the output rows of all images.  A tap (i, j) adds
 * `run` consecutive elements of x per pixel: the channels, or a whole row of the filter where its columns are
 * adjacent.  `group_lines` lines share each pass over a panel. */
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_REAL *w, ulong w_offset,
    __global OUT_TYPE *y, ulong y_offset,
    uint chunks, uint blocks, uint panel_groups, uint panels, uint panels_per_item, uint lines,
    uint lines_per_item, uint group_lines, int tiles_per_row, int tiles_per_block, int rows, int columns,
    int outputs, int taps_h, int taps_w, int run, int step_h, int step_w, int spacing_h, int shift_h,
    int shift_w, int height, int width, int channels, int ring_rows, int ring_columns, ulong x_image,
    ulong x_row, ulong x_pixel, ulong x_channel, ulong x_group, ulong x_tap_w, ulong w_base, ulong w_panel,
    ulong w_group, ulong w_step, ulong y_base, ulong y_image, ulong y_row, ulong y_pixel, ulong y_channel,
    ulong y_group GR_EPI_PARAMS)
{
    GR_EPI_BEGIN
    uint rest = get_global_id(0);
    const uint line_begin = rest % chunks * lines_per_item;
    const uint line_end = min(line_begin + lines_per_item, lines);
    rest /= chunks;
    const int tile_begin = rest % blocks * tiles_per_block;
    const int tile_end = min(tile_begin + tiles_per_block, tiles_per_row);
    rest /= blocks;
    const uint panel_begin = rest % panel_groups * panels_per_item;
    const uint panel_end = min(panel_begin + panels_per_item, panels);
    const uint group = rest / panel_groups;
    x += x_offset + group * x_group;
    w += w_offset + w_base + group * w_group;
    y += y_offset;
    const int block_begin = min(tile_begin * GR_CONV_MR, columns - GR_CONV_MR);
#ifdef GR_CONV_RING
    __local GR_CONV_REAL ring[GR_CONV_RING];
    const int ring_row = ring_columns * channels;
    int next = INT_MIN;
#endif
    uint count;
    for (uint line = line_begin; line < line_end; line += count) {
        const int first_row = line % rows;
        count = min(min(group_lines, line_end - line), (uint)(rows - first_row));
        __global const GR_CONV_IN *image = x + (line / rows) * x_image;
#ifdef GR_CONV_RING
        if (first_row == 0)
            next = INT_MIN;
        GR_CONV_FILL(first_row, (int)count, block_begin * step_w + shift_w)
#endif
        for (uint panel = panel_begin; panel < panel_end; ++panel) {
            const int wide = min(GR_CONV_PANEL, outputs - (int)panel * GR_CONV_PANEL);
            for (int p = first_row; p < first_row + (int)count; ++p) {
                const int top = p * step_h + shift_h;
                /* the filter's rows that lie in the image */
                const int tap_begin = top >= 0 ? 0 : (spacing_h - 1 - top) / spacing_h;
                const int tap_end = top < height ? min((height - 1 - top) / spacing_h + 1, taps_h) : 0;
#ifdef GR_CONV_RING
                const int slot = p * step_h % ring_rows;
#endif
                for (int tile = tile_begin; tile < tile_end; ++tile) {
                    const int wanted = tile * GR_CONV_MR;
                    const int start = min(wanted, columns - GR_CONV_MR);
#ifdef GR_CONV_DOT
                    GR_CONV_VEC sum[GR_CONV_MR][GR_CONV_DOT];
                    #pragma unroll
                    for (int m = 0; m < GR_CONV_MR; ++m)
                        #pragma unroll
                        for (int o = 0; o < GR_CONV_DOT; ++o)
                            sum[m][o] = 0;
#else
                    GR_CONV_VEC sum[GR_CONV_MR][GR_CONV_NV];
                    #pragma unroll
                    for (int m = 0; m < GR_CONV_MR; ++m)
                        #pragma unroll
                        for (int v = 0; v < GR_CONV_NV; ++v)
                            sum[m][v] = 0;
#endif
                    for (int i = tap_begin; i < tap_end; ++i) {
#ifdef GR_CONV_RING
                        int at = slot + i * spacing_h;
                        at -= at >= ring_rows ? ring_rows : 0;
                        __local const GR_CONV_REAL *corner =
                            ring + at * ring_row + (start - block_begin) * GR_CONV_PIXEL;
#else
                        __global const GR_CONV_REAL *corner = image + (ulong)(top + i * spacing_h) * x_row +
                            (ulong)shift_w * x_pixel + (ulong)start * GR_CONV_PIXEL;
#endif
                        __global const GR_CONV_REAL *b =
                            w + panel * w_panel + (ulong)i * taps_w * run * w_step;
                        for (int j = 0; j < taps_w; ++j) {
                            GR_CONV_SPACE const GR_CONV_REAL *a = corner + j * x_tap_w;
#ifdef GR_CONV_DOT
                            for (int k = 0; k < run; k += W, b += GR_CONV_DOT * W) {
                                GR_CONV_VEC column[GR_CONV_DOT];
                                #pragma unroll
                                for (int o = 0; o < GR_CONV_DOT; ++o)
                                    column[o] = GR_CONV_VLOAD(b + o * W);
                                #pragma unroll
                                for (int m = 0; m < GR_CONV_MR; ++m) {
                                    const GR_CONV_VEC pixel = GR_CONV_VLOAD(a + m * GR_CONV_PIXEL + k);
                                    #pragma unroll
                                    for (int o = 0; o < GR_CONV_DOT; ++o)
                                        sum[m][o] += pixel * column[o];
                                }
                            }
#else
                            for (int k = 0; k < run; ++k, b += w_step) {
                                GR_CONV_VEC column[GR_CONV_NV];
                                #pragma unroll
                                for (int v = 0; v < GR_CONV_NV; ++v)
                                    column[v] = GR_CONV_VLOAD(b + v * W);
                                #pragma unroll
                                for (int m = 0; m < GR_CONV_MR; ++m)
                                    #pragma unroll
                                    for (int v = 0; v < GR_CONV_NV; ++v)
                                        sum[m][v] += a[m * GR_CONV_PIXEL + k] * column[v];
                            }
#endif
                        }
                    }
                    const ulong out = y_base + group * y_group + (line / rows) * y_image + p * y_row +
                        start * y_pixel + (ulong)panel * GR_CONV_PANEL * y_channel;
#ifdef GR_CONV_DOT
                    GR_CONV_REAL spill[GR_CONV_MR][GR_CONV_DOT];
                    #pragma unroll
                    for (int m = 0; m < GR_CONV_MR; ++m)
                        #pragma unroll
                        for (int o = 0; o < GR_CONV_DOT; ++o)
                            spill[m][o] = GR_CONV_SUM(sum[m][o]);
#else
#ifndef GR_EPILOGUE
                    if (y_channel == 1 && wide == GR_CONV_PANEL) {
                        #pragma unroll
                        for (int m = 0; m < GR_CONV_MR; ++m)
                            if (start + m >= wanted)
                                #pragma unroll
                                for (int v = 0; v < GR_CONV_NV; ++v)
                                    GR_STORE_V(sum[m][v], out + m * y_pixel + v * W);
                        continue;
                    }
#endif
                    GR_CONV_REAL spill[GR_CONV_MR][GR_CONV_PANEL];
                    #pragma unroll
                    for (int m = 0; m < GR_CONV_MR; ++m)
                        #pragma unroll
                        for (int v = 0; v < GR_CONV_NV; ++v)
                            GR_CONV_VSTORE(sum[m][v], spill[m] + v * W);
#endif
                    if (y_channel == 1) {
                        for (int m = wanted - start; m < GR_CONV_MR; ++m) {
                            int o = 0;
#ifndef GR_CONV_DOT
                            for (; o + W <= wide; o += W)
                                GR_STORE_V(GR_CONV_VLOAD(spill[m] + o), out + m * y_pixel + o);
#endif
                            GR_REST
                            for (; o < wide; ++o)
                                GR_STORE_S(spill[m][o], out + m * y_pixel + o);
                        }
                    } else {
                        for (int o = 0; o < wide; ++o)
                            GR_REST
                            for (int m = wanted - start; m < GR_CONV_MR; ++m)
                                GR_STORE_S(spill[m][o], out + m * y_pixel + o * y_channel);
                    }
                }
            }
        }
    }
}
#endif

#if defined(GR_ENTRY_conv_filter_tile)
/* Item (group, panel, slice): a slice is lines [slice * lines / slices, ...) of the output rows of all images,
 * taken `group_lines` at a time, so that x and dy stay in the cache while the tiles pass over them.
 * part[slice][group][tap][tile][m][panel][lane]; tile and panel that would overhang are shifted back, each
 * into slots of its own. */
__kernel void GR_NAME(
    __global const GR_CONV_IN *x, ulong x_offset, __global const GR_CONV_REAL *dy, ulong dy_offset,
    __global GR_CONV_REAL *part, ulong part_offset,
    uint slices, uint groups, uint panels, uint lines, uint group_lines, int taps_h, int taps_w, int rows,
    int columns, int outputs, int run, int tiles, int step_h, int step_w, int spacing_h, int shift_h,
    int shift_w, int height, int width, int channels, int ring_rows, int ring_columns, ulong x_image,
    ulong x_row, ulong x_pixel, ulong x_channel, ulong x_group, ulong x_step, ulong x_tap_w, ulong dy_image,
    ulong dy_row, ulong dy_pixel)
{
    uint rest = get_global_id(0);
    const uint panel = rest % panels;
    rest /= panels;
    const uint group = rest % groups;
    const uint slice = rest / groups;
    const uint line_begin = (ulong)slice * lines / slices;
    const uint line_end = (ulong)(slice + 1) * lines / slices;
    x += x_offset + group * x_group;
    dy += dy_offset + group * outputs + min((int)panel * GR_CONV_PANEL, outputs - GR_CONV_PANEL);
    const ulong slot = panels * GR_CONV_PANEL;
    part += part_offset + (ulong)(slice * groups + group) * taps_h * taps_w * tiles * GR_CONV_MR * slot +
        panel * GR_CONV_PANEL;
#ifdef GR_CONV_RING
    __local GR_CONV_REAL ring[GR_CONV_RING];
    const int ring_row = ring_columns * channels;
    int next = INT_MIN;
#endif
    uint count;
    for (uint line = line_begin; line < line_end; line += count) {
        const int first_row = line % rows;
        count = min(min(group_lines, line_end - line), (uint)(rows - first_row));
        __global const GR_CONV_IN *image = x + (line / rows) * x_image;
        __global const GR_CONV_REAL *gradient = dy + (line / rows) * dy_image;
#ifdef GR_CONV_RING
        if (first_row == 0)
            next = INT_MIN;
        GR_CONV_FILL(first_row, (int)count, shift_w)
#endif
        for (int i = 0; i < taps_h; ++i) {
            /* the lines whose filter row i lies in the image */
            const int shift = i * spacing_h + shift_h;
            const int begin = max(first_row, shift >= 0 ? 0 : (step_h - 1 - shift) / step_h);
            const int end =
                min(first_row + (int)count, shift < height ? (height - 1 - shift) / step_h + 1 : 0);
            if (begin >= end && line != line_begin)
                continue;
            for (int work = 0; work < taps_w * tiles; ++work) {
                const int j = work / tiles;
                const int m0 = min((work - j * tiles) * GR_CONV_MR, run - GR_CONV_MR);
                __global GR_CONV_REAL *target = part + (ulong)(i * taps_w * tiles + work) * GR_CONV_MR * slot;
                GR_CONV_VEC sum[GR_CONV_MR][GR_CONV_NV];
                if (line == line_begin) {
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
                            sum[m][v] = GR_CONV_VLOAD(target + m * slot + v * W);
                }
                for (int p = begin; p < end; ++p) {
                    const int h = p * step_h + shift;
#ifdef GR_CONV_RING
                    __local const GR_CONV_REAL *a = ring + (h - shift_h) % ring_rows * ring_row;
#else
                    __global const GR_CONV_REAL *a = image + (ulong)h * x_row + (ulong)shift_w * x_pixel;
#endif
                    a += j * x_tap_w + m0;
                    __global const GR_CONV_REAL *b = gradient + p * dy_row;
                    for (int q = 0; q < columns; ++q, a += x_step, b += dy_pixel) {
                        GR_CONV_VEC column[GR_CONV_NV];
                        #pragma unroll
                        for (int v = 0; v < GR_CONV_NV; ++v)
                            column[v] = GR_CONV_VLOAD(b + v * W);
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
                        GR_CONV_VSTORE(sum[m][v], target + m * slot + v * W);
            }
        }
    }
}
#endif

#undef GR_CONV_REAL
#undef GR_CONV_PIXEL
#undef W
#undef GR_CONV_NV
#undef GR_CONV_MR
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
#undef GR_CONV_SPACE
#undef GR_CONV_FILL
#undef GR_CONV_SUM2
#undef GR_CONV_SUM4
#undef GR_CONV_SUM8
#undef GR_CONV_SUM16
#undef GR_CONV_SUM
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
#undef GR_ENTRY_conv_tile
#endif
