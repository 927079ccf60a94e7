// Engine that hands every beat on: for layers that are a pipe only (thresholds, a rescale).
//
// Step      one per input beat; takes a beat and starts an output beat.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o.
// Interval  one beat per cycle.
// Stall     without a credit nothing is taken.
// Clock     not used: clk_i and rst_ni are there because every engine has them.
// Limits    Width >= 1.
module cs_pass #(
  parameter int unsigned Width = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             credit_i,
  output logic             take_o,
  output logic             valid_o,
  output logic [Width-1:0] data_o
);
  assign ready_o = credit_i;
  assign take_o  = valid_i & credit_i;
  assign valid_o = take_o;
  assign data_o  = data_i;
endmodule
