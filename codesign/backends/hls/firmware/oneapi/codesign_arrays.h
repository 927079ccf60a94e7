// The integer layers for arrays that are objects (std::array), as oneAPI has them: each hands their elements on.
#ifndef CODESIGN_ARRAYS_H_
#define CODESIGN_ARRAYS_H_

namespace nnet {

template <class T> using element = typename T::value_type;

template <class data_T, class res_T, class CONFIG_T, class levels_T>
void threshold(const data_T &x, res_T &y, const levels_T &levels) {
    elementwise<threshold_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data(), levels.data());
}

template <class data_T, class res_T, class CONFIG_T, class multiplier_T, class shift_T>
void requantise(const data_T &x, res_T &y, const multiplier_T &multiplier, const shift_T &shift) {
    elementwise<requant_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data(), multiplier.data(),
                                                                            shift.data());
}

template <class data_T, class res_T, class CONFIG_T, class table_T>
void lookup(const data_T &x, res_T &y, const table_T &table) {
    elementwise<lookup_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data(), table.data());
}

template <class a_T, class b_T, class res_T, class CONFIG_T> void integer_add(const a_T &a, const b_T &b, res_T &y) {
    pairwise<add_function, element<a_T>, element<b_T>, element<res_T>, CONFIG_T>(a.data(), b.data(), y.data());
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void integer_multiply(const a_T &a, const b_T &b, res_T &y) {
    pairwise<multiply_function, element<a_T>, element<b_T>, element<res_T>, CONFIG_T>(a.data(), b.data(), y.data());
}

template <class a_T, class b_T, class res_T, class CONFIG_T>
void concatenate_channels(const a_T &a, const b_T &b, res_T &y) {
    concatenate_channels<const element<a_T>, const element<b_T>, element<res_T>, CONFIG_T>(a.data(), b.data(), y.data());
}

template <class data_T, class res_T, class CONFIG_T> void argmax_channels(const data_T &x, res_T &y) {
    argmax_channels<const element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data());
}

template <class data_T, class res_T, class CONFIG_T, class exps_T>
void softmax_channels(const data_T &x, res_T &y, const exps_T &exps) {
    for (unsigned i = 0; i < CONFIG_T::n_beats; i++)
        softmax_of_pixel<CONFIG_T>(x, y, i * CONFIG_T::n_chan, exps.data());
}

template <class data_T, class res_T, class CONFIG_T, class weight_T, class bias_T>
void depthwise(const data_T &x, res_T &y, const weight_T &weight, const bias_T &bias) {
    windowed<depthwise_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data(), weight.data(),
                                                                           bias.data());
}

template <class data_T, class res_T, class CONFIG_T> void maximum_of_window(const data_T &x, res_T &y) {
    windowed<maximum_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data());
}

template <class data_T, class res_T, class CONFIG_T> void sum_of_window(const data_T &x, res_T &y) {
    windowed<sum_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data());
}

template <class data_T, class res_T, class CONFIG_T, class counts_T>
void mean_of_window(const data_T &x, res_T &y, const counts_T &counts) {
    windowed<mean_function, element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data(), counts.data());
}

template <class data_T, class res_T, class CONFIG_T> void pad_image(const data_T &x, res_T &y) {
    pad_image<const element<data_T>, element<res_T>, CONFIG_T>(x.data(), y.data());
}

template <class data_T, class res_T, class CONFIG_T, class pixels_T, class channels_T>
void gather(const data_T &x, res_T &y, const pixels_T &pixels, const channels_T &channels) {
    for (unsigned i = 0; i < CONFIG_T::n_out_beats; i++) {
        #pragma unroll
        for (unsigned c = 0; c < CONFIG_T::n_out_chan; c++)
            y[i * CONFIG_T::n_out_chan + c] =
                x[unsigned(pixels[i].to_int()) * CONFIG_T::n_chan + unsigned(channels[c].to_int())];
    }
}

} // namespace nnet

#endif
