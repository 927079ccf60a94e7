// Layers over windows of pixels: depthwise convolution, maximum, sum, mean. Included by codesign_layers.h, which explains
// words and values.
#ifndef CODESIGN_WINDOWS_H_
#define CODESIGN_WINDOWS_H_

namespace nnet {

// The configuration of a window: kernel_h x kernel_w pixels, moved by stride_h and stride_w, no padding, no dilation.
struct window_config : integer_config {
    static const unsigned in_height = 1;
    static const unsigned in_width = 1;
    static const unsigned kernel_h = 1;
    static const unsigned kernel_w = 1;
    static const unsigned stride_h = 1;
    static const unsigned stride_w = 1;
    static const unsigned out_height = 1;
    static const unsigned out_width = 1;
};

// y = bias[c] + sum over k of x[k][c] * weight[k][c]. CONFIG_T: value_t of x, acc_t of the result.
struct depthwise_function {
    template <class CONFIG_T, class res_T, class word_T, class weight_T, class bias_T>
    static res_T apply(const word_T window[][CONFIG_T::n_chan], unsigned c, unsigned, const weight_T *weight,
                       const bias_T *bias) {
        #pragma HLS INLINE
        typename CONFIG_T::acc_t sum = bias[c];
    Taps:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned k = 0; k < CONFIG_T::kernel_h * CONFIG_T::kernel_w; k++) {
            #pragma HLS UNROLL
            const typename CONFIG_T::value_t x = value_of<CONFIG_T::in_bipolar, typename CONFIG_T::value_t>(window[k][c]);
            sum += typename CONFIG_T::acc_t(x * weight[k * CONFIG_T::n_chan + c]);
        }
        return res_T(sum);
    }
};

// y = the largest x of the window. Bits of bipolar words are ordered as their values.
struct maximum_function {
    template <class CONFIG_T, class res_T, class word_T>
    static res_T apply(const word_T window[][CONFIG_T::n_chan], unsigned c, unsigned) {
        #pragma HLS INLINE
        word_T largest = window[0][c];
    Taps:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned k = 1; k < CONFIG_T::kernel_h * CONFIG_T::kernel_w; k++) {
            #pragma HLS UNROLL
            if (window[k][c] > largest)
                largest = window[k][c];
        }
        return res_T(largest);
    }
};

// y = the sum of the window. CONFIG_T: value_t of x, acc_t of the result.
struct sum_function {
    template <class CONFIG_T, class res_T, class word_T>
    static res_T apply(const word_T window[][CONFIG_T::n_chan], unsigned c, unsigned) {
        #pragma HLS INLINE
        typename CONFIG_T::acc_t sum = 0;
    Taps:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned k = 0; k < CONFIG_T::kernel_h * CONFIG_T::kernel_w; k++) {
            #pragma HLS UNROLL
            sum += value_of<CONFIG_T::in_bipolar, typename CONFIG_T::value_t>(window[k][c]);
        }
        return res_T(sum);
    }
};

// y = round(sum / n), ties away from zero, n the pixels of the window at `position` that lie inside the image; those
// outside hold 0. CONFIG_T: value_t of x, acc_t of the sum and n together.
struct mean_function {
    template <class CONFIG_T, class res_T, class word_T, class count_T>
    static res_T apply(const word_T window[][CONFIG_T::n_chan], unsigned c, unsigned position, const count_T *counts) {
        #pragma HLS INLINE
        typedef typename CONFIG_T::acc_t acc_T;
        acc_T sum = 0;
    Taps:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned k = 0; k < CONFIG_T::kernel_h * CONFIG_T::kernel_w; k++) {
            #pragma HLS UNROLL
            sum += value_of<CONFIG_T::in_bipolar, typename CONFIG_T::value_t>(window[k][c]);
        }
        const acc_T n = counts[position];
        const acc_T magnitude = (sum < 0 ? acc_T(-sum) : sum) + (n >> 1);
        const acc_T mean = magnitude / n;
        return stored<CONFIG_T::out_bipolar, res_T>(sum < 0 ? acc_T(-mean) : mean);
    }
};

template <class function, class data_T, class res_T, class CONFIG_T, class... table_T>
void windowed(const data_T *x, res_T *y, const table_T *...tables) {
    #pragma HLS INLINE
Rows:
    #pragma hls_unroll
    #pragma unroll
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        #pragma HLS UNROLL
    Columns:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS UNROLL
            data_T window[CONFIG_T::kernel_h * CONFIG_T::kernel_w][CONFIG_T::n_chan];
            #pragma HLS ARRAY_PARTITION variable=window complete dim=0
            #pragma hls_unroll
            #pragma unroll
            for (unsigned ky = 0; ky < CONFIG_T::kernel_h; ky++) {
                #pragma HLS UNROLL
                #pragma hls_unroll
                #pragma unroll
                for (unsigned kx = 0; kx < CONFIG_T::kernel_w; kx++) {
                    #pragma HLS UNROLL
                    #pragma hls_unroll
                    #pragma unroll
                    for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                        #pragma HLS UNROLL
                        const unsigned pixel = (row * CONFIG_T::stride_h + ky) * CONFIG_T::in_width +
                                               column * CONFIG_T::stride_w + kx;
                        window[ky * CONFIG_T::kernel_w + kx][c] = x[pixel * CONFIG_T::n_chan + c];
                    }
                }
            }
            #pragma hls_unroll
            #pragma unroll
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                #pragma HLS UNROLL
                y[(row * CONFIG_T::out_width + column) * CONFIG_T::n_chan + c] =
                    function::template apply<CONFIG_T, res_T>(window, c, row * CONFIG_T::out_width + column, tables...);
            }
        }
    }
}

// A line buffer of kernel_h - 1 rows and a window of registers; one pixel comes in per step, and a result goes out
// in the step in which the last pixel of its window came in.
template <class function, class data_T, class res_T, class CONFIG_T, class... table_T>
void windowed(channel<data_T> &x, channel<res_T> &y, const table_T *...tables) {
    #pragma HLS INLINE
    typedef typename data_T::value_type word_T;
    word_T lines[CONFIG_T::kernel_h][CONFIG_T::in_width][CONFIG_T::n_chan]; // the last row is never read, hence removed
    word_T window[CONFIG_T::kernel_h * CONFIG_T::kernel_w][CONFIG_T::n_chan];
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=1
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=3
    #pragma HLS ARRAY_PARTITION variable=window complete dim=0
    unsigned next_row = CONFIG_T::kernel_h - 1;
    unsigned position = 0;
Rows:
    for (unsigned row = 0; row < CONFIG_T::in_height; row++) {
        unsigned next_column = CONFIG_T::kernel_w - 1;
    Columns:
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        for (unsigned column = 0; column < CONFIG_T::in_width; column++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            const data_T pixel = x.read();
        Shift:
            #pragma hls_unroll
            #pragma unroll
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                #pragma HLS UNROLL
                #pragma hls_unroll
                #pragma unroll
                for (unsigned ky = 0; ky < CONFIG_T::kernel_h; ky++) {
                    #pragma HLS UNROLL
                    #pragma hls_unroll
                    #pragma unroll
                    for (unsigned kx = 0; kx + 1 < CONFIG_T::kernel_w; kx++) {
                        #pragma HLS UNROLL
                        window[ky * CONFIG_T::kernel_w + kx][c] = window[ky * CONFIG_T::kernel_w + kx + 1][c];
                    }
                    const word_T word = ky + 1 < CONFIG_T::kernel_h ? lines[ky][column][c] : pixel[c];
                    window[(ky + 1) * CONFIG_T::kernel_w - 1][c] = word;
                    if (ky > 0)
                        lines[ky - 1][column][c] = word;
                }
            }
            if (row == next_row && column == next_column) {
                res_T result;
            Channels:
                #pragma hls_unroll
                #pragma unroll
                for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                    #pragma HLS UNROLL
                    result[c] =
                        function::template apply<CONFIG_T, typename res_T::value_type>(window, c, position, tables...);
                }
                y.write(result);
                position++;
                next_column += CONFIG_T::stride_w;
            }
        }
        if (row == next_row)
            next_row += CONFIG_T::stride_h;
    }
}

template <class data_T, class res_T, class CONFIG_T>
void depthwise(data_T x[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
               res_T y[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan],
               const typename CONFIG_T::weight_t weight[CONFIG_T::kernel_h * CONFIG_T::kernel_w * CONFIG_T::n_chan],
               const typename CONFIG_T::bias_t bias[CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    windowed<depthwise_function, data_T, res_T, CONFIG_T>(x, y, weight, bias);
}

template <class data_T, class res_T, class CONFIG_T>
void depthwise(channel<data_T> &x, channel<res_T> &y,
               const typename CONFIG_T::weight_t weight[CONFIG_T::kernel_h * CONFIG_T::kernel_w * CONFIG_T::n_chan],
               const typename CONFIG_T::bias_t bias[CONFIG_T::n_chan]) {
    windowed<depthwise_function, data_T, res_T, CONFIG_T>(x, y, weight, bias);
}

template <class data_T, class res_T, class CONFIG_T>
void maximum_of_window(data_T x[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                       res_T y[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    windowed<maximum_function, data_T, res_T, CONFIG_T>(x, y);
}

template <class data_T, class res_T, class CONFIG_T> void maximum_of_window(channel<data_T> &x, channel<res_T> &y) {
    windowed<maximum_function, data_T, res_T, CONFIG_T>(x, y);
}

template <class data_T, class res_T, class CONFIG_T>
void sum_of_window(data_T x[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                   res_T y[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    windowed<sum_function, data_T, res_T, CONFIG_T>(x, y);
}

template <class data_T, class res_T, class CONFIG_T> void sum_of_window(channel<data_T> &x, channel<res_T> &y) {
    windowed<sum_function, data_T, res_T, CONFIG_T>(x, y);
}

template <class data_T, class res_T, class CONFIG_T>
void mean_of_window(data_T x[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                    res_T y[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan],
                    const typename CONFIG_T::counts_t counts[CONFIG_T::out_height * CONFIG_T::out_width]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    windowed<mean_function, data_T, res_T, CONFIG_T>(x, y, counts);
}

template <class data_T, class res_T, class CONFIG_T>
void mean_of_window(channel<data_T> &x, channel<res_T> &y,
                    const typename CONFIG_T::counts_t counts[CONFIG_T::out_height * CONFIG_T::out_width]) {
    windowed<mean_function, data_T, res_T, CONFIG_T>(x, y, counts);
}

// Windows that do not overlap need no line buffer: one accumulator for each window that a row crosses. The function is
// applied to one pixel after the other.
struct sum_step {
    template <class acc_T> static acc_T apply(const acc_T &sum, const acc_T &x) { return sum + x; }
};

struct maximum_step {
    template <class acc_T> static acc_T apply(const acc_T &largest, const acc_T &x) { return x > largest ? x : largest; }
};

// CONFIG_T: a window_config whose strides are its kernel; acc_t of the result.
template <class step, class data_T, class res_T, class CONFIG_T> void blockwise(channel<data_T> &x, channel<res_T> &y) {
    #pragma HLS INLINE
    typedef typename CONFIG_T::acc_t acc_T;
    acc_T blocks[CONFIG_T::out_width][CONFIG_T::n_chan]; // of the rows above
    acc_T current[CONFIG_T::n_chan];                     // of the block that this row is in
    #pragma HLS ARRAY_PARTITION variable=blocks complete dim=2
    #pragma HLS ARRAY_PARTITION variable=current complete
    unsigned ky = 0;
Rows:
    for (unsigned row = 0; row < CONFIG_T::in_height; row++) {
        unsigned kx = 0, block = 0;
    Columns:
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        for (unsigned column = 0; column < CONFIG_T::in_width; column++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            const data_T pixel = x.read();
            if (block < CONFIG_T::out_width) { // pixels behind the last block are in none
                res_T result;
            Channels:
                #pragma hls_unroll
                #pragma unroll
                for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                    #pragma HLS UNROLL
                    const acc_T value = value_of<CONFIG_T::in_bipolar, acc_T>(pixel[c]);
                    const acc_T before = kx > 0 ? current[c] : blocks[block][c];
                    const acc_T after = kx == 0 && ky == 0 ? value : step::apply(before, value);
                    current[c] = after;
                    if (kx + 1 == CONFIG_T::kernel_w)
                        blocks[block][c] = after;
                    result[c] = stored<CONFIG_T::out_bipolar, typename res_T::value_type>(after);
                }
                if (kx + 1 == CONFIG_T::kernel_w && ky + 1 == CONFIG_T::kernel_h)
                    y.write(result);
            }
            if (++kx == CONFIG_T::kernel_w) {
                kx = 0;
                block++;
            }
        }
        if (++ky == CONFIG_T::kernel_h)
            ky = 0;
    }
}

template <class data_T, class res_T, class CONFIG_T> void maximum_of_block(channel<data_T> &x, channel<res_T> &y) {
    blockwise<maximum_step, data_T, res_T, CONFIG_T>(x, y);
}

template <class data_T, class res_T, class CONFIG_T> void sum_of_block(channel<data_T> &x, channel<res_T> &y) {
    blockwise<sum_step, data_T, res_T, CONFIG_T>(x, y);
}

} // namespace nnet

#endif
