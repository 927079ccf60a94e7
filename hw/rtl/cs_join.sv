// Engine that pairs the beats of two streams.
//
// Step      one per pair of beats; takes one of each input and starts an output beat.
// Latency   0: valid_o and the data are combinational; valid_o = take_o.
// Interval  one pair per cycle.
// Stall     without a credit, or with one of the inputs missing, nothing is taken.
// Clock     not used: clk_i and rst_ni are there because every engine has them.
// Limits    WidthA, WidthB >= 1.
module cs_join #(
  parameter int unsigned WidthA = 8,
  parameter int unsigned WidthB = 8
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              valid_a_i,
  output logic              ready_a_o,
  input  logic [WidthA-1:0] data_a_i,
  input  logic              valid_b_i,
  output logic              ready_b_o,
  input  logic [WidthB-1:0] data_b_i,
  input  logic              credit_i,
  output logic              take_o,
  output logic              valid_o,
  output logic [WidthA-1:0] data_a_o,
  output logic [WidthB-1:0] data_b_o
);
  assign ready_a_o = credit_i & valid_b_i;
  assign ready_b_o = credit_i & valid_a_i;
  assign take_o    = credit_i & valid_a_i & valid_b_i;
  assign valid_o   = take_o;
  assign data_a_o  = data_a_i;
  assign data_b_o  = data_b_i;
endmodule
