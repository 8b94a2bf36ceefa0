/* 8 numbers at once, and the functions of an LSTM and of softmax.

   Built for x86-64 with AVX2 and FMA by a compiler that speaks GNU C. Elsewhere the build of this library fails, which
   is allowed: aural then uses torch's own operations.
*/
#ifndef AURAL_VECTORS
#define AURAL_VECTORS
#include <immintrin.h>

#define LANES 8

typedef float vec __attribute__((vector_size(32), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(32), aligned(4), may_alias));

static inline vec load(const float *at) { return *(const vec *)at; }
static inline void store(float *at, vec values) { *(vec *)at = values; }
static inline vec all(float value) { return (vec){value, value, value, value, value, value, value, value}; }

/* e^x within 2 units in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cody & Waite 1980; the
   coefficients are Taylor's, whose first left-out term is below 1e-8 there). */
static inline vec exponential(vec x) {
    const vec most = all(87.0f), shift = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = _mm256_max_ps(-most, _mm256_min_ps(most, x)); /* in this order NaN stays NaN */
    vec shifted = x * all(1.44269504f) + shift, n = shifted - shift;
    vec r = x - n * all(0.693359375f) - n * all(-2.12194440e-4f);
    vec p = all(1.0f / 5040);
    p = p * r + all(1.0f / 720);
    p = p * r + all(1.0f / 120);
    p = p * r + all(1.0f / 24);
    p = p * r + all(1.0f / 6);
    p = p * r + all(0.5f);
    p = p * r + all(1.0f);
    p = p * r + all(1.0f);
    return p * (vec)(((ivec)shifted - (ivec)shift + 127) << 23);
}

static inline vec sigmoid(vec x) { return all(1.0f) / (all(1.0f) + exponential(-x)); }
static inline vec tangent(vec x) { return all(1.0f) - all(2.0f) / (all(1.0f) + exponential(x + x)); }

#endif
