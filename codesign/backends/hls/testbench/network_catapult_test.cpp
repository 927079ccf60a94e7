// Testbench of the network for Catapult, SCVerify included; compare.h says what it reads and writes.
//
// network_test [FOLDER]    another folder than tb_data
#include "compare.h"

const char *get_weights_dir() { return "weights"; }

#include "firmware/network.h"
#include "network_weights.h" // the arrays that the design reads its constants into
#include "firmware/nnet_utils/nnet_helpers.h"

#include <mc_scverify.h>

// Streams: as many beats as a frame has pixels.
static void frame(const Frame &input, Frame &result) {
    ac_channel<input_t> x;
    ac_channel<result_t> y;
    for (size_t first = 0; first < input.size(); first += input_t::size) {
        input_t beat;
        for (size_t i = 0; i < input_t::size; i++)
            beat[i] = input[first + i];
        x.write(beat);
    }
    CCS_DESIGN(network)(x, y);
    for (size_t first = 0; first < result.size(); first += result_t::size) {
        const result_t beat = y.read();
        for (size_t i = 0; i < result_t::size; i++)
            result[first + i] = beat[i].to_int64();
    }
}

CCS_MAIN(int argc, char *argv[]) { CCS_RETURN(compare(argc > 1 ? argv[1] : "tb_data", frame)); }
