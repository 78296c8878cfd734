/* Two-dimensional pooling and its gradients.
 *
 * Index convention.  Both layouts are [outer][row][column][inner]: NHWC has outer = images and inner = channels,
 * NCHW has outer = images * channels and inner = 1.  Window (p, q) covers the input pixels
 * (p * stride_h - top + i, q * stride_w - left + j), of which only real ones are visited.
 * Every kernel is a gather in a fixed order: an item makes `per_item` consecutive results of `chunk` inner
 * elements each, where chunk is inner (CPU) or 1 (GPU).  Offsets are in elements.
 *
 * NaN counts as a maximum; the first maximum of a window in row-major order takes its gradient.
 *
 * Entries, one a text, selected by GR_ENTRY_<entry>:
 *   max_pool            y of x
 *   max_pool_grad       dx of x, y, dy
 *   max_pool_grad_grad  ddy of x, y, ddx: ddx at the first maximum of each window
 *   avg_pool            y of x: the mean of the real pixels
 *   avg_pool_grad       dx of dy
 * Assumes: sizes of single dimensions fit an int; GR_POOL_VW is not above `chunk` (the last vector of a chunk is
 * shifted back, so that some elements are made twice by the same item).
 * Defines:
 *   GR_POOL_REAL    element type; float where GR_POOL_HALF says that storage is half
 *   GR_POOL_MASK    type of a comparison of two: int for float, long for double (only read with VW > 1)
 *   GR_POOL_LOWEST  max_pool of a window without a real pixel
 * Tunables:
 *   GR_POOL_VW      inner elements at once: 1, 2, 4, 8 or 16
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
#ifndef GR_NAME
#define GR_POOL_OWN_NAME
#if defined(GR_ENTRY_max_pool_grad)
#define GR_NAME max_pool_grad
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
#define GR_POOL_ANY(hit) any(hit)
#ifdef GR_POOL_HALF
#define GR_POOL_LOAD(p, k) GR_POOL_CAT(vload_half, GR_POOL_VW)(0, (p) + (k))
#define GR_POOL_STORE(v, p, k) GR_POOL_CAT(GR_POOL_CAT(vstore_half, GR_POOL_VW), _rte)(v, 0, (p) + (k))
#else
#define GR_POOL_LOAD(p, k) GR_POOL_CAT(vload, GR_POOL_VW)(0, (p) + (k))
#define GR_POOL_STORE(v, p, k) GR_POOL_CAT(vstore, GR_POOL_VW)(v, 0, (p) + (k))
#endif
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
#if !defined(GR_ENTRY_avg_pool_grad)
    __global const GR_POOL_ELEMENT *x, ulong x_offset,
#endif
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_max_pool_grad_grad)
    __global const GR_POOL_ELEMENT *y, ulong y_offset,
#endif
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_avg_pool_grad)
    __global const GR_POOL_ELEMENT *dy, ulong dy_offset,
#endif
#if defined(GR_ENTRY_max_pool_grad_grad)
    __global const GR_POOL_ELEMENT *ddx, ulong ddx_offset,
#endif
    __global GR_POOL_ELEMENT *out, ulong out_offset,
    ulong count, ulong per_item, int inner, int chunk, int height, int width, int rows, int columns,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left)
{
    const ulong begin = get_global_id(0) * per_item;
    const ulong end = min(begin + per_item, count);
    if (begin >= end)
        return;
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
#if !defined(GR_ENTRY_avg_pool_grad)
        __global const GR_POOL_ELEMENT *image = x + x_offset + outer * height * line + part * chunk;
#endif
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_max_pool_grad_grad)
        __global const GR_POOL_ELEMENT *maxima = y + y_offset + (outer * rows * columns) * inner + part * chunk;
#endif
#if defined(GR_ENTRY_max_pool_grad) || defined(GR_ENTRY_avg_pool_grad)
        /* the windows that pixel (p, q) is in */
        __global const GR_POOL_ELEMENT *gradient =
            dy + dy_offset + (outer * rows * columns) * inner + part * chunk;
        const int last_row = min((p + top) / stride_h, rows - 1);
        const int first_row = max((p + top - kernel_h + stride_h) / stride_h, 0) * (p + top >= kernel_h);
        const int last_column = min((q + left) / stride_w, columns - 1);
        const int first_column = max((q + left - kernel_w + stride_w) / stride_w, 0) * (q + left >= kernel_w);
#else
        /* the real pixels of window (p, q) */
        const int first_row = max(p * stride_h - top, 0);
        const int last_row = min(p * stride_h - top + kernel_h, height) - 1;
        const int first_column = max(q * stride_w - left, 0);
        const int last_column = min(q * stride_w - left + kernel_w, width) - 1;
#endif
        for (int step = 0; step < chunk; step += GR_POOL_VW) {
            const int c = min(step, chunk - GR_POOL_VW);
            const ulong target = result * chunk + c;
#if defined(GR_ENTRY_max_pool_grad)
            const GR_POOL_VEC value = GR_POOL_LOAD(image, p * line + (ulong)q * inner + c);
            GR_POOL_VEC sum = 0;
            for (int r = first_row; r <= last_row; ++r) {
                for (int s = first_column; s <= last_column; ++s) {
                    const ulong place = ((ulong)r * columns + s) * inner + c;
                    const GR_POOL_VEC largest = GR_POOL_LOAD(maxima, place);
                    GR_POOL_HIT hit = GR_POOL_SAME(value, largest);
                    /* an earlier pixel of the window may have the same value */
                    const int start = max(s * stride_w - left, 0);
                    const int stop = min(s * stride_w - left + kernel_w, width);
                    for (int h = max(r * stride_h - top, 0); h <= p && GR_POOL_ANY(hit); ++h) {
                        const int bound = h < p ? stop : q;
                        for (int v = start; v < bound; ++v) {
                            const GR_POOL_VEC other = GR_POOL_LOAD(image, h * line + (ulong)v * inner + c);
                            hit &= !GR_POOL_SAME(other, largest);
                        }
                    }
                    if (GR_POOL_ANY(hit)) {
                        const GR_POOL_VEC zero = 0;
                        sum += hit ? GR_POOL_LOAD(gradient, place) : zero;
                    }
                }
            }
            GR_POOL_STORE(sum, out, target);
#elif defined(GR_ENTRY_avg_pool_grad)
            GR_POOL_VEC sum = 0;
            for (int r = first_row; r <= last_row; ++r) {
                const int height_here = min(r * stride_h - top + kernel_h, height) - max(r * stride_h - top, 0);
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
                    best = ((value > best) | (value != value)) ? value : best;
                }
            }
            GR_POOL_STORE(best, out, target);
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
}

#undef GR_POOL_REAL
#undef GR_POOL_MASK
#undef GR_POOL_LOWEST
#undef GR_POOL_VW
#undef GR_POOL_CAT_
#undef GR_POOL_CAT
#undef GR_POOL_ELEMENT
#undef GR_POOL_VEC
#undef GR_POOL_HIT
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
