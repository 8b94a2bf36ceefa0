/* A look at the memory: dot attention of few queries, over the memory as it lies.

   Called from kernels.py, which says what may be passed. With one query per utterance a look is a matter of reading
   keys and values, so both are read once, from front to back.
*/
#include <math.h>
#include <string.h>

#include "vectors.h"

/* scores[q] = queries[q] . each of two keys, for 4 queries; the rest of a size beyond 8s comes one by one. */
static void score_two(long size, const float *const *queries, const float *const *keys, float scores[4][2]) {
    vec sum[4][2] = {{{0}}};
    long whole = size / LANES * LANES;
    for (long k = 0; k < whole; k += LANES) {
        vec first = load(keys[0] + k), second = load(keys[1] + k);
        for (int q = 0; q < 4; q++) {
            vec query = load(queries[q] + k);
            sum[q][0] += query * first;
            sum[q][1] += query * second;
        }
    }
    for (int q = 0; q < 4; q += 2) { /* sums over lanes, four at once: each half has a part of all four */
        vec part = _mm256_hadd_ps(_mm256_hadd_ps(sum[q][0], sum[q][1]), _mm256_hadd_ps(sum[q + 1][0], sum[q + 1][1]));
        for (int each = 0; each < 4; each++) scores[q + each / 2][each % 2] = part[each] + part[4 + each];
    }
    for (long k = whole; k < size; k++)
        for (int q = 0; q < 4; q++)
            for (int key = 0; key < 2; key++) scores[q][key] += queries[q][k] * keys[key][k];
}

/* Scores (queries, count) to weights: softmax over keys with a mask, 0 elsewhere; all 0 where no key has one. */
static void soften(float *scores, const float *offsets, const unsigned char *mask, long count) {
    float most = -INFINITY, sum = 0;
    for (long key = 0; key < count; key++) {
        scores[key] += offsets[key];
        if (mask[key] && scores[key] > most) most = scores[key];
    }
    for (long key = 0; key < count; key += LANES) {
        float part[LANES] = {0};
        long left = count - key < LANES ? count - key : LANES;
        for (long lane = 0; lane < left; lane++) part[lane] = scores[key + lane] - most;
        vec weights = exponential(load(part));
        for (long lane = 0; lane < left; lane++) sum += scores[key + lane] = mask[key + lane] ? weights[lane] : 0.0f;
    }
    for (long key = 0; key < count; key++) scores[key] = sum != 0 ? scores[key] / sum : 0.0f;
}

/* contexts[q] (width, a multiple of 8) = weights[q] (count) @ values (count, width), for two queries, 4 values at a
   time. */
static void mix_two(const float *const *weights, const float *values, long count, long width, float *const *contexts) {
    for (int q = 0; q < 2; q++) memset(contexts[q], 0, sizeof(float) * width);
    for (long key = 0; key < count; key += 4) {
        vec weight[2][4];
        const float *value[4];
        for (long next = 0; next < 4; next++) {
            long at = key + next < count ? key + next : key;
            value[next] = values + at * width;
            for (int q = 0; q < 2; q++) weight[q][next] = all(key + next < count ? weights[q][at] : 0.0f);
        }
        for (long c = 0; c < width; c += LANES) {
            vec first = load(contexts[0] + c), second = load(contexts[1] + c);
            for (int next = 0; next < 4; next++) {
                vec read = load(value[next] + c);
                first += weight[0][next] * read;
                second += weight[1][next] * read;
            }
            store(contexts[0] + c, first);
            store(contexts[1] + c, second);
        }
    }
}

/* Dot attention: of each utterance, `queries` rows ask its `count` keys. asked (utterances, queries, size), keys
   (utterances, count, size), offsets and mask (utterances, count), values (utterances, count, width) to weights
   (utterances, queries, count) and contexts (utterances, queries, width). */
void aural_attend(long utterances, long queries, long count, long size, long width, const float *asked,
                  const float *keys, const float *offsets, const unsigned char *mask, const float *values,
                  float *weights, float *contexts) {
#pragma omp parallel for schedule(static)
    for (long utterance = 0; utterance < utterances; utterance++) {
        const float *own_keys = keys + utterance * count * size, *own_values = values + utterance * count * width;
        float *rows = weights + utterance * queries * count;
        for (long key = 0; key < count; key += 2) {
            long next = key + 1 < count ? key + 1 : key; /* an odd last key is asked twice */
            const float *two_keys[2] = {own_keys + key * size, own_keys + next * size};
            for (long query = 0; query < queries; query += 4) {
                const float *at[4];
                float scores[4][2];
                int taken = queries - query < 4 ? queries - query : 4;
                for (int q = 0; q < 4; q++) at[q] = asked + (utterance * queries + query + (q < taken ? q : 0)) * size;
                score_two(size, at, two_keys, scores);
                for (int q = 0; q < taken; q++) {
                    rows[(query + q) * count + key] = scores[q][0];
                    rows[(query + q) * count + next] = scores[q][next - key];
                }
            }
        }
        for (long query = 0; query < queries; query++)
            soften(rows + query * count, offsets + utterance * count, mask + utterance * count, count);
        for (long query = 0; query < queries; query += 2) {
            long next = query + 1 < queries ? query + 1 : query; /* an odd last one twice, the same to the same place */
            const float *two_weights[2] = {rows + query * count, rows + next * count};
            float *first = contexts + (utterance * queries + query) * width;
            float *two_contexts[2] = {first, first + (next - query) * width};
            mix_two(two_weights, own_values, count, width, two_contexts);
        }
    }
}
