// The memory-bound half of a MobileNetV2 block on a CPU: batch norm, ReLU6 and the depthwise convolution, fused.
//
// The 1x1 convolutions are matrix products, which oneDNN does well in bfloat16. What is left is passes over memory;
// PyTorch makes 21 of them a block and training step, this file 14. Single-threaded: train.py runs one process a core.
// Tensors are bfloat16, channels last, channels a multiple of 16; sums and coefficients are float32.

#include <immintrin.h>
#include <torch/extension.h>

#include <vector>

namespace {

using at::Tensor;
using Half = uint16_t;
constexpr int64_t LANES = 16;

inline __m512 load(const Half* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
inline void store(Half* p, __m512 v) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(v)); }
inline __m512 clip6(__m512 v) { return _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(6.f)); }
inline __mmask16 open6(__m512 v) {
    return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ) & _mm512_cmp_ps_mask(v, _mm512_set1_ps(6.f), _CMP_LT_OQ);
}
inline Half* half(const Tensor& t) { return (Half*)t.data_ptr(); }
inline float* floats(const Tensor& t) { return t.data_ptr<float>(); }
// Asks for the `share`th of `shares` parts of the next image: a channel block strides too far for the processor to guess it.
inline void ahead(const Half* image, int64_t pixels, int64_t channels, int64_t share, int64_t shares) {
    int64_t lines = pixels * channels / 32, from = lines * share / shares, to = lines * (share + LANES) / shares;
    for (int64_t i = from; i < to; i++) _mm_prefetch((const char*)(image + i * 32), _MM_HINT_T1);
}
Tensor zeros(int64_t rows, int64_t channels) { return at::zeros({rows, channels}, at::kFloat); }

void check(const Tensor& t) {
    TORCH_CHECK(t.scalar_type() == at::kBFloat16 && t.is_contiguous(at::MemoryFormat::ChannelsLast) && t.size(1) % LANES == 0,
                "expected bfloat16, channels last, channels a multiple of 16");
}

// Sums and sums of squares a channel become scale and shift (y = scale * x + shift), mean and 1/deviation.
// Rows of the answer: 0 scale, 1 shift, 2 mean, 3 inverse deviation, 4 biased variance.
Tensor affine(const Tensor& sums, const Tensor& weight, const Tensor& bias, double count, double eps) {
    Tensor mean = sums[0] / count, variance = (sums[1] / count - mean * mean).clamp_min(0);
    Tensor inverse = (variance + eps).rsqrt(), scale = weight * inverse;
    return at::stack({scale, bias - mean * scale, mean, inverse, variance});
}

// dx = a * dz + b * x + c, from sum(dz) and sum(dz * x).
Tensor coefficients(const Tensor& sums, const Tensor& norm, double count, Tensor& dweight) {
    Tensor scale = norm[0], mean = norm[2], inverse = norm[3];
    dweight = (sums[1] - mean * sums[0]) * inverse;
    Tensor b = -scale * inverse * dweight / count;
    return at::stack({scale, b, -scale * sums[0] / count - b * mean});
}

void moments(const Half* x, int64_t rows, int64_t channels, float* sums) {
    // Four rows at a time, so that the running sums are read and written a quarter as often.
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
        for (int64_t c = 0; c < channels; c += LANES) {
            const Half* p = x + r * channels + c;
            __m512 a = load(p), b = load(p + channels), d = load(p + 2 * channels), e = load(p + 3 * channels);
            _mm512_storeu_ps(sums + c, _mm512_add_ps(_mm512_loadu_ps(sums + c), _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(d, e))));
            __m512 q = _mm512_fmadd_ps(a, a, _mm512_mul_ps(b, b)), s = _mm512_fmadd_ps(d, d, _mm512_mul_ps(e, e));
            float* squares = sums + channels + c;
            _mm512_storeu_ps(squares, _mm512_add_ps(_mm512_loadu_ps(squares), _mm512_add_ps(q, s)));
        }
    TORCH_CHECK(r == rows, "rows must be a multiple of 4");
}

}  // namespace

// y = [relu6](batchnorm(x)) [+ residual]; also the normalisation's rows.
std::vector<Tensor> norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& residual, bool relu, double eps) {
    check(x);
    int64_t channels = x.size(1), rows = x.numel() / channels;
    Tensor sums = zeros(2, channels);
    moments(half(x), rows, channels, floats(sums));
    Tensor norm = affine(sums, weight, bias, rows, eps), y = at::empty_like(x);
    const float *scale = floats(norm), *shift = scale + channels;
    bool add = residual.defined() && residual.numel() > 0;
    if (add) check(residual);
    const Half *in = half(x), *extra = add ? half(residual) : nullptr;
    Half* out = half(y);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t i = r * channels + c;
            __m512 v = _mm512_fmadd_ps(load(in + i), _mm512_loadu_ps(scale + c), _mm512_loadu_ps(shift + c));
            if (relu) v = clip6(v);
            if (add) v = _mm512_add_ps(v, load(extra + i));
            store(out + i, v);
        }
    return {y, norm};
}

std::vector<Tensor> norm_backward(const Tensor& grad, const Tensor& x, const Tensor& norm, bool relu) {
    check(grad), check(x);
    int64_t channels = x.size(1), rows = x.numel() / channels;
    const float *scale = floats(norm), *shift = scale + channels;
    Tensor sums = zeros(2, channels), dx = at::empty_like(x), dweight;
    float *s0 = floats(sums), *s1 = s0 + channels;
    const Half *g = half(grad), *in = half(x);
    auto masked = [&](int64_t i, int64_t c, __m512 v) {
        __m512 d = load(g + i);
        return relu ? _mm512_maskz_mov_ps(open6(_mm512_fmadd_ps(v, _mm512_loadu_ps(scale + c), _mm512_loadu_ps(shift + c))), d) : d;
    };
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < channels; c += LANES) {
            __m512 v = load(in + r * channels + c), d = masked(r * channels + c, c, v);
            _mm512_storeu_ps(s0 + c, _mm512_add_ps(_mm512_loadu_ps(s0 + c), d));
            _mm512_storeu_ps(s1 + c, _mm512_fmadd_ps(d, v, _mm512_loadu_ps(s1 + c)));
        }
    Tensor k = coefficients(sums, norm, rows, dweight);
    const float *ka = floats(k), *kb = ka + channels, *kc = kb + channels;
    Half* out = half(dx);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t i = r * channels + c;
            __m512 v = load(in + i), d = masked(i, c, v);
            store(out + i, _mm512_fmadd_ps(_mm512_loadu_ps(ka + c), d, _mm512_fmadd_ps(_mm512_loadu_ps(kb + c), v, _mm512_loadu_ps(kc + c))));
        }
    return {dx, dweight, sums[0]};
}

// relu6(bn2(depthwise3x3(relu6(bn1(x))))): answers the activation, the convolution's output and both normalisations.
// `kernel` is [9, channels].
std::vector<Tensor> depthwise_forward(const Tensor& x, const Tensor& norm1, const Tensor& kernel, const Tensor& weight2, const Tensor& bias2,
                                      int64_t stride, double eps) {
    check(x);
    int64_t n = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
    int64_t oh = (height - 1) / stride + 1, ow = (width - 1) / stride + 1, pitch = width + 2;
    Tensor y = at::empty({n, channels, oh, ow}, x.options(), at::MemoryFormat::ChannelsLast), a = at::empty_like(y), sums = zeros(2, channels);
    std::vector<float> padded((height + 2) * pitch * LANES, 0.f);
    const float *scale = floats(norm1), *shift = scale + channels, *taps = floats(kernel);
    for (int64_t image = 0; image < n; image++)
        for (int64_t c = 0; c < channels; c += LANES) {
            const Half* in = half(x) + image * height * width * channels + c;
            Half* out = half(y) + image * oh * ow * channels + c;
            if (image + 1 < n) ahead(half(x) + (image + 1) * height * width * channels, height * width, channels, c, channels);
            __m512 vs = _mm512_loadu_ps(scale + c), vh = _mm512_loadu_ps(shift + c);
            for (int64_t i = 0; i < height; i++)
                for (int64_t j = 0; j < width; j++)
                    _mm512_storeu_ps(&padded[((i + 1) * pitch + j + 1) * LANES], clip6(_mm512_fmadd_ps(load(in + (i * width + j) * channels), vs, vh)));
            __m512 w[9], s0 = _mm512_loadu_ps(floats(sums) + c), s1 = _mm512_loadu_ps(floats(sums) + channels + c);
            for (int t = 0; t < 9; t++) w[t] = _mm512_loadu_ps(taps + t * channels + c);
            for (int64_t i = 0; i < oh; i++)
                for (int64_t j = 0; j < ow; j++) {
                    const float* p = &padded[(i * stride * pitch + j * stride) * LANES];
                    __m512 row[3];
                    for (int t = 0; t < 3; t++) {
                        const float* q = p + t * pitch * LANES;
                        row[t] = _mm512_mul_ps(_mm512_loadu_ps(q), w[3 * t]);
                        row[t] = _mm512_fmadd_ps(_mm512_loadu_ps(q + LANES), w[3 * t + 1], row[t]);
                        row[t] = _mm512_fmadd_ps(_mm512_loadu_ps(q + 2 * LANES), w[3 * t + 2], row[t]);
                    }
                    __m512 v = _mm512_add_ps(_mm512_add_ps(row[0], row[1]), row[2]);
                    store(out + (i * ow + j) * channels, v);
                    s0 = _mm512_add_ps(s0, v);
                    s1 = _mm512_fmadd_ps(v, v, s1);
                }
            _mm512_storeu_ps(floats(sums) + c, s0);
            _mm512_storeu_ps(floats(sums) + channels + c, s1);
        }
    int64_t rows = n * oh * ow;
    Tensor norm2 = affine(sums, weight2, bias2, rows, eps);
    const float *scale2 = floats(norm2), *shift2 = scale2 + channels;
    const Half* in = half(y);
    Half* out = half(a);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < channels; c += LANES)
            store(out + r * channels + c, clip6(_mm512_fmadd_ps(load(in + r * channels + c), _mm512_loadu_ps(scale2 + c), _mm512_loadu_ps(shift2 + c))));
    return {a, y, norm2};
}

// Scale, shift and moments of x's batch norm.
Tensor norm_of(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
    check(x);
    int64_t channels = x.size(1), rows = x.numel() / channels;
    Tensor sums = zeros(2, channels);
    moments(half(x), rows, channels, floats(sums));
    return affine(sums, weight, bias, rows, eps);
}

// Answers dx, dweight1, dbias1, dkernel [9, channels], dweight2, dbias2.
std::vector<Tensor> depthwise_backward(const Tensor& grad, const Tensor& x, const Tensor& y, const Tensor& norm1, const Tensor& norm2,
                                       const Tensor& kernel, int64_t stride) {
    check(grad), check(x), check(y);
    int64_t n = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
    int64_t oh = y.size(2), ow = y.size(3), pitch = width + 2, rows2 = n * oh * ow, rows1 = n * height * width;
    Tensor sums2 = zeros(2, channels), dweight2, sums1 = zeros(2, channels), dweight1, dkernel = zeros(9, channels), dx = at::empty_like(x);
    const float *scale2 = floats(norm2), *shift2 = scale2 + channels, *scale1 = floats(norm1), *shift1 = scale1 + channels;
    {
        float *s0 = floats(sums2), *s1 = s0 + channels;
        const Half *g = half(grad), *in = half(y);
        for (int64_t r = 0; r < rows2; r++)
            for (int64_t c = 0; c < channels; c += LANES) {
                int64_t i = r * channels + c;
                __m512 v = load(in + i);
                __m512 d = _mm512_maskz_mov_ps(open6(_mm512_fmadd_ps(v, _mm512_loadu_ps(scale2 + c), _mm512_loadu_ps(shift2 + c))), load(g + i));
                _mm512_storeu_ps(s0 + c, _mm512_add_ps(_mm512_loadu_ps(s0 + c), d));
                _mm512_storeu_ps(s1 + c, _mm512_fmadd_ps(d, v, _mm512_loadu_ps(s1 + c)));
            }
    }
    Tensor k2 = coefficients(sums2, norm2, rows2, dweight2);
    std::vector<float> padded((height + 2) * pitch * LANES, 0.f), back((height + 2) * pitch * LANES);
    for (int64_t image = 0; image < n; image++)
        for (int64_t c = 0; c < channels; c += LANES) {
            const Half* in = half(x) + image * height * width * channels + c;
            Half* out = half(dx) + image * height * width * channels + c;
            const Half *g = half(grad) + image * oh * ow * channels + c, *conv = half(y) + image * oh * ow * channels + c;
            if (image + 1 < n) {
                ahead(half(x) + (image + 1) * height * width * channels, height * width, channels, c, channels);
                ahead(half(grad) + (image + 1) * oh * ow * channels, oh * ow, channels, c, channels);
                ahead(half(y) + (image + 1) * oh * ow * channels, oh * ow, channels, c, channels);
            }
            __m512 vs = _mm512_loadu_ps(scale1 + c), vh = _mm512_loadu_ps(shift1 + c);
            for (int64_t i = 0; i < height; i++)
                for (int64_t j = 0; j < width; j++)
                    _mm512_storeu_ps(&padded[((i + 1) * pitch + j + 1) * LANES], clip6(_mm512_fmadd_ps(load(in + (i * width + j) * channels), vs, vh)));
            std::fill(back.begin(), back.end(), 0.f);
            __m512 w[9], dw[9];
            for (int t = 0; t < 9; t++) {
                w[t] = _mm512_loadu_ps(floats(kernel) + t * channels + c);
                dw[t] = _mm512_loadu_ps(floats(dkernel) + t * channels + c);
            }
            __m512 vs2 = _mm512_loadu_ps(scale2 + c), vh2 = _mm512_loadu_ps(shift2 + c), ka = _mm512_loadu_ps(floats(k2) + c),
                   kb = _mm512_loadu_ps(floats(k2) + channels + c), kc = _mm512_loadu_ps(floats(k2) + 2 * channels + c);
            for (int64_t i = 0; i < oh; i++)
                for (int64_t j = 0; j < ow; j++) {
                    __m512 v = load(conv + (i * ow + j) * channels);
                    __m512 d = _mm512_maskz_mov_ps(open6(_mm512_fmadd_ps(v, vs2, vh2)), load(g + (i * ow + j) * channels));
                    d = _mm512_fmadd_ps(ka, d, _mm512_fmadd_ps(kb, v, kc));
                    int64_t at = (i * stride * pitch + j * stride) * LANES;
#pragma GCC unroll 9
                    for (int t = 0; t < 9; t++) {
                        int64_t offset = at + ((t / 3) * pitch + t % 3) * LANES;
                        dw[t] = _mm512_fmadd_ps(d, _mm512_loadu_ps(&padded[offset]), dw[t]);
                        _mm512_storeu_ps(&back[offset], _mm512_fmadd_ps(d, w[t], _mm512_loadu_ps(&back[offset])));
                    }
                }
            for (int t = 0; t < 9; t++) _mm512_storeu_ps(floats(dkernel) + t * channels + c, dw[t]);
            __m512 s0 = _mm512_loadu_ps(floats(sums1) + c), s1 = _mm512_loadu_ps(floats(sums1) + channels + c);
            for (int64_t i = 0; i < height; i++)
                for (int64_t j = 0; j < width; j++) {
                    __m512 v = load(in + (i * width + j) * channels);
                    __m512 d = _mm512_maskz_mov_ps(open6(_mm512_fmadd_ps(v, vs, vh)), _mm512_loadu_ps(&back[((i + 1) * pitch + j + 1) * LANES]));
                    s0 = _mm512_add_ps(s0, d);
                    s1 = _mm512_fmadd_ps(d, v, s1);
                    store(out + (i * width + j) * channels, d);
                }
            _mm512_storeu_ps(floats(sums1) + c, s0);
            _mm512_storeu_ps(floats(sums1) + channels + c, s1);
        }
    Tensor k1 = coefficients(sums1, norm1, rows1, dweight1);
    const float *ka = floats(k1), *kb = ka + channels, *kc = kb + channels;
    const Half* in = half(x);
    Half* out = half(dx);
    for (int64_t r = 0; r < rows1; r++)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t i = r * channels + c;
            store(out + i, _mm512_fmadd_ps(_mm512_loadu_ps(ka + c), load(out + i), _mm512_fmadd_ps(_mm512_loadu_ps(kb + c), load(in + i), _mm512_loadu_ps(kc + c))));
        }
    return {dx, dweight1, sums1[0], dkernel, dweight2, sums2[0]};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
    module.def("norm_of", &norm_of);
    module.def("norm_forward", &norm_forward);
    module.def("norm_backward", &norm_backward);
    module.def("depthwise_forward", &depthwise_forward);
    module.def("depthwise_backward", &depthwise_backward);
}
