// Addition pipe: for each lane y = a + b, modulo 2^OutBits.
//
// Latency   1.
// Interval  one beat per cycle; no stall.
// Limits    Lanes, ABits, BBits, OutBits >= 1; a bipolar operand has 1 bit and is not signed.
module cs_add #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned ABits = 4,
  parameter bit          ASigned = 1'b0,
  parameter bit          ABipolar = 1'b0,
  parameter int unsigned BBits = 4,
  parameter bit          BSigned = 1'b0,
  parameter bit          BBipolar = 1'b0,
  parameter int unsigned OutBits = 5
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  input  logic [Lanes*ABits-1:0]   data_a_i,
  input  logic [Lanes*BBits-1:0]   data_b_i,
  output logic                     valid_o,
  output logic [Lanes*OutBits-1:0] data_o
);
  if (Lanes < 1 || ABits < 1 || BBits < 1 || OutBits < 1) begin : g_check
    $error("cs_add: Lanes, ABits, BBits and OutBits are 1 or more");
  end
  if ((ABipolar && (ABits != 1 || ASigned)) || (BBipolar && (BBits != 1 || BSigned))) begin : g_check_type
    $error("cs_add: a bipolar operand has 1 bit and is not signed");
  end

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic [ABits-1:0]   a_code;
    logic [BBits-1:0]   b_code;
    logic [OutBits-1:0] a, b, sum_q;
    assign a_code = data_a_i[l*ABits +: ABits];
    assign b_code = data_b_i[l*BBits +: BBits];
    assign a = ABipolar ? (a_code[0] ? OutBits'(1) : '1) : ASigned ? OutBits'($signed(a_code)) : OutBits'(a_code);
    assign b = BBipolar ? (b_code[0] ? OutBits'(1) : '1) : BSigned ? OutBits'($signed(b_code)) : OutBits'(b_code);
    always_ff @(posedge clk_i) sum_q <= a + b;
    assign data_o[l*OutBits +: OutBits] = sum_q;
  end

  cs_delay #(.Width(1), .Cycles(1)) u_valid (.clk_i, .rst_ni, .data_i(valid_i), .data_o(valid_o));
endmodule
