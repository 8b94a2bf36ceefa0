/* Products of few rows with a matrix that stays.

   - With 4 to 64 rows a product reads the matrix about as long as it multiplies. A tile of up to 6 rows by 16 columns
     keeps its sums in registers over all inputs, so the matrix is read once per 6 rows, in the order in which it lies
     ("panels" of 8 columns). On AVX2 that reaches 60 to 100% of what a product of large matrices reaches, where oneDNN
     reaches 45 to 80%;
   - rows are copied into a buffer first: rows whose distance is a multiple of 4 KiB push each other out of the cache;
   - OpenMP's functions are those that torch brings (nothing is linked here), so its number of threads is torch's.
*/
#ifndef AURAL_PRODUCTS
#define AURAL_PRODUCTS
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define MOST_ROWS 6 /* of a tile: with 2 panels 12 of the 16 registers hold sums */
#define FEW_ROWS 3  /* up to so many rows a tile takes 4 panels, or the sums would wait for each other */

/* Rows of what a tile multiplies, one after the other; `step` is the distance between two. */
typedef struct {
    float *rows;
    long step, inputs;
} buffer;

static buffer make_buffer(long rows, long inputs) {
    long step = inputs + 2 * LANES; /* no multiple of 4 KiB where inputs are a power of two */
    return (buffer){malloc(sizeof(float) * rows * step), step, inputs};
}

static void fill(buffer into, long row, const float *from) {
    memcpy(into.rows + row * into.step, from, sizeof(float) * into.inputs);
}

/* sums[r][c] += inputs[r] . panel c; `apart` lies between the columns of two panels in the sums. */
#define TILE(R, C)                                                                                                   \
    static void tile_##R##_##C(const float *inputs, long step, long count, const float *panels, float *const *sums,  \
                               long apart) {                                                                         \
        vec sum[R][C];                                                                                               \
        for (int r = 0; r < R; r++)                                                                                  \
            for (int c = 0; c < C; c++) sum[r][c] = load(sums[r] + c * apart);                                       \
        for (long k = 0; k < count; k++) {                                                                           \
            vec weight[C];                                                                                           \
            for (int c = 0; c < C; c++) weight[c] = load(panels + (c * count + k) * LANES);                          \
            for (int r = 0; r < R; r++) {                                                                            \
                vec value = all(inputs[r * step + k]);                                                               \
                for (int c = 0; c < C; c++) sum[r][c] += value * weight[c];                                          \
            }                                                                                                        \
        }                                                                                                            \
        for (int r = 0; r < R; r++)                                                                                  \
            for (int c = 0; c < C; c++) store(sums[r] + c * apart, sum[r][c]);                                       \
    }
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1)
TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
TILE(1, 4) TILE(2, 4) TILE(3, 4)

typedef void tile(const float *, long, long, const float *, float *const *, long);
static tile *const ONE[] = {tile_1_1, tile_2_1, tile_3_1, tile_4_1, tile_5_1, tile_6_1};
static tile *const TWO[] = {tile_1_2, tile_2_2, tile_3_2, tile_4_2, tile_5_2, tile_6_2};
static tile *const FOUR[] = {tile_1_4, tile_2_4, tile_3_4};

/* All rows of the buffer by `count` neighbouring panels (1, 2 or 4), two at a time while they are in the cache, into
   sums[row]. */
static void multiply(buffer from, long rows, const float *panels, int count, float *const *sums, long offset,
                     long apart) {
    long groups = (rows + MOST_ROWS - 1) / MOST_ROWS;
    int wide = count == 4 && rows <= FEW_ROWS ? 4 : count >= 2 ? 2 : 1;
    tile *const *tiles = wide == 4 ? FOUR : wide == 2 ? TWO : ONE;
    for (int first = 0; first < count; first += wide) {
        for (long group = 0, row = 0; group < groups; group++) {
            long taken = rows * (group + 1) / groups - row; /* of nearly equal sizes: 8 are 4 and 4 */
            float *at[MOST_ROWS];
            for (long r = 0; r < taken; r++) at[r] = sums[row + r] + offset + first * apart;
            const float *inputs = from.rows + row * from.step;
            tiles[taken - 1](inputs, from.step, from.inputs, panels + first * from.inputs * LANES, at, apart);
            row += taken;
        }
    }
}

/* sums[row] = start + buffer[row] @ panels, over all columns (a multiple of 8); without a start they are added to. */
static void multiply_all(buffer from, long rows, const float *panels, long columns, const float *start, int bent,
                         float *const *sums) {
    long count = columns / LANES;
#pragma omp parallel for schedule(static)
    for (long at = 0; at < count; at += 4) {
        long wide = count - at < 4 ? count - at : 4, first = at * LANES;
        for (long row = 0; row < rows && start; row++)
            memcpy(sums[row] + first, start + first, sizeof(float) * wide * LANES);
        for (long done = 0, next; done < wide; done += next) {
            next = wide - done == 3 ? 2 : wide - done;
            multiply(from, rows, panels + (at + done) * from.inputs * LANES, next, sums, first + done * LANES, LANES);
        }
        for (long row = 0; row < rows && bent; row++)
            for (long c = 0; c < wide; c++) {
                float *sum = sums[row] + first + c * LANES;
                store(sum, tangent(load(sum)));
            }
    }
}

#endif
