// Maximum pipe: for each lane the largest input of the steps first_i .. last_i.
//
// Latency   1, from the last step to valid_o.
// Interval  one step per cycle; no stall.
// Limits    Lanes, Bits >= 1; Signed: two's complement, else unsigned or bipolar, which order alike.
module cs_max #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned Bits = 4,
  parameter bit          Signed = 1'b0
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  valid_i,
  input  logic                  first_i,
  input  logic                  last_i,
  input  logic [Lanes*Bits-1:0] data_i,
  output logic                  valid_o,
  output logic [Lanes*Bits-1:0] data_o
);
  if (Lanes < 1 || Bits < 1) begin : g_check
    $error("cs_max: Lanes and Bits are 1 or more");
  end

  localparam logic [Bits-1:0] Flip = Bits'(32'(Signed)) << (Bits - 1);
  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic [Bits-1:0] x, max_q;
    assign x = data_i[l*Bits +: Bits];
    always_ff @(posedge clk_i) begin
      if (valid_i && (first_i || (x ^ Flip) > (max_q ^ Flip))) max_q <= x;
    end
    assign data_o[l*Bits +: Bits] = max_q;
  end

  cs_delay #(.Width(1), .Cycles(1)) u_valid (.clk_i, .rst_ni, .data_i(valid_i & last_i), .data_o(valid_o));
endmodule
