/* Products of few rows with a matrix that stays.

   - With 4 to 64 rows a product reads the matrix about as long as it multiplies. A tile, of 6 rows by 16 columns
     or 4 by 24, keeps its sums in registers over all inputs, so the matrix is read once per tile, as it lies
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

/* Rows of a tile, at most. With 2 panels 6 make 12 sums, which leaves 4 of the 16 registers; where rows make smaller
   tiles it takes 3 or 4, since with 8 sums or fewer additions wait for each other. */
#define MOST_ROWS 6
#define SOME_ROWS 4
#define FEW_ROWS 3
#define LINE 16 /* of memory */

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

#define ADD(R, C, k)                                                                                                 \
    {                                                                                                                \
        vec weight[C];                                                                                               \
        for (int c = 0; c < C; c++) weight[c] = load(panels + (c * count + k) * LANES);                              \
        for (int r = 0; r < R; r++) {                                                                                \
            vec value = all(inputs[r * step + k]);                                                                   \
            for (int c = 0; c < C; c++) sum[r][c] += value * weight[c];                                              \
        }                                                                                                            \
    }

/* near_: sums[r][c] += inputs[r] . panel c; `apart` lies between the columns of two panels in the sums.
   far_: the same, and with every 8 inputs so many lines of memory are asked for, from `ahead` on. They are two because
   a tile that could ask is slower where it does not. */
#define TILE(R, C)                                                                                                   \
    static void near_##R##_##C(const float *inputs, long step, long count, const float *panels, float *const *sums,  \
                               long apart, const float *ahead, long lines) {                                         \
        vec sum[R][C];                                                                                               \
        (void)ahead, (void)lines;                                                                                    \
        for (int r = 0; r < R; r++)                                                                                  \
            for (int c = 0; c < C; c++) sum[r][c] = load(sums[r] + c * apart);                                       \
        for (long k = 0; k < count; k++) ADD(R, C, k)                                                                \
        for (int r = 0; r < R; r++)                                                                                  \
            for (int c = 0; c < C; c++) store(sums[r] + c * apart, sum[r][c]);                                       \
    }                                                                                                                \
    static void far_##R##_##C(const float *inputs, long step, long count, const float *panels, float *const *sums,   \
                              long apart, const float *ahead, long lines) {                                          \
        vec sum[R][C];                                                                                               \
        for (int r = 0; r < R; r++)                                                                                  \
            for (int c = 0; c < C; c++) sum[r][c] = load(sums[r] + c * apart);                                       \
        long k = 0;                                                                                                  \
        for (; k + LANES <= count; k += LANES) {                                                                     \
            for (long line = 0; line < lines; line++, ahead += LINE) __builtin_prefetch(ahead, 0, 2);                \
            _Pragma("GCC unroll 8") for (long each = k; each < k + LANES; each++) ADD(R, C, each)                    \
        }                                                                                                            \
        for (; k < count; k++) ADD(R, C, k)                                                                          \
        for (int r = 0; r < R; r++)                                                                                  \
            for (int c = 0; c < C; c++) store(sums[r] + c * apart, sum[r][c]);                                       \
    }
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1)
TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
TILE(1, 3) TILE(2, 3) TILE(3, 3) TILE(4, 3)
TILE(1, 4) TILE(2, 4) TILE(3, 4)

typedef void tile(const float *, long, long, const float *, float *const *, long, const float *, long);
#define ALL(kind) \
    {{kind##_1_1, kind##_2_1, kind##_3_1, kind##_4_1, kind##_5_1, kind##_6_1}, \
     {kind##_1_2, kind##_2_2, kind##_3_2, kind##_4_2, kind##_5_2, kind##_6_2}, \
     {kind##_1_3, kind##_2_3, kind##_3_3, kind##_4_3}, \
     {kind##_1_4, kind##_2_4, kind##_3_4}}
static tile *const NEAR[][MOST_ROWS] = ALL(near), *const FAR[][MOST_ROWS] = ALL(far);

static long tiles_of(long rows) { return (rows + MOST_ROWS - 1) / MOST_ROWS; }

/* All rows of the buffer by `count` neighbouring panels (1 to 4, and 3 only where tiles have up to 4 rows), four of
   them two at a time while they are in the cache, into sums[row].

   While tiles multiply by a panel, the next one is brought nearer, by as many lines as all tiles together need, up to
   `most_lines` each: where the matrix does not stay in the cache from one product to the next, that is a tenth to a
   quarter of the time. With up to 3 rows there is nothing to wait beside. */
static void multiply(buffer from, long rows, const float *panels, int count, float *const *sums, long offset,
                     long apart, long most_lines) {
    long groups = tiles_of(rows);
    int wide = count == 4 && rows > FEW_ROWS ? 2 : count;
    long lines = (wide * LANES * LANES / LINE + groups - 1) / groups;
    lines = rows <= FEW_ROWS ? 0 : lines < most_lines ? lines : most_lines;
    tile *const *tiles = lines ? FAR[wide - 1] : NEAR[wide - 1];
    for (int first = 0; first < count; first += wide, panels += wide * from.inputs * LANES) {
        const float *ahead = panels + wide * from.inputs * LANES;
        for (long group = 0, row = 0; group < groups; group++) {
            long taken = rows * (group + 1) / groups - row; /* of nearly equal sizes: 8 are 4 and 4 */
            float *at[MOST_ROWS];
            for (long r = 0; r < taken; r++) at[r] = sums[row + r] + offset + first * apart;
            const float *inputs = from.rows + row * from.step;
            tiles[taken - 1](inputs, from.step, from.inputs, panels, at, apart, ahead, lines);
            ahead += from.inputs / LANES * lines * LINE;
            row += taken;
        }
    }
}

/* sums[row] = start + buffer[row] @ panels, over all columns (a multiple of 8); without a start they are added to.
   `most_lines` as above. */
static void multiply_all(buffer from, long rows, const float *panels, long columns, const float *start, int bent,
                         float *const *sums, long most_lines) {
    if (!rows) return;
    long count = columns / LANES, most = (rows + tiles_of(rows) - 1) / tiles_of(rows);
    long together = most == SOME_ROWS ? 3 : 4;
#pragma omp parallel for schedule(static)
    for (long at = 0; at < count; at += together) {
        long wide = count - at < together ? count - at : together, first = at * LANES;
        for (long row = 0; row < rows && start; row++)
            memcpy(sums[row] + first, start + first, sizeof(float) * wide * LANES);
        for (long done = 0, next; done < wide; done += next) {
            next = wide - done == 3 && most > SOME_ROWS ? 2 : wide - done;
            multiply(from, rows, panels + (at + done) * from.inputs * LANES, next, sums, first + done * LANES, LANES,
                     most_lines);
        }
        for (long row = 0; row < rows && bent; row++)
            for (long c = 0; c < wide; c++) {
                float *sum = sums[row] + first + c * LANES;
                store(sum, tangent(load(sum)));
            }
    }
}

#endif
