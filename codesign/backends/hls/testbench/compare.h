// What the testbenches share: read frames and golden outputs, run the network, compare every word, write the results.
//
// One frame a line, one stored word per element: integers as they are, bits for the values -1 and +1 of bipolar tensors.
// Inputs: tb_input_features.dat; golden outputs: tb_output_predictions.dat; results: csim_results.log, or
// rtl_cosim_results.log. Exit status 0: every word equal; 1: some differ; 2: no frames to compare.
#ifndef COMPARE_H_
#define COMPARE_H_

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace nnet { // what hls4ml's helpers expect of a testbench
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
} // namespace nnet

typedef std::vector<long long> Frame;

inline Frame parse(const std::string &line) {
    std::istringstream words(line);
    Frame frame;
    for (long long word; words >> word;)
        frame.push_back(word);
    return frame;
}

// run(frame, result) fills `result`, which has the size of the golden output.
template <class run_T> int compare(const std::string &folder, run_T run) {
    std::ifstream inputs((folder + "/tb_input_features.dat").c_str());
    std::ifstream golden((folder + "/tb_output_predictions.dat").c_str());
#ifdef RTL_SIM
    std::ofstream results((folder + "/rtl_cosim_results.log").c_str());
#else
    std::ofstream results((folder + "/csim_results.log").c_str());
#endif
    size_t frames = 0, wrong = 0;
    for (std::string in_line, out_line; std::getline(inputs, in_line) && std::getline(golden, out_line); frames++) {
        const Frame expected = parse(out_line);
        Frame result(expected.size());
        run(parse(in_line), result);
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

#endif
