// The integer layers that hls4ml does not have, or does not compute exactly: thresholds, rescaling, tables, sums and
// products of two tensors, windows (depthwise, maximum, sum), padding, concatenation, gathering, the largest element.
//
// Every layer exists twice, for io_parallel (arrays) and io_stream (one pixel with all channels per beat), and computes
// each element with the same function, so both are equal by construction. Nothing here rounds, wraps or saturates
// unless its comment says so. A stored word is the integer itself, but for bipolar tensors (-1, +1), which are stored
// as one bit (0, 1): `value_of` and `stored` translate. C++11, as build_prj.tcl asks for; codesign_flow.h names the
// types of the flow. Pragmas of other flows than the one that compiles are ignored by it. Vivado HLS and Vitis HLS want
// them in the body of a loop (HLS ...), Catapult (hls_...) and the Intel compilers (unroll, ii) before it.
#ifndef CODESIGN_LAYERS_H_
#define CODESIGN_LAYERS_H_

#include "codesign_flow.h"
#include "nnet_common.h"
#include "nnet_types.h"

namespace nnet {

// What the configuration of an integer layer overrides.
struct integer_config {
    static const unsigned n_beats = 1;         // pixels of the input
    static const unsigned n_chan = 1;          // channels of a pixel
    static const unsigned reuse_factor = 1;    // initiation interval of a pixel (io_stream) or a frame (io_parallel)
    static const bool in_bipolar = false;      // words of the input (of the first one) are bits for -1 and +1
    static const bool other_bipolar = false;   // the same of the second input
    static const bool out_bipolar = false;     // the same of the output
};

// The integer that a word stands for.
template <bool Bipolar, class value_T, class word_T> value_T value_of(const word_T &word) {
    #pragma HLS INLINE
    return Bipolar ? value_T(word == 0 ? -1 : 1) : value_T(word);
}

// The word for an integer that the type of the output holds.
template <bool Bipolar, class word_T, class value_T> word_T stored(const value_T &value) {
    #pragma HLS INLINE
    return Bipolar ? word_T(value > 0 ? 1 : 0) : word_T(value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Elementwise functions of one tensor
// ---------------------------------------------------------------------------------------------------------------------

// y = lo + step * #{i : x >= levels[c][i]}. CONFIG_T: n_levels, n_rows (1 or n_chan), lo, step, value_t, count_t.
struct threshold_function {
    template <class CONFIG_T, class res_T, class word_T, class level_T>
    static res_T apply(const word_T &word, unsigned channel, const level_T *levels) {
        #pragma HLS INLINE
        const typename CONFIG_T::value_t x = value_of<CONFIG_T::in_bipolar, typename CONFIG_T::value_t>(word);
        const unsigned row = CONFIG_T::n_rows == 1 ? 0 : channel;
        typename CONFIG_T::count_t y = CONFIG_T::lo;
    Levels:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned i = 0; i < CONFIG_T::n_levels; i++) {
            #pragma HLS UNROLL
            if (x >= levels[row * CONFIG_T::n_levels + i])
                y += CONFIG_T::step;
        }
        return stored<CONFIG_T::out_bipolar, res_T>(y);
    }
};

enum rounding { half_up = 0, half_even, tflite_double };

// y = clamp(round(x * multiplier[c] / 2^shift[c]) + zero_point, lo, hi).
// CONFIG_T: n_multipliers, n_shifts (1 or n_chan), rounding, zero_point, lo, hi, value_t, and wide_t, which holds the
// product plus half of the largest power of two and plus 2^30: no step of the computation wraps.
struct requant_function {
    template <class CONFIG_T, class res_T, class word_T, class multiplier_T, class shift_T>
    static res_T apply(const word_T &word, unsigned channel, const multiplier_T *multiplier, const shift_T *shift) {
        #pragma HLS INLINE
        typedef typename CONFIG_T::wide_t wide_T;
        const typename CONFIG_T::value_t x = value_of<CONFIG_T::in_bipolar, typename CONFIG_T::value_t>(word);
        const wide_T product = x * multiplier[CONFIG_T::n_multipliers == 1 ? 0 : channel];
        const int s = shift[CONFIG_T::n_shifts == 1 ? 0 : channel].to_int();
        const wide_T one = 1;
        wide_T sum = product;
        if (s > 0)
            sum += one << (s - 1);
        if (CONFIG_T::rounding == tflite_double && s > 31) {
            if (product >= 0)
                sum += one << 30;
            else
                sum -= one << 30;
        }
        wide_T rounded = sum >> s;
        if (CONFIG_T::rounding == half_even && s > 0) {
            const wide_T rest = sum - (rounded << s);
            if (rest == 0 && (rounded & one) != 0) // a tie, rounded up to an odd neighbour
                rounded -= one;
        }
        rounded += wide_T(CONFIG_T::zero_point);
        const wide_T lo = CONFIG_T::lo, hi = CONFIG_T::hi;
        return res_T(rounded < lo ? lo : rounded > hi ? hi : rounded);
    }
};

// y = table[c][x - lo]. CONFIG_T: n_rows (1 or n_chan), n_entries, lo, value_t. Bipolar inputs index with their bit.
struct lookup_function {
    template <class CONFIG_T, class res_T, class word_T, class entry_T>
    static res_T apply(const word_T &word, unsigned channel, const entry_T *table) {
        #pragma HLS INLINE
        const unsigned row = CONFIG_T::n_rows == 1 ? 0 : channel;
        const int index = CONFIG_T::in_bipolar ? word.to_int() : word.to_int() - CONFIG_T::lo;
        return stored<CONFIG_T::out_bipolar, res_T>(table[row * CONFIG_T::n_entries + index]);
    }
};

template <class function, class data_T, class res_T, class CONFIG_T, class... table_T>
void elementwise(const data_T *x, res_T *y, const table_T *...tables) {
    #pragma HLS INLINE
Pixels:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS UNROLL
    Channels:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            const unsigned k = i * CONFIG_T::n_chan + c;
            y[k] = function::template apply<CONFIG_T, res_T>(x[k], c, tables...);
        }
    }
}

template <class function, class data_T, class res_T, class CONFIG_T, class... table_T>
void elementwise(channel<data_T> &x, channel<res_T> &y, const table_T *...tables) {
    #pragma HLS INLINE
Pixels:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const data_T pixel = x.read();
        res_T result;
    Channels:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            result[c] = function::template apply<CONFIG_T, typename res_T::value_type>(pixel[c], c, tables...);
        }
        y.write(result);
    }
}

template <class data_T, class res_T, class CONFIG_T>
void threshold(data_T x[CONFIG_T::n_beats * CONFIG_T::n_chan], res_T y[CONFIG_T::n_beats * CONFIG_T::n_chan],
               const typename CONFIG_T::levels_t levels[CONFIG_T::n_rows * CONFIG_T::n_levels]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    #pragma HLS ARRAY_PARTITION variable=levels complete
    elementwise<threshold_function, data_T, res_T, CONFIG_T>(x, y, levels);
}

template <class data_T, class res_T, class CONFIG_T>
void threshold(channel<data_T> &x, channel<res_T> &y,
               const typename CONFIG_T::levels_t levels[CONFIG_T::n_rows * CONFIG_T::n_levels]) {
    #pragma HLS ARRAY_PARTITION variable=levels complete
    elementwise<threshold_function, data_T, res_T, CONFIG_T>(x, y, levels);
}

template <class data_T, class res_T, class CONFIG_T>
void requantise(data_T x[CONFIG_T::n_beats * CONFIG_T::n_chan], res_T y[CONFIG_T::n_beats * CONFIG_T::n_chan],
                const typename CONFIG_T::multiplier_t multiplier[CONFIG_T::n_multipliers],
                const typename CONFIG_T::shift_t shift[CONFIG_T::n_shifts]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    #pragma HLS ARRAY_PARTITION variable=multiplier complete
    #pragma HLS ARRAY_PARTITION variable=shift complete
    elementwise<requant_function, data_T, res_T, CONFIG_T>(x, y, multiplier, shift);
}

template <class data_T, class res_T, class CONFIG_T>
void requantise(channel<data_T> &x, channel<res_T> &y,
                const typename CONFIG_T::multiplier_t multiplier[CONFIG_T::n_multipliers],
                const typename CONFIG_T::shift_t shift[CONFIG_T::n_shifts]) {
    #pragma HLS ARRAY_PARTITION variable=multiplier complete
    #pragma HLS ARRAY_PARTITION variable=shift complete
    elementwise<requant_function, data_T, res_T, CONFIG_T>(x, y, multiplier, shift);
}

template <class data_T, class res_T, class CONFIG_T>
void lookup(data_T x[CONFIG_T::n_beats * CONFIG_T::n_chan], res_T y[CONFIG_T::n_beats * CONFIG_T::n_chan],
            const typename CONFIG_T::table_t table[CONFIG_T::n_rows * CONFIG_T::n_entries]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    elementwise<lookup_function, data_T, res_T, CONFIG_T>(x, y, table);
}

template <class data_T, class res_T, class CONFIG_T>
void lookup(channel<data_T> &x, channel<res_T> &y,
            const typename CONFIG_T::table_t table[CONFIG_T::n_rows * CONFIG_T::n_entries]) {
    elementwise<lookup_function, data_T, res_T, CONFIG_T>(x, y, table);
}

// ---------------------------------------------------------------------------------------------------------------------
// Two tensors
// ---------------------------------------------------------------------------------------------------------------------

// y = a + b. CONFIG_T: value_t, which holds both and their sum.
struct add_function {
    template <class CONFIG_T, class res_T, class a_T, class b_T> static res_T apply(const a_T &a, const b_T &b) {
        #pragma HLS INLINE
        typedef typename CONFIG_T::value_t value_T;
        const value_T left = value_of<CONFIG_T::in_bipolar, value_T>(a);
        const value_T right = value_of<CONFIG_T::other_bipolar, value_T>(b);
        return stored<CONFIG_T::out_bipolar, res_T>(value_T(left + right));
    }
};

// y = a * b. CONFIG_T: value_t, which holds both and their product.
struct multiply_function {
    template <class CONFIG_T, class res_T, class a_T, class b_T> static res_T apply(const a_T &a, const b_T &b) {
        #pragma HLS INLINE
        typedef typename CONFIG_T::value_t value_T;
        const value_T left = value_of<CONFIG_T::in_bipolar, value_T>(a);
        const value_T right = value_of<CONFIG_T::other_bipolar, value_T>(b);
        return stored<CONFIG_T::out_bipolar, res_T>(value_T(left * right));
    }
};

template <class function, class a_T, class b_T, class res_T, class CONFIG_T>
void pairwise(const a_T *a, const b_T *b, res_T *y) {
    #pragma HLS INLINE
Elements:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned k = 0; k < CONFIG_T::n_beats * CONFIG_T::n_chan; k++) {
        #pragma HLS UNROLL
        y[k] = function::template apply<CONFIG_T, res_T>(a[k], b[k]);
    }
}

template <class function, class a_T, class b_T, class res_T, class CONFIG_T>
void pairwise(channel<a_T> &a, channel<b_T> &b, channel<res_T> &y) {
    #pragma HLS INLINE
Pixels:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const a_T left = a.read();
        const b_T right = b.read();
        res_T result;
    Channels:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            result[c] = function::template apply<CONFIG_T, typename res_T::value_type>(left[c], right[c]);
        }
        y.write(result);
    }
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void integer_add(a_T a[CONFIG_T::n_beats * CONFIG_T::n_chan], b_T b[CONFIG_T::n_beats * CONFIG_T::n_chan],
                 res_T y[CONFIG_T::n_beats * CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    pairwise<add_function, a_T, b_T, res_T, CONFIG_T>(a, b, y);
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void integer_add(channel<a_T> &a, channel<b_T> &b, channel<res_T> &y) {
    pairwise<add_function, a_T, b_T, res_T, CONFIG_T>(a, b, y);
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void integer_multiply(a_T a[CONFIG_T::n_beats * CONFIG_T::n_chan], b_T b[CONFIG_T::n_beats * CONFIG_T::n_chan],
                      res_T y[CONFIG_T::n_beats * CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    pairwise<multiply_function, a_T, b_T, res_T, CONFIG_T>(a, b, y);
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void integer_multiply(channel<a_T> &a, channel<b_T> &b, channel<res_T> &y) {
    pairwise<multiply_function, a_T, b_T, res_T, CONFIG_T>(a, b, y);
}

// The channels of a, then those of b. CONFIG_T: n_chan of a, n_other of b.
template <class a_T, class b_T, class res_T, class CONFIG_T>
void concatenate_channels(a_T a[CONFIG_T::n_beats * CONFIG_T::n_chan], b_T b[CONFIG_T::n_beats * CONFIG_T::n_other],
                          res_T y[CONFIG_T::n_beats * (CONFIG_T::n_chan + CONFIG_T::n_other)]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    const unsigned n_out = CONFIG_T::n_chan + CONFIG_T::n_other;
Pixels:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS UNROLL
    First:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            y[i * n_out + c] = a[i * CONFIG_T::n_chan + c];
        }
    Second:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_other; c++) {
            #pragma HLS UNROLL
            y[i * n_out + CONFIG_T::n_chan + c] = b[i * CONFIG_T::n_other + c];
        }
    }
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void concatenate_channels(channel<a_T> &a, channel<b_T> &b, channel<res_T> &y) {
Pixels:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const a_T left = a.read();
        const b_T right = b.read();
        res_T result;
    First:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            result[c] = left[c];
        }
    Second:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_other; c++) {
            #pragma HLS UNROLL
            result[CONFIG_T::n_chan + c] = right[c];
        }
        y.write(result);
    }
}

// The smallest index of the largest element of each pixel.
template <class CONFIG_T, class res_T, class pixel_T> res_T index_of_largest(const pixel_T &pixel, unsigned first) {
    #pragma HLS INLINE
    unsigned best = 0;
Channels:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned c = 1; c < CONFIG_T::n_chan; c++) {
        #pragma HLS UNROLL
        if (pixel[first + c] > pixel[first + best])
            best = c;
    }
    return res_T(best);
}

template <class data_T, class res_T, class CONFIG_T>
void argmax_channels(data_T x[CONFIG_T::n_beats * CONFIG_T::n_chan], res_T y[CONFIG_T::n_beats]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
Pixels:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS UNROLL
        y[i] = index_of_largest<CONFIG_T, res_T>(x, i * CONFIG_T::n_chan);
    }
}

template <class data_T, class res_T, class CONFIG_T> void argmax_channels(channel<data_T> &x, channel<res_T> &y) {
Pixels:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const data_T pixel = x.read();
        res_T result;
        result[0] = index_of_largest<CONFIG_T, typename res_T::value_type>(pixel, 0);
        y.write(result);
    }
}

} // namespace nnet

#include "codesign_shapes.h"
#include "codesign_softmax.h"
#include "codesign_windows.h"

#ifdef CODESIGN_ARRAYS
#include "codesign_arrays.h"
#endif

#endif
