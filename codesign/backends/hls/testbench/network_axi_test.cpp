// Testbench of the network behind hls4ml's AXI4-Stream wrapper, whose words are float: a frame of whole numbers, the
// last of them marked. compare.h says what it reads and writes.
//
// network_test [FOLDER]    another folder than tb_data
#include "compare.h"

#include "firmware/network_axi.h"
#include "firmware/nnet_utils/nnet_helpers.h"

static void frame(const Frame &input, Frame &result) {
    std::vector<input_axi_t> x(input.size());
    std::vector<output_axi_t> y(result.size());
    for (size_t i = 0; i < input.size(); i++)
        x[i].data = input[i];
    x.back().last = 1;
    network_axi(x.data(), y.data());
    for (size_t i = 0; i < result.size(); i++)
        result[i] = (long long)y[i].data;
}

int main(int argc, char **argv) { return compare(argc > 1 ? argv[1] : "tb_data", frame); }
