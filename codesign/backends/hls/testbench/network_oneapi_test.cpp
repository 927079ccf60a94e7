// Testbench of the network for Intel's oneAPI compiler, with g++ and stand-ins of its headers (testbench/oneapi) in its
// place: a frame goes through the kernel's pipes. compare.h says what it reads and writes.
//
// network_test [FOLDER]    another folder than tb_data
#include "compare.h"

#include "firmware/network.h"
#include "network_ports.h" // names the pipes InputPipe and OutputPipe

static void frame(const Frame &input, Frame &result) {
    input_t x;
    for (size_t i = 0; i < input.size(); i++)
        x[i] = input[i];
    InputPipe::write(x);
    Network()();
    const result_t y = OutputPipe::read();
    for (size_t i = 0; i < result.size(); i++)
        result[i] = y[i].to_int64();
}

int main(int argc, char **argv) { return compare(argc > 1 ? argv[1] : "tb_data", frame); }
