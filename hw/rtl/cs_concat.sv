// Engine that puts the channels of several streams one after the other: of each pixel, Folds[i] beats of input i in turn.
//
// Step      one per input beat; takes a beat of one input and starts an output beat.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o.
// Interval  one beat per cycle.
// Stall     without a credit, or while the input in turn has no beat, nothing is taken.
// Limits    Width >= 1, Inputs >= 2; Folds packs one 32-bit number >= 1 per input, input 0 in the low part.
module cs_concat #(
  parameter int unsigned Width = 8,
  parameter int unsigned Inputs = 2,
  parameter logic [Inputs*32-1:0] Folds = {Inputs{32'd1}}
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic [Inputs-1:0]       valid_i,
  output logic [Inputs-1:0]       ready_o,
  input  logic [Inputs*Width-1:0] data_i,
  input  logic                    credit_i,
  output logic                    take_o,
  output logic                    valid_o,
  output logic [Width-1:0]        data_o
);
  if (Width < 1 || Inputs < 2) begin : g_check
    $error("cs_concat: Width is 1 or more, Inputs 2 or more");
  end

  function automatic int unsigned largest();
    largest = 2;
    for (int unsigned i = 0; i < Inputs; i++) if (Folds[i*32 +: 32] > largest) largest = Folds[i*32 +: 32];
  endfunction

  localparam int unsigned SelectBits = $clog2(Inputs);
  localparam int unsigned BeatBits = $clog2(largest());
  logic [SelectBits-1:0] select_q;
  logic [BeatBits-1:0]   beat_q;
  logic                  beat_last, select_last;

  assign beat_last   = beat_q == BeatBits'(Folds[select_q*32 +: 32] - 32'd1);
  assign select_last = select_q == SelectBits'(Inputs - 1);
  assign take_o      = credit_i & valid_i[select_q];
  assign valid_o     = take_o;
  assign data_o      = data_i[select_q*Width +: Width];

  for (genvar i = 0; i < Inputs; i++) begin : g_ready
    assign ready_o[i] = credit_i & (select_q == SelectBits'(i));
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      select_q <= '0;
      beat_q   <= '0;
    end else if (take_o) begin
      beat_q <= beat_last ? '0 : beat_q + 1'b1;
      if (beat_last) select_q <= select_last ? '0 : select_q + 1'b1;
    end
  end
endmodule
