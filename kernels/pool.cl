/* Two-dimensional pooling and its gradients.
 *
 * Index convention.  Both layouts are [outer][row][column][inner]: NHWC has outer = images and inner =
 * channels, NCHW has outer = images * channels and inner = 1.  Window (p, q) covers the input pixels
 * (p * stride_h - top + i, q * stride_w - left + j), of which only real ones are visited.
 * Every kernel is a gather in a fixed order.  Offsets are in elements.  Two shapes of loop:
 *   by element: an item makes `per_item` consecutive results of `chunk` inner elements each, where chunk is
 *               inner (CPU) or 1 (GPU); count counts results;
 *   by row      (GR_POOL_ROWS, for inner = 1 on a CPU): an item makes `per_item` rows, count counts rows;
 *               windows move in the innermost loop, which compilers turn to vectors.
 *
 * NaN counts as a maximum; the first maximum of a window in row-major order takes its gradient.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>:
 *   max_pool            y of x
 *   max_pool_argmax     which pixel, row * width + column, is the first maximum of each window, of x and y
 *   max_pool_grad       dx of these places and dy
 *   max_pool_spread     dx of x, y and dy, where the windows tile the image
 *   max_pool_grad_grad  ddy of x, y, ddx: ddx at the first maximum of each window
 *   avg_pool            y of x: the mean of the real pixels
 *   avg_pool_grad       dx of dy
 * Assumes: the pixels of one image fit an int; GR_POOL_VW is not above `chunk` (the last vector of a chunk is
 * shifted back, so that some elements are made twice by the same item).
 * Defines:
 *   GR_POOL_REAL    element type; float where GR_POOL_HALF says that storage is half
 *   GR_POOL_MASK    integer of the same size, int for float and long for double: holds places and comparisons
 *   GR_POOL_INTEGER elements are integers, which are never NaN
 *   GR_POOL_ROWS    loops by row
 *   GR_POOL_LOWEST  max_pool of a window without a real pixel
 * Tunables:
 *   GR_POOL_VW      by element: inner elements at once, 1, 2, 4, 8 or 16
 *   GR_POOL_BLOCK   by row: pixels whose results are kept in private memory
 *   GR_POOL_STRIDE  by row: stride_w, known when compiled
 *   GR_POOL_HIGH, GR_POOL_WIDE   max_pool_spread: the window's size, known when compiled
 */
#ifndef GR_POOL_REAL
#define GR_POOL_REAL float
#endif
#ifndef GR_POOL_MASK
#define GR_POOL_MASK int
#endif
#ifndef GR_POOL_LOWEST
#define GR_POOL_LOWEST (-INFINITY)
#endif
#ifndef GR_POOL_VW
#define GR_POOL_VW 1
#endif
#ifndef GR_POOL_BLOCK
#define GR_POOL_BLOCK 64
#endif
#ifndef GR_POOL_STRIDE
#define GR_POOL_STRIDE stride_w
#endif
#ifndef GR_POOL_HIGH
#define GR_POOL_HIGH kernel_h
#endif
#ifndef GR_POOL_WIDE
#define GR_POOL_WIDE kernel_w
#endif
#ifndef GR_NAME
#define GR_POOL_OWN_NAME
#if defined(GR_ENTRY_max_pool_argmax)
#define GR_NAME max_pool_argmax
#elif defined(GR_ENTRY_max_pool_grad)
#define GR_NAME max_pool_grad
#elif defined(GR_ENTRY_max_pool_spread)
#define GR_NAME max_pool_spread
#elif defined(GR_ENTRY_max_pool_grad_grad)
#define GR_NAME max_pool_grad_grad
#elif defined(GR_ENTRY_avg_pool)
#define GR_NAME avg_pool
#elif defined(GR_ENTRY_avg_pool_grad)
#define GR_NAME avg_pool_grad
#else
#define GR_NAME max_pool
#endif
#endif

#define GR_POOL_CAT_(a, b) a##b
#define GR_POOL_CAT(a, b) GR_POOL_CAT_(a, b)
#ifdef GR_POOL_HALF
#define GR_POOL_ELEMENT half
#else
#define GR_POOL_ELEMENT GR_POOL_REAL
#endif
#if GR_POOL_VW == 1
#define GR_POOL_VEC GR_POOL_REAL
#define GR_POOL_HIT int
#define GR_POOL_PLACE GR_POOL_MASK
#define GR_POOL_LOAD_PLACE(p, k) ((p)[k])
#define GR_POOL_STORE_PLACE(v, p, k) ((p)[k] = (v))
#define GR_POOL_ANY(hit) (hit)
#ifdef GR_POOL_HALF
#define GR_POOL_LOAD(p, k) vload_half(k, p)
#define GR_POOL_STORE(v, p, k) vstore_half_rte(v, k, p)
#else
#define GR_POOL_LOAD(p, k) ((p)[k])
#define GR_POOL_STORE(v, p, k) ((p)[k] = (v))
#endif
#else
#define GR_POOL_VEC GR_POOL_CAT(GR_POOL_REAL, GR_POOL_VW)
#define GR_POOL_HIT GR_POOL_CAT(GR_POOL_MASK, GR_POOL_VW)
#define GR_POOL_PLACE GR_POOL_HIT
#define GR_POOL_LOAD_PLACE(p, k) GR_POOL_CAT(gr_vload, GR_POOL_VW)((p) + (k))
#define GR_POOL_STORE_PLACE(v, p, k) GR_POOL_CAT(gr_vstore, GR_POOL_VW)(v, (p) + (k))
#define GR_POOL_ANY(hit) any(hit)
#ifdef GR_POOL_HALF
/* By way of a variable: PoCL 3.1 takes the address of vectors of halves for one that is aligned to all of them. */
#define GR_POOL_BITS GR_POOL_CAT(ushort, GR_POOL_VW)
#define GR_POOL_LOAD(p, k) GR_POOL_CAT(GR_NAME, _load)((p) + (k))
#define GR_POOL_STORE(v, p, k) GR_POOL_CAT(GR_NAME, _store)(v, (p) + (k))
static inline GR_POOL_VEC GR_POOL_CAT(GR_NAME, _load)(__global const half *p) {
    const GR_POOL_BITS bits = GR_POOL_CAT(gr_vload, GR_POOL_VW)((__global const ushort *)p);
    return GR_POOL_CAT(vload_half, GR_POOL_VW)(0, (const half *)&bits);
}
static inline void GR_POOL_CAT(GR_NAME, _store)(const GR_POOL_VEC v, __global half *p) {
    GR_POOL_BITS bits;
    GR_POOL_CAT(GR_POOL_CAT(vstore_half, GR_POOL_VW), _rte)(v, 0, (half *)&bits);
    GR_POOL_CAT(gr_vstore, GR_POOL_VW)(bits, (__global ushort *)p);
}
#else
#define GR_POOL_LOAD(p, k) GR_POOL_CAT(gr_vload, GR_POOL_VW)((p) + (k))
#define GR_POOL_STORE(v, p, k) GR_POOL_CAT(gr_vstore, GR_POOL_VW)(v, (p) + (k))
#endif
#endif

#ifdef GR_POOL_INTEGER
#define GR_POOL_BEATS(a, b) ((a) > (b))
#else
#define GR_POOL_BEATS(a, b) (((a) > (b)) | ((a) != (a)))
#endif
/* equal, or both NaN */
#define GR_POOL_SAME(a, b) (((a) == (b)) | (((a) != (a)) & ((b) != (b))))

/* The kernels that make inputs walk over (height, width), the others over (rows, columns). */
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_avg_pool_grad)
#define GR_POOL_OUT_H height
#define GR_POOL_OUT_W width
#else
#define GR_POOL_OUT_H rows
#define GR_POOL_OUT_W columns
#endif

__kernel void GR_NAME(
#if defined(GR_ENTRY_max_pool_grad)
    __global const GR_POOL_MASK *places, ulong places_offset,
#elif !defined(GR_ENTRY_avg_pool_grad)
    __global const GR_POOL_ELEMENT *x, ulong x_offset,
#endif
#if defined(GR_ENTRY_max_pool_argmax) || defined(GR_ENTRY_max_pool_grad_grad) ||                           \
    defined(GR_ENTRY_max_pool_spread)
    __global const GR_POOL_ELEMENT *y, ulong y_offset,
#endif
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_avg_pool_grad) || defined(GR_ENTRY_max_pool_spread)
    __global const GR_POOL_ELEMENT *dy, ulong dy_offset,
#endif
#if defined(GR_ENTRY_max_pool_grad_grad)
    __global const GR_POOL_ELEMENT *ddx, ulong ddx_offset,
#endif
#if defined(GR_ENTRY_max_pool_argmax)
    __global GR_POOL_MASK *out, ulong out_offset,
#else
    __global GR_POOL_ELEMENT *out, ulong out_offset,
#endif
    ulong count, ulong per_item, int inner, int chunk, int height, int width, int rows, int columns,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left)
{
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    if (begin >= end)
        return;
#ifdef GR_POOL_ROWS
    out += out_offset;
    for (ulong result = begin; result < end; ++result) {
        const ulong outer = result / (uint)GR_POOL_OUT_H;
        const int p = result % (uint)GR_POOL_OUT_H;
        const ulong windows = outer * rows * columns;
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_avg_pool_grad)
        /* row p of the input: it is in window rows first_row to last_row */
        const int last_row = min((p + top) / stride_h, rows - 1);
        const int first_row = max((p + top - kernel_h + stride_h) / stride_h, 0) * (p + top >= kernel_h);
        for (int block = 0; block < width; block += GR_POOL_BLOCK) {
            const int size = min(GR_POOL_BLOCK, width - block);
            GR_POOL_REAL sum[GR_POOL_BLOCK];
            for (int v = 0; v < size; ++v)
                sum[v] = 0;
            for (int r = first_row; r <= last_row; ++r) {
                __global const GR_POOL_ELEMENT *gradient = dy + dy_offset + windows + (ulong)r * columns;
#if defined(GR_ENTRY_max_pool_grad)
                __global const GR_POOL_MASK *chosen = places + places_offset + windows + (ulong)r * columns;
#else
                const int high = min(r * stride_h - top + kernel_h, height) - max(r * stride_h - top, 0);
#endif
                for (int j = 0; j < kernel_w; ++j) {
                    /* window pixel j of window s is pixel s * stride - shift of the block */
                    const int shift = left + block - j;
                    const int first = max(shift + GR_POOL_STRIDE - 1, 0) / GR_POOL_STRIDE;
                    const int last =
                        size + shift > 0 ? min((size - 1 + shift) / GR_POOL_STRIDE, columns - 1) : -1;
                    for (int s = first; s <= last; ++s) {
                        const int v = s * GR_POOL_STRIDE - shift;
#if defined(GR_ENTRY_max_pool_grad)
                        sum[v] += chosen[s] == p * width + block + v ? GR_POOL_LOAD(gradient, s) : 0;
#else
                        const int wide = min(s * GR_POOL_STRIDE - left + kernel_w, width) -
                            max(s * GR_POOL_STRIDE - left, 0);
                        sum[v] += GR_POOL_LOAD(gradient, s) / (GR_POOL_REAL)(high * wide);
#endif
                    }
                }
            }
            for (int v = 0; v < size; ++v)
                GR_POOL_STORE(sum[v], out, result * width + block + v);
        }
#else
        /* row p of the output */
        const int first_row = max(p * stride_h - top, 0);
        const int last_row = min(p * stride_h - top + kernel_h, height) - 1;
        for (int block = 0; block < columns; block += GR_POOL_BLOCK) {
            const int size = min(GR_POOL_BLOCK, columns - block);
#if defined(GR_ENTRY_max_pool_argmax)
            GR_POOL_MASK found[GR_POOL_BLOCK];
            __global const GR_POOL_ELEMENT *maxima = y + y_offset + windows + (ulong)p * columns + block;
#else
            GR_POOL_REAL best[GR_POOL_BLOCK];
#endif
            for (int s = 0; s < size; ++s)
#if defined(GR_ENTRY_max_pool_argmax)
                found[s] = -1;
#elif defined(GR_ENTRY_avg_pool)
                best[s] = 0;
#else
                best[s] = (GR_POOL_REAL)(GR_POOL_LOWEST);
#endif
            for (int h = first_row; h <= last_row; ++h) {
                __global const GR_POOL_ELEMENT *row = x + x_offset + (outer * height + h) * width;
                for (int j = 0; j < kernel_w; ++j) {
                    /* window pixel j of window s of the block is pixel s * stride + shift */
                    const int shift = block * GR_POOL_STRIDE + j - left;
                    const int first = shift >= 0 ? 0 : (GR_POOL_STRIDE - 1 - shift) / GR_POOL_STRIDE;
                    const int last = shift < width ? min((width - 1 - shift) / GR_POOL_STRIDE, size - 1) : -1;
                    for (int s = first; s <= last; ++s) {
                        const GR_POOL_REAL value = GR_POOL_LOAD(row, s * GR_POOL_STRIDE + shift);
#if defined(GR_ENTRY_max_pool_argmax)
                        const GR_POOL_REAL largest = GR_POOL_LOAD(maxima, s);
                        const int hit = (found[s] < 0) & GR_POOL_SAME(value, largest);
                        found[s] = hit ? h * width + s * GR_POOL_STRIDE + shift : found[s];
#elif defined(GR_ENTRY_avg_pool)
                        best[s] += value;
#else
                        best[s] = GR_POOL_BEATS(value, best[s]) ? value : best[s];
#endif
                    }
                }
            }
            const ulong target = result * columns + block;
            for (int s = 0; s < size; ++s) {
#if defined(GR_ENTRY_max_pool_argmax)
                out[target + s] = found[s];
#elif defined(GR_ENTRY_avg_pool)
                const int start = (block + s) * GR_POOL_STRIDE - left;
                const int wide = min(start + kernel_w, width) - max(start, 0);
                GR_POOL_STORE(
                    best[s] / (GR_POOL_REAL)max(max(last_row - first_row + 1, 0) * wide, 1), out, target + s);
#else
                GR_POOL_STORE(best[s], out, target + s);
#endif
            }
        }
#endif
    }
#else
    const uint parts = inner / chunk;
    ulong rest = begin;
    uint part = rest % parts;
    rest /= parts;
    int q = rest % (uint)GR_POOL_OUT_W;
    rest /= (uint)GR_POOL_OUT_W;
    int p = rest % (uint)GR_POOL_OUT_H;
    ulong outer = rest / (uint)GR_POOL_OUT_H;
    const ulong line = (ulong)width * inner;
    out += out_offset;
    for (ulong result = begin; result < end; ++result) {
#if !defined(GR_ENTRY_avg_pool_grad) && !defined(GR_ENTRY_max_pool_grad)
        __global const GR_POOL_ELEMENT *image = x + x_offset + outer * height * line + part * chunk;
#endif
#if defined(GR_ENTRY_max_pool_argmax) || defined(GR_ENTRY_max_pool_grad_grad) ||                           \
    defined(GR_ENTRY_max_pool_spread)
        __global const GR_POOL_ELEMENT *maxima =
            y + y_offset + (outer * rows * columns) * inner + part * chunk;
#endif
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_avg_pool_grad)
        /* the windows that pixel (p, q) is in */
        __global const GR_POOL_ELEMENT *gradient =
            dy + dy_offset + (outer * rows * columns) * inner + part * chunk;
        const int last_row = min((p + top) / stride_h, rows - 1);
        const int first_row = max((p + top - kernel_h + stride_h) / stride_h, 0) * (p + top >= kernel_h);
        const int last_column = min((q + left) / stride_w, columns - 1);
        const int first_column = max((q + left - kernel_w + stride_w) / stride_w, 0) * (q + left >= kernel_w);
#elif defined(GR_ENTRY_max_pool_spread)
        __global const GR_POOL_ELEMENT *gradient =
            dy + dy_offset + (outer * rows * columns) * inner + part * chunk;
        __global GR_POOL_ELEMENT *target = out + outer * height * line + part * chunk;
#else
        /* the real pixels of window (p, q) */
        const int first_row = max(p * stride_h - top, 0);
        const int last_row = min(p * stride_h - top + kernel_h, height) - 1;
        const int first_column = max(q * stride_w - left, 0);
        const int last_column = min(q * stride_w - left + kernel_w, width) - 1;
#endif
        for (int step = 0; step < chunk; step += GR_POOL_VW) {
            const int c = min(step, chunk - GR_POOL_VW);
#if defined(GR_ENTRY_max_pool_spread)
            const ulong window = ((ulong)p * columns + q) * inner + c;
            const GR_POOL_VEC largest = GR_POOL_LOAD(maxima, window), given = GR_POOL_LOAD(gradient, window);
            const GR_POOL_VEC zero = 0;
            GR_POOL_HIT open = largest == largest;
            open |= !open;
            _Pragma("unroll") for (int i = 0; i < GR_POOL_HIGH; ++i) {
                _Pragma("unroll") for (int j = 0; j < GR_POOL_WIDE; ++j) {
                    const ulong place =
                        ((ulong)p * kernel_h + i) * line + ((ulong)q * kernel_w + j) * inner + c;
                    const GR_POOL_HIT hit = open & GR_POOL_SAME(GR_POOL_LOAD(image, place), largest);
                    GR_POOL_STORE(hit ? given : zero, target, place);
                    open &= !hit;
                }
            }
#else
            const ulong target = result * chunk + c;
#if defined(GR_ENTRY_max_pool_grad)
            __global const GR_POOL_MASK *chosen =
                places + places_offset + (outer * rows * columns) * inner + part * chunk;
            const GR_POOL_PLACE here = (GR_POOL_PLACE)(p * width + q);
            const GR_POOL_VEC zero = 0;
            GR_POOL_VEC sum = 0;
            for (int r = first_row; r <= last_row; ++r) {
                for (int s = first_column; s <= last_column; ++s) {
                    const ulong place = ((ulong)r * columns + s) * inner + c;
                    const GR_POOL_HIT hit = GR_POOL_LOAD_PLACE(chosen, place) == here;
                    sum += hit ? GR_POOL_LOAD(gradient, place) : zero;
                }
            }
            GR_POOL_STORE(sum, out, target);
#elif defined(GR_ENTRY_max_pool_argmax)
            const GR_POOL_VEC largest = GR_POOL_LOAD(maxima, ((ulong)p * columns + q) * inner + c);
            GR_POOL_PLACE found = -1;
            for (int h = first_row; h <= last_row; ++h) {
                for (int v = first_column; v <= last_column; ++v) {
                    const GR_POOL_VEC value = GR_POOL_LOAD(image, h * line + (ulong)v * inner + c);
                    const GR_POOL_HIT hit = (found < 0) & GR_POOL_SAME(value, largest);
                    found = hit ? (GR_POOL_PLACE)(h * width + v) : found;
                }
            }
            GR_POOL_STORE_PLACE(found, out, target);
#elif defined(GR_ENTRY_avg_pool_grad)
            GR_POOL_VEC sum = 0;
            for (int r = first_row; r <= last_row; ++r) {
                const int height_here =
                    min(r * stride_h - top + kernel_h, height) - max(r * stride_h - top, 0);
                for (int s = first_column; s <= last_column; ++s) {
                    const int width_here =
                        min(s * stride_w - left + kernel_w, width) - max(s * stride_w - left, 0);
                    sum += GR_POOL_LOAD(gradient, ((ulong)r * columns + s) * inner + c) /
                        (GR_POOL_REAL)(height_here * width_here);
                }
            }
            GR_POOL_STORE(sum, out, target);
#elif defined(GR_ENTRY_max_pool_grad_grad)
            const GR_POOL_VEC largest = GR_POOL_LOAD(maxima, ((ulong)p * columns + q) * inner + c);
            __global const GR_POOL_ELEMENT *source = ddx + ddx_offset + outer * height * line + part * chunk;
            GR_POOL_VEC sum = 0;
            GR_POOL_HIT open = largest == largest;
            open |= !open;
            for (int h = first_row; h <= last_row; ++h) {
                for (int v = first_column; v <= last_column; ++v) {
                    const ulong place = h * line + (ulong)v * inner + c;
                    const GR_POOL_VEC value = GR_POOL_LOAD(image, place);
                    const GR_POOL_HIT hit = open & GR_POOL_SAME(value, largest);
                    if (GR_POOL_ANY(hit)) {
                        sum = hit ? GR_POOL_LOAD(source, place) : sum;
                        open &= !hit;
                    }
                }
            }
            GR_POOL_STORE(sum, out, target);
#elif defined(GR_ENTRY_avg_pool)
            GR_POOL_VEC sum = 0;
            for (int h = first_row; h <= last_row; ++h)
                for (int v = first_column; v <= last_column; ++v)
                    sum += GR_POOL_LOAD(image, h * line + (ulong)v * inner + c);
            const int pixels = max((last_row - first_row + 1) * (last_column - first_column + 1), 1);
            GR_POOL_STORE(sum / (GR_POOL_REAL)pixels, out, target);
#else
            GR_POOL_VEC best = (GR_POOL_REAL)(GR_POOL_LOWEST);
            for (int h = first_row; h <= last_row; ++h) {
                for (int v = first_column; v <= last_column; ++v) {
                    const GR_POOL_VEC value = GR_POOL_LOAD(image, h * line + (ulong)v * inner + c);
                    best = GR_POOL_BEATS(value, best) ? value : best;
                }
            }
            GR_POOL_STORE(best, out, target);
#endif
#endif
        }
        /* step to the next result without a division */
        if (++part == parts) {
            part = 0;
            if (++q == GR_POOL_OUT_W) {
                q = 0;
                if (++p == GR_POOL_OUT_H) {
                    p = 0;
                    ++outer;
                }
            }
        }
    }
#endif
}

#undef GR_POOL_REAL
#undef GR_POOL_MASK
#undef GR_POOL_LOWEST
#undef GR_POOL_VW
#undef GR_POOL_BLOCK
#undef GR_POOL_STRIDE
#undef GR_POOL_HIGH
#undef GR_POOL_WIDE
#undef GR_POOL_CAT_
#undef GR_POOL_CAT
#undef GR_POOL_ELEMENT
#undef GR_POOL_VEC
#undef GR_POOL_BITS
#undef GR_POOL_HIT
#undef GR_POOL_PLACE
#undef GR_POOL_LOAD_PLACE
#undef GR_POOL_STORE_PLACE
#undef GR_POOL_BEATS
#undef GR_POOL_ANY
#undef GR_POOL_LOAD
#undef GR_POOL_STORE
#undef GR_POOL_SAME
#undef GR_POOL_OUT_H
#undef GR_POOL_OUT_W
#ifdef GR_POOL_OWN_NAME
#undef GR_POOL_OWN_NAME
#undef GR_NAME
#endif
