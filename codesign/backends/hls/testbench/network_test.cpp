// Testbench of the network with HLS arrays or streams at its ports; compare.h says what it reads and writes.
//
// network_test [FOLDER]    another folder than tb_data
#include "compare.h"

#include "firmware/network.h"
#include "firmware/nnet_utils/nnet_helpers.h"

// Arrays: all elements of a frame at once.
template <class in_T, class out_T> void run(void (*top)(in_T *, out_T *), const Frame &frame, Frame &result) {
    std::vector<in_T> x(frame.begin(), frame.end());
    std::vector<out_T> y(result.size());
    top(x.data(), y.data());
    for (size_t i = 0; i < result.size(); i++)
        result[i] = y[i].to_int64();
}

// Streams: as many beats as a frame has pixels.
template <class in_T, class out_T>
void run(void (*top)(hls::stream<in_T> &, hls::stream<out_T> &), const Frame &frame, Frame &result) {
    hls::stream<in_T> x("x");
    hls::stream<out_T> y("y");
    for (size_t first = 0; first < frame.size(); first += in_T::size) {
        in_T beat;
        for (size_t i = 0; i < in_T::size; i++)
            beat[i] = frame[first + i];
        x.write(beat);
    }
    top(x, y);
    for (size_t first = 0; first < result.size(); first += out_T::size) {
        const out_T beat = y.read();
        for (size_t i = 0; i < out_T::size; i++)
            result[first + i] = beat[i].to_int64();
    }
}

static void frame(const Frame &input, Frame &result) { run(network, input, result); }

int main(int argc, char **argv) { return compare(argc > 1 ? argv[1] : "tb_data", frame); }
