// Testbench of the network for the Intel HLS compiler, with g++ in its place: structures or streams at its ports.
// compare.h says what it reads and writes.
//
// network_test [FOLDER]    another folder than tb_data
#include "compare.h"

#include "firmware/network.h"

// Arrays: a structure that holds all elements of a frame.
template <class in_T, class out_T, class x_T = input_t, class y_T = result_t>
void run(out_T (*top)(in_T), const Frame &frame, Frame &result) {
    in_T inputs;
    x_T *x = reinterpret_cast<x_T *>(&inputs);
    for (size_t i = 0; i < frame.size(); i++)
        x[i] = frame[i];
    out_T outputs = top(inputs);
    const y_T *y = reinterpret_cast<const y_T *>(&outputs);
    for (size_t i = 0; i < result.size(); i++)
        result[i] = y[i].to_int64();
}

// Streams: as many beats as a frame has pixels.
template <class in_T, class out_T>
void run(void (*top)(stream_in<in_T> &, stream_out<out_T> &), const Frame &frame, Frame &result) {
    stream_in<in_T> x;
    stream_out<out_T> y;
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
