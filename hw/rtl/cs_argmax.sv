// Argmax pipe: the index of the first largest of the Count inputs of the steps first_i .. last_i; one input a step.
//
// Latency   1, from the last step to valid_o.
// Interval  one step per cycle; no stall.
// Limits    Bits, Count >= 1; 2^OutBits >= Count. Signed: two's complement, else unsigned or bipolar, which order alike.
module cs_argmax #(
  parameter int unsigned Bits = 8,
  parameter bit          Signed = 1'b1,
  parameter int unsigned Count = 10,
  parameter int unsigned OutBits = 4
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               valid_i,
  input  logic               first_i,
  input  logic               last_i,
  input  logic [Bits-1:0]    data_i,
  output logic               valid_o,
  output logic [OutBits-1:0] data_o
);
  if (Bits < 1 || Count < 1 || OutBits < 1 || $clog2(Count) > OutBits) begin : g_check
    $error("cs_argmax: Bits, Count and OutBits are 1 or more, Count at most 2^OutBits");
  end

  localparam logic [Bits-1:0] Flip = Bits'(32'(Signed)) << (Bits - 1);
  logic [Bits-1:0]    best_q;
  logic [OutBits-1:0] index, index_q, best_index_q;
  assign index = first_i ? '0 : index_q;

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      index_q <= index + 1'b1;
      if (first_i || (data_i ^ Flip) > (best_q ^ Flip)) begin
        best_q       <= data_i;
        best_index_q <= index;
      end
    end
  end
  assign data_o = best_index_q;

  cs_delay #(.Width(1), .Cycles(1)) u_valid (.clk_i, .rst_ni, .data_i(valid_i & last_i), .data_o(valid_o));
endmodule
