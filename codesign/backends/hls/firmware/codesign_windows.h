// Layers that look at more than one pixel: depthwise convolution, maximum, sum and mean of windows, padding, gathering,
// another shape. Included by codesign_layers.h, which explains words and values.
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
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        #pragma HLS UNROLL
    Columns:
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS UNROLL
            data_T window[CONFIG_T::kernel_h * CONFIG_T::kernel_w][CONFIG_T::n_chan];
            #pragma HLS ARRAY_PARTITION variable=window complete dim=0
            for (unsigned ky = 0; ky < CONFIG_T::kernel_h; ky++) {
                #pragma HLS UNROLL
                for (unsigned kx = 0; kx < CONFIG_T::kernel_w; kx++) {
                    #pragma HLS UNROLL
                    for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                        #pragma HLS UNROLL
                        const unsigned pixel = (row * CONFIG_T::stride_h + ky) * CONFIG_T::in_width +
                                               column * CONFIG_T::stride_w + kx;
                        window[ky * CONFIG_T::kernel_w + kx][c] = x[pixel * CONFIG_T::n_chan + c];
                    }
                }
            }
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
        for (unsigned column = 0; column < CONFIG_T::in_width; column++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            #pragma hls_pipeline_init_interval 1
            #pragma ii 1
            const data_T pixel = x.read();
        Shift:
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
                        #pragma hls_unroll
                        #pragma unroll
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
                for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                    #pragma HLS UNROLL
                    #pragma hls_unroll
                    #pragma unroll
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

// `pad_value` around the image. CONFIG_T: in_height, in_width, top, left, out_height, out_width, value_t.
struct pad_config : integer_config {
    static const unsigned in_height = 1;
    static const unsigned in_width = 1;
    static const unsigned top = 0;
    static const unsigned left = 0;
    static const unsigned out_height = 1;
    static const unsigned out_width = 1;
};

// Whether a pixel of the padded image is one of the image. Unsigned: above or left of the image wraps to large values.
template <class CONFIG_T> bool is_inside(unsigned row, unsigned column) {
    #pragma HLS INLINE
    return row - CONFIG_T::top < CONFIG_T::in_height && column - CONFIG_T::left < CONFIG_T::in_width;
}

template <class data_T, class res_T, class CONFIG_T>
void pad_image(data_T x[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
               res_T y[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    typedef typename CONFIG_T::value_t value_T;
Rows:
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        #pragma HLS UNROLL
    Columns:
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS UNROLL
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                #pragma HLS UNROLL
                value_T value = CONFIG_T::pad_value;
                if (is_inside<CONFIG_T>(row, column)) {
                    const unsigned pixel = (row - CONFIG_T::top) * CONFIG_T::in_width + column - CONFIG_T::left;
                    value = value_of<CONFIG_T::in_bipolar, value_T>(x[pixel * CONFIG_T::n_chan + c]);
                }
                y[(row * CONFIG_T::out_width + column) * CONFIG_T::n_chan + c] =
                    stored<CONFIG_T::out_bipolar, res_T>(value);
            }
        }
    }
}

template <class data_T, class res_T, class CONFIG_T> void pad_image(channel<data_T> &x, channel<res_T> &y) {
    typedef typename CONFIG_T::value_t value_T;
Rows:
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
    Columns:
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            #pragma hls_pipeline_init_interval 1
            #pragma ii 1
            const bool inside = is_inside<CONFIG_T>(row, column);
            data_T pixel;
            if (inside)
                pixel = x.read();
            res_T result;
        Channels:
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                #pragma HLS UNROLL
                #pragma hls_unroll
                #pragma unroll
                value_T value = CONFIG_T::pad_value;
                if (inside)
                    value = value_of<CONFIG_T::in_bipolar, value_T>(pixel[c]);
                result[c] = stored<CONFIG_T::out_bipolar, typename res_T::value_type>(value);
            }
            y.write(result);
        }
    }
}

// y[i][c] = x[pixels[i]][channels[c]]. CONFIG_T: n_beats, n_chan of x; n_out_beats, n_out_chan.
template <class data_T, class res_T, class CONFIG_T>
void gather(data_T x[CONFIG_T::n_beats * CONFIG_T::n_chan], res_T y[CONFIG_T::n_out_beats * CONFIG_T::n_out_chan],
            const typename CONFIG_T::pixels_t pixels[CONFIG_T::n_out_beats],
            const typename CONFIG_T::channels_t channels[CONFIG_T::n_out_chan]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
Pixels:
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma HLS UNROLL
    Channels:
        for (unsigned c = 0; c < CONFIG_T::n_out_chan; c++) {
            #pragma HLS UNROLL
            y[i * CONFIG_T::n_out_chan + c] = x[unsigned(pixels[i].to_int()) * CONFIG_T::n_chan + unsigned(channels[c].to_int())];
        }
    }
}

// The frame is kept whole, since pixels may be asked for in any order, any number of times.
template <class data_T, class res_T, class CONFIG_T>
void gather(channel<data_T> &x, channel<res_T> &y, const typename CONFIG_T::pixels_t pixels[CONFIG_T::n_out_beats],
            const typename CONFIG_T::channels_t channels[CONFIG_T::n_out_chan]) {
    data_T frame[CONFIG_T::n_beats];
Fill:
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        frame[i] = x.read();
    }
Pixels:
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        const data_T pixel = frame[unsigned(pixels[i].to_int())];
        res_T result;
    Channels:
        for (unsigned c = 0; c < CONFIG_T::n_out_chan; c++) {
            #pragma HLS UNROLL
            #pragma hls_unroll
            #pragma unroll
            result[c] = pixel[unsigned(channels[c].to_int())];
        }
        y.write(result);
    }
}

// The same elements under another shape; only a stream notices: its beats change their length.
template <class data_T, class res_T, class CONFIG_T> void repack(channel<data_T> &x, channel<res_T> &y) {
    typename data_T::value_type frame[CONFIG_T::n_beats * CONFIG_T::n_chan];
    #pragma HLS ARRAY_PARTITION variable=frame complete
Fill:
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        const data_T pixel = x.read();
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            #pragma hls_unroll
            #pragma unroll
            frame[i * CONFIG_T::n_chan + c] = pixel[c];
        }
    }
Drain:
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        res_T result;
        for (unsigned c = 0; c < CONFIG_T::n_out_chan; c++) {
            #pragma HLS UNROLL
            #pragma hls_unroll
            #pragma unroll
            result[c] = frame[i * CONFIG_T::n_out_chan + c];
        }
        y.write(result);
    }
}

} // namespace nnet

#endif
