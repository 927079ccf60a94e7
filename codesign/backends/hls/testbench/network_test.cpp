// Testbench: every frame of tb_data/tb_input_features.dat through the network, compared with the golden outputs in
// tb_data/tb_output_predictions.dat. One frame a line, one stored word per element: integers as they are, bits for the
// values -1 and +1 of bipolar tensors. What the network gives is written to tb_data/csim_results.log (or
// rtl_cosim_results.log). Exit status 0: every word equal; 1: some differ; 2: no frames to compare.
//
// network_test [FOLDER]    another folder than tb_data
#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "firmware/network.h"
#include "firmware/nnet_utils/nnet_helpers.h"

namespace nnet { // what hls4ml's helpers expect of a testbench
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
} // namespace nnet

typedef std::vector<long long> Frame;

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

static Frame parse(const std::string &line) {
    std::istringstream words(line);
    Frame frame;
    for (long long word; words >> word;)
        frame.push_back(word);
    return frame;
}

int main(int argc, char **argv) {
    const std::string folder = argc > 1 ? argv[1] : "tb_data";
    std::ifstream inputs(folder + "/tb_input_features.dat"), golden(folder + "/tb_output_predictions.dat");
#ifdef RTL_SIM
    std::ofstream results(folder + "/rtl_cosim_results.log");
#else
    std::ofstream results(folder + "/csim_results.log");
#endif
    size_t frames = 0, wrong = 0;
    for (std::string in_line, out_line; std::getline(inputs, in_line) && std::getline(golden, out_line); frames++) {
        const Frame expected = parse(out_line);
        Frame result(expected.size());
        run(network, parse(in_line), result);
        for (size_t i = 0; i < result.size(); i++) {
            results << result[i] << (i + 1 < result.size() ? " " : "\n");
            if (result[i] != expected[i] && wrong++ < 10)
                std::cout << "frame " << frames << ", element " << i << ": " << result[i] << ", not " << expected[i]
                          << std::endl;
        }
    }
    std::cout << frames << " frames, " << wrong << " words differ from the golden outputs" << std::endl;
    return frames == 0 ? 2 : wrong != 0;
}
