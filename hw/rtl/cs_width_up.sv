// Engine that joins Ratio narrow beats into a wide one, the first in the low part.
//
// Step      one per input beat; every step takes a beat, the last of Ratio starts an output beat.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o.
// Interval  Ratio cycles per output beat.
// Stall     only the last of Ratio steps needs a credit.
// Limits    InWidth >= 1, Ratio >= 2.
module cs_width_up #(
  parameter int unsigned InWidth = 8,
  parameter int unsigned Ratio = 2
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  output logic                     ready_o,
  input  logic [InWidth-1:0]       data_i,
  input  logic                     credit_i,
  output logic                     take_o,
  output logic                     valid_o,
  output logic [InWidth*Ratio-1:0] data_o
);
  if (InWidth < 1 || Ratio < 2) begin : g_check
    $error("cs_width_up: InWidth is 1 or more, Ratio 2 or more");
  end

  localparam int unsigned IndexBits = $clog2(Ratio);
  localparam int unsigned HeldWidth = InWidth * (Ratio - 1);
  logic [IndexBits-1:0] index_q;
  logic                 last, step;
  // A shift register: after Ratio - 1 steps the first beat is in the low part, without a decoder.
  logic [HeldWidth-1:0] held_q;

  assign last    = index_q == IndexBits'(Ratio - 1);
  assign ready_o = credit_i | ~last;
  assign step    = valid_i & ready_o;
  assign take_o  = step & last;
  assign valid_o = take_o;
  assign data_o  = {data_i, held_q};

  always_ff @(posedge clk_i) begin
    if (!rst_ni)   index_q <= '0;
    else if (step) index_q <= last ? '0 : index_q + 1'b1;
    if (step) held_q <= HeldWidth'({data_i, held_q} >> InWidth);
  end
endmodule
