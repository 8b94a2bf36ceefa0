/* The LSTM on a CPU, a step or a whole direction, and the products that it and the layers beside it are made of.

   Called from kernels.py, which says what may be passed. A loop over time is one call. Which entry a step reads and
   writes is a list of places, so that a direction that runs backwards, and rows that end early, need no copies.

   Gates are i, f, g, o (Hochreiter & Schmidhuber 1997; the equations of torch.nn.LSTM). Sizes are in floats.
*/
#include "products.h"

#define MOST_LINES 4 /* of memory that a product asks for with 8 inputs; those of a loop over time stay in the cache */

static const float NONE[LANES]; /* zeros: the cells before the first step */

/* A matrix as panels: panel p holds, input by input, 8 of its rows. With 4 `parts` the panels of the same 8 rows of
   each quarter are neighbours. Inputs go to `first` and on, of `width` that a panel has. */
void aural_pack(const float *matrix, long row_step, long input_step, long rows, long inputs, long parts, long first,
                long width, float *panels) {
    long blocks = (rows / parts + LANES - 1) / LANES;
#pragma omp parallel for schedule(static)
    for (long panel = 0; panel < blocks * parts; panel++) {
        long row = panel % parts * (rows / parts) + panel / parts * LANES;
        float *to = panels + (panel * width + first) * LANES;
        for (long k = 0; k < inputs; k++)
            for (long lane = 0; lane < LANES; lane++)
                to[k * LANES + lane] = row + lane < rows ? matrix[(row + lane) * row_step + k * input_step] : 0.0f;
    }
}

/* into (rows, columns) = start (columns) + inputs (rows, inputs) @ panels, with tanh if `bent`; without a start the
   product is added to what is there. Columns are a multiple of 8. Rows come in groups of so many, each of which has
   panels of its own, one after the other. */
void aural_product(long groups, const long *sizes, long rows, long inputs, long columns, const float *from,
                   long from_step, const float *panels, const float *start, long bent, float *into, long into_step) {
    buffer copied = make_buffer(rows, inputs);
    float **sums = malloc(sizeof(float *) * rows);
    for (long row = 0; row < rows; row++) {
        fill(copied, row, from + row * from_step);
        sums[row] = into + row * into_step;
    }
    float *const *own = sums;
    buffer read = copied;
    for (long group = 0; group < groups; group++, panels += inputs * columns) {
        multiply_all(read, sizes[group], panels, columns, start, bent, own, MOST_LINES);
        read.rows += sizes[group] * read.step;
        own += sizes[group];
    }
    free(sums);
    free(copied.rows);
}

/* ---- the LSTM's nonlinear half ---- */

/* 8 units of a row: gates before to gates after their sigmoid or tanh; the new cell and hidden state. */
static inline void cell_forward(float *gates, long units, const float *before, float *cell, float *hidden) {
    vec i = sigmoid(load(gates)), f = sigmoid(load(gates + units));
    vec g = tangent(load(gates + 2 * units)), o = sigmoid(load(gates + 3 * units));
    vec next = i * g + f * load(before);
    store(gates, i);
    store(gates + units, f);
    store(gates + 2 * units, g);
    store(gates + 3 * units, o);
    store(cell, next);
    store(hidden, o * tangent(next));
}

/* The way back, from the gradients by the hidden state and by the new cell, which becomes that by the cell before. */
static inline void cell_backward(const float *gates, long units, const float *before, const float *cell, vec d_hidden,
                                 float *d_cell, float *d_gates) {
    vec one = all(1.0f), i = load(gates), f = load(gates + units), g = load(gates + 2 * units);
    vec o = load(gates + 3 * units), said = tangent(load(cell));
    vec d_next = load(d_cell) + d_hidden * o * (one - said * said);
    store(d_gates, d_next * g * i * (one - i));
    store(d_gates + units, d_next * load(before) * f * (one - f));
    store(d_gates + 2 * units, d_next * i * (one - g * g));
    store(d_gates + 3 * units, d_hidden * said * o * (one - o));
    store(d_cell, d_next * f);
}

/* A step of `rows` rows: gates are sums[place[row]] + shares[which[row]], each of 4 units, a missing list meaning the
   row itself and missing shares nothing. Cells before and after, hidden states (rows, units). */
void aural_cell(long rows, long units, const float *sums, const long *place, const float *shares, const long *which,
                const float *before, float *cell, float *hidden) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        const float *sum = sums + (place ? place[row] : row) * 4 * units;
        const float *share = shares ? shares + (which ? which[row] : row) * 4 * units : NULL;
        for (long unit = 0; unit < units; unit += LANES) {
            float gates[4 * LANES];
            for (int gate = 0; gate < 4; gate++) {
                vec value = load(sum + gate * units + unit);
                if (share) value += load(share + gate * units + unit);
                store(gates + gate * LANES, value);
            }
            long at = row * units + unit;
            cell_forward(gates, LANES, before + at, cell + at, hidden + at);
        }
    }
}

/* ---- a direction of a layer, all steps ---- */

/* From zeros. Step t has rows[t] rows, never more than the step before; row r of it lies at entry places[start + r],
   start being the rows of all steps before. gates (entries, 4 units) come with what inputs and biases add, and leave
   after their sigmoid or tanh; cells (entries, units); hidden states (entries, hidden_step). */
void aural_lstm(long steps, const long *rows, const long *places, long units, const float *panels, float *gates,
                float *cells, float *hiddens, long hidden_step) {
    buffer copied = make_buffer(rows[0], units);
    float **sums = malloc(sizeof(float *) * rows[0]);
    const long *earlier = NULL;
    for (long step = 0; step < steps; earlier = places, places += rows[step++]) {
        long count = rows[step];
        for (long row = 0; row < count; row++) {
            sums[row] = gates + places[row] * 4 * units;
            if (earlier) fill(copied, row, hiddens + earlier[row] * hidden_step);
        }
#pragma omp parallel for schedule(static)
        for (long unit = 0; unit < units; unit += LANES) {
            if (earlier) multiply(copied, count, panels + 4 * unit * units, 4, sums, unit, units, 0);
            for (long row = 0; row < count; row++)
                cell_forward(sums[row] + unit, units, earlier ? cells + earlier[row] * units + unit : NONE,
                             cells + places[row] * units + unit, hiddens + places[row] * hidden_step + unit);
        }
    }
    free(sums);
    free(copied.rows);
}

/* The way back: from the gradients by the hidden states (entries, d_hidden_step) those by the gates before their
   sigmoid or tanh (entries, 4 units). The panels hold the matrix the other way round, from gates to hidden states. */
void aural_lstm_back(long steps, const long *rows, const long *places, long units, const float *panels,
                     const float *gates, const float *cells, const float *d_hiddens, long d_hidden_step,
                     float *d_gates) {
    buffer copied = make_buffer(rows[0], 4 * units);
    float *carried = calloc(2 * rows[0] * units, sizeof(float)), *d_cell = carried + rows[0] * units;
    float **sums = malloc(sizeof(float *) * rows[0]);
    for (long row = 0; row < rows[0]; row++) sums[row] = carried + row * units;
    for (long step = 0; step < steps; step++) places += rows[step];
    for (long step = steps - 1; step >= 0; step--) {
        long count = rows[step];
        places -= count;
        const long *earlier = step ? places - rows[step - 1] : NULL;
        for (long row = 0; row < count; row++) {
            long entry = places[row];
            for (long unit = 0; unit < units; unit += LANES) {
                vec d_hidden = load(d_hiddens + entry * d_hidden_step + unit) + load(sums[row] + unit);
                cell_backward(gates + entry * 4 * units + unit, units,
                              earlier ? cells + earlier[row] * units + unit : NONE, cells + entry * units + unit,
                              d_hidden, d_cell + row * units + unit, d_gates + entry * 4 * units + unit);
            }
            fill(copied, row, d_gates + entry * 4 * units);
        }
        memset(carried, 0, sizeof(float) * count * units);
        if (earlier) multiply_all(copied, count, panels, units, NULL, 0, sums, 0);
    }
    free(sums);
    free(carried);
    free(copied.rows);
}
