// Softmax of 8-bit integers as TFLite's reference kernel has it, bit by bit: the fixed-point functions of gemmlowp, as in
// codesign/ir/ops/fixed_point.py, whose exponentials are a table here. Included by codesign_layers.h.
//
// A value in Qm.n is a 32-bit integer that stands for value / 2^n, m + n = 31; products are formed in 64 bits.
#ifndef CODESIGN_SOFTMAX_H_
#define CODESIGN_SOFTMAX_H_

namespace nnet {

static const long long largest_int32 = 2147483647LL, smallest_int32 = -2147483647LL - 1;

// round(a * b / 2^31), ties towards +infinity, limited to 32 bits.
inline long long doubling_high_mul(long long a, long long b) {
    #pragma HLS INLINE
    const long long rounded = (a * b + (1LL << 30)) >> 31;
    return rounded > largest_int32 ? largest_int32 : rounded;
}

// round(x / 2^exponent), ties away from zero.
inline long long rounding_divide_by_pot(long long x, int exponent) {
    #pragma HLS INLINE
    const long long mask = (1LL << exponent) - 1;
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0 ? 1 : 0) ? 1 : 0);
}

// x * 2^exponent, limited to 32 bits.
inline long long saturating_shift_left(long long x, int exponent) {
    #pragma HLS INLINE
    const long long shifted = x * (1LL << exponent);
    return shifted > largest_int32 ? largest_int32 : shifted < smallest_int32 ? smallest_int32 : shifted;
}

// 1 / (1 + a) for 0 <= a < 1, Q0.31: three Newton steps for the reciprocal of (1 + a) / 2, in Q2.29.
inline long long one_over_one_plus_x(long long a) {
    #pragma HLS INLINE
    const long long half_denominator = (a + largest_int32 + 1) >> 1;
    long long x = 1515870810LL + doubling_high_mul(half_denominator, -1010580540LL); // 48/17 - 32/17 * half_denominator
Newton:
    #pragma hls_unroll
    #pragma unroll
    for (int step = 0; step < 3; step++) {
        #pragma HLS UNROLL
        const long long error = (1LL << 29) - doubling_high_mul(half_denominator, x);
        x += saturating_shift_left(doubling_high_mul(x, error), 2);
    }
    return saturating_shift_left(x, 1);
}

// y[c] = round(2^bits * exp(-beta * s * d[c]) / sum) + lo with d[c] = max(x) - x[c] and exps[d] = exp(-beta * s * d).
// CONFIG_T: exps in Q0.31, lo and hi of the result, out_bits, sum_bits (integer bits of the sum of exponentials).
template <class CONFIG_T, class pixel_T, class result_T, class table_T>
void softmax_of_pixel(const pixel_T &pixel, result_T &result, unsigned first, const table_T *exps) {
    #pragma HLS INLINE
    int largest = pixel[first].to_int();
Largest:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned c = 1; c < CONFIG_T::n_chan; c++) {
        #pragma HLS UNROLL
        if (pixel[first + c].to_int() > largest)
            largest = pixel[first + c].to_int();
    }
    long long exponentials[CONFIG_T::n_chan], total = 0;
    #pragma HLS ARRAY_PARTITION variable=exponentials complete
Sum:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
        #pragma HLS UNROLL
        exponentials[c] = exps[largest - pixel[first + c].to_int()].to_int64();
        total += rounding_divide_by_pot(exponentials[c], CONFIG_T::sum_bits);
    }
    int headroom = 32; // leading zeros of the sum as a word of 32 bits
Headroom:
    #pragma hls_unroll
    #pragma unroll
    for (int bit = 0; bit < 32; bit++) {
        #pragma HLS UNROLL
        if ((total >> bit) & 1)
            headroom = 31 - bit;
    }
    const long long scale = one_over_one_plus_x((total << headroom) - (1LL << 31));
    const int exponent = CONFIG_T::sum_bits - headroom + 31 - CONFIG_T::out_bits;
Scale:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
        #pragma HLS UNROLL
        const long long y = rounding_divide_by_pot(doubling_high_mul(exponentials[c], scale), exponent) + CONFIG_T::lo;
        result[first + c] = y > CONFIG_T::hi ? CONFIG_T::hi : y;
    }
}

template <class data_T, class res_T, class CONFIG_T>
void softmax_channels(data_T x[CONFIG_T::n_beats * CONFIG_T::n_chan], res_T y[CONFIG_T::n_beats * CONFIG_T::n_chan],
                      const typename CONFIG_T::exps_t exps[CONFIG_T::n_entries]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
Pixels:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS UNROLL
        softmax_of_pixel<CONFIG_T>(x, y, i * CONFIG_T::n_chan, exps);
    }
}

template <class data_T, class res_T, class CONFIG_T>
void softmax_channels(channel<data_T> &x, channel<res_T> &y,
                      const typename CONFIG_T::exps_t exps[CONFIG_T::n_entries]) {
Pixels:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const data_T pixel = x.read();
        res_T result;
        softmax_of_pixel<CONFIG_T>(pixel, result, 0, exps);
        y.write(result);
    }
}

} // namespace nnet

#endif
