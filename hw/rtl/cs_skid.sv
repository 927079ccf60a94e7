// Skid buffer: a stream whose valid, data and ready all come from registers; for the AXI4-Stream edges.
//
// Latency   a beat taken in cycle t is at valid_o in cycle t + 1.
// Interval  one beat per cycle.
// Stall     two beats are held; the same timing as a cs_fifo of depth 2 that is pushed and taken from at once.
// Limits    Width >= 1.
module cs_skid #(
  parameter int unsigned Width = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);
  if (Width < 1) begin : g_check
    $error("cs_skid: Width is 1 or more");
  end

  // ready_q is low exactly while spill_q holds a beat.
  logic             ready_q, valid_q;
  logic [Width-1:0] data_q, spill_q;
  logic             blocked, spilled;
  assign blocked = valid_q & ~ready_i;
  assign spilled = ~ready_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ready_q <= 1'b1;
      valid_q <= 1'b0;
    end else begin
      ready_q <= ~blocked | (ready_q & ~valid_i);
      valid_q <= blocked | spilled | valid_i;
    end
    if (!blocked) data_q <= spilled ? spill_q : data_i;
    if (ready_q) spill_q <= data_i;
  end

  assign ready_o = ready_q;
  assign valid_o = valid_q;
  assign data_o  = data_q;
endmodule
