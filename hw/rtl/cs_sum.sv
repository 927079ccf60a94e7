// Sum pipe: for each lane the sum of the inputs of the steps first_i .. last_i, modulo 2^AccBits.
//
// Latency   1, from the last step to valid_o.
// Interval  one step per cycle; no stall.
// Limits    Lanes, InBits, AccBits >= 1; a bipolar input has 1 bit and is not signed.
module cs_sum #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned InBits = 4,
  parameter bit          InSigned = 1'b0,
  parameter bit          InBipolar = 1'b0,
  parameter int unsigned AccBits = 8
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  input  logic                     first_i,
  input  logic                     last_i,
  input  logic [Lanes*InBits-1:0]  data_i,
  output logic                     valid_o,
  output logic [Lanes*AccBits-1:0] data_o
);
  if (Lanes < 1 || InBits < 1 || AccBits < 1) begin : g_check
    $error("cs_sum: Lanes, InBits and AccBits are 1 or more");
  end
  if (InBipolar && (InBits != 1 || InSigned)) begin : g_check_type
    $error("cs_sum: a bipolar input has 1 bit and is not signed");
  end

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic [InBits-1:0]  code;
    logic [AccBits-1:0] x, acc_q;
    assign code = data_i[l*InBits +: InBits];
    assign x = InBipolar ? (code[0] ? AccBits'(1) : '1) : InSigned ? AccBits'($signed(code)) : AccBits'(code);
    always_ff @(posedge clk_i) begin
      if (valid_i) acc_q <= (first_i ? '0 : acc_q) + x;
    end
    assign data_o[l*AccBits +: AccBits] = acc_q;
  end

  cs_delay #(.Width(1), .Cycles(1)) u_valid (.clk_i, .rst_ni, .data_i(valid_i & last_i), .data_o(valid_o));
endmodule
