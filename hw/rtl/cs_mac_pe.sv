// Processing element of cs_mac and cs_mac_depthwise: acc = (first ? init : acc) + dot product, modulo 2^AccBits.
//
// A bipolar operand of bits b stands for 2b - 1. With popcounts over bits:
//   bipolar weights v, inputs a      sum a*(2v-1)      = 2 * sum(a AND v) - sum a
//   bipolar inputs b, weights w      sum (2b-1)*w      = sum over weight bits j of +-2^j * popcount(b XNOR w_j)
//                                                        + (w signed ? 1 : 1 - 2^WeightBits) * popcount(NOT b)
//   both bipolar                     sum (2b-1)*(2v-1) = 2 * popcount(b XNOR v) - Simd
// The term without weights is the same for all processing elements: correction_i, from cs_mac_correction. The constant
// of the last line is part of init_i.
//
// Latency   cs_dot's from data_i to the sum (Dot below), 1 for the accumulator. correction_i, valid_i, first_i and
//           init_i belong to the sum, so they come Dot cycles after data_i.
// Interval  one step per cycle; no stall.
// Limits    those of cs_dot. acc_o holds the result in the cycle after the last step only.
module cs_mac_pe #(
  parameter int unsigned Simd = 4,
  parameter int unsigned InBits = 2,
  parameter bit          InSigned = 1'b0,
  parameter bit          InBipolar = 1'b0,
  parameter int unsigned WeightBits = 2,
  parameter bit          WeightSigned = 1'b1,
  parameter bit          WeightBipolar = 1'b0,
  parameter int unsigned AccBits = 8,
  parameter bit          Planes = 1'b1,
  parameter UseDsp = "auto",
  parameter bit          MulReg = 1'b0,
  parameter int unsigned TreeStride = 0
) (
  input  logic                       clk_i,
  input  logic [Simd*InBits-1:0]     data_i,
  input  logic [Simd*WeightBits-1:0] weight_i,
  input  logic [AccBits-1:0]         correction_i,
  input  logic                       valid_i,
  input  logic                       first_i,
  input  logic [AccBits-1:0]         init_i,
  output logic [AccBits-1:0]         acc_o
);
  logic [AccBits-1:0] sum, step_sum, acc_q;

  cs_dot #(
    .Simd(Simd), .DataBits(InBits), .DataSigned(InSigned), .WeightBits(WeightBits), .WeightSigned(WeightSigned),
    .Xnor(InBipolar), .Planes(Planes), .UseDsp(UseDsp), .MulReg(MulReg), .TreeStride(TreeStride), .OutBits(AccBits)
  ) u_dot (.clk_i, .data_i, .weight_i, .sum_o(sum));

  assign step_sum = WeightBipolar ? AccBits'({sum, 1'b0}) : sum;

  always_ff @(posedge clk_i) begin
    if (valid_i) acc_q <= (first_i ? init_i : acc_q) + step_sum + correction_i;
  end
  assign acc_o = acc_q;
endmodule
