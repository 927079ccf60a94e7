// The term of a bipolar dot product that does not depend on the weights; see cs_mac_pe for the equations.
//
//   bipolar weights only   - sum of data
//   bipolar inputs only    (WeightSigned ? 1 : 1 - 2^WeightBits) * popcount(NOT data)
//   both, or none          0
// data_i holds bit planes: bit i of element s is at [i*Simd + s].
//
// Latency   ceil(clog2(Simd) / TreeStride), as cs_dot without MulReg.
// Interval  one sum per cycle; no stall, no valid.
// Limits    those of cs_dot.
module cs_mac_correction #(
  parameter int unsigned Simd = 4,
  parameter int unsigned InBits = 2,
  parameter bit          InSigned = 1'b0,
  parameter bit          InBipolar = 1'b0,
  parameter int unsigned WeightBits = 1,
  parameter bit          WeightSigned = 1'b0,
  parameter bit          WeightBipolar = 1'b1,
  parameter int unsigned TreeStride = 0,
  parameter int unsigned AccBits = 8
) (
  input  logic                   clk_i,
  input  logic [Simd*InBits-1:0] data_i,
  output logic [AccBits-1:0]     correction_o
);
  if (InBipolar != WeightBipolar) begin : g_sum
    logic [AccBits-1:0] sum;
    cs_dot #(
      .Simd(Simd), .DataBits(InBits), .DataSigned(InSigned), .WeightBits(1), .WeightSigned(1'b0),
      .TreeStride(TreeStride), .OutBits(AccBits)
    ) u_dot (.clk_i, .data_i(InBipolar ? ~data_i : data_i), .weight_i('1), .sum_o(sum));
    if (InBipolar && WeightSigned) begin : g_plus
      assign correction_o = sum;
    end else if (InBipolar) begin : g_scaled
      assign correction_o = sum - AccBits'({sum, {WeightBits{1'b0}}});
    end else begin : g_minus
      assign correction_o = -sum;
    end
  end else begin : g_none
    assign correction_o = '0;
  end
endmodule
