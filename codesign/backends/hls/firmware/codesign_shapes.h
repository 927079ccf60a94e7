// Where pixels are, not what they are: padding, gathering, another shape. Included by codesign_layers.h, which explains
// words and values.
#ifndef CODESIGN_SHAPES_H_
#define CODESIGN_SHAPES_H_

namespace nnet {

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
    #pragma hls_unroll
    #pragma unroll
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        #pragma HLS UNROLL
    Columns:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS UNROLL
            #pragma hls_unroll
            #pragma unroll
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
        #pragma hls_pipeline_init_interval 1
        #pragma ii 1
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS LOOP_FLATTEN
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            const bool inside = is_inside<CONFIG_T>(row, column);
            data_T pixel;
            if (inside)
                pixel = x.read();
            res_T result;
        Channels:
            #pragma hls_unroll
            #pragma unroll
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                #pragma HLS UNROLL
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
    #pragma hls_unroll
    #pragma unroll
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma HLS UNROLL
    Channels:
        #pragma hls_unroll
        #pragma unroll
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
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        frame[i] = x.read();
    }
Pixels:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const data_T pixel = frame[unsigned(pixels[i].to_int())];
        res_T result;
    Channels:
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_out_chan; c++) {
            #pragma HLS UNROLL
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
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        const data_T pixel = x.read();
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            frame[i * CONFIG_T::n_chan + c] = pixel[c];
        }
    }
Drain:
    #pragma hls_pipeline_init_interval 1
    #pragma ii 1
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        res_T result;
        #pragma hls_unroll
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_out_chan; c++) {
            #pragma HLS UNROLL
            result[c] = frame[i * CONFIG_T::n_out_chan + c];
        }
        y.write(result);
    }
}

} // namespace nnet

#endif
