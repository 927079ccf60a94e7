// Engine that copies every beat to Outputs streams at once.
//
// Step      one per input beat; takes a beat and starts one on every output.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o, the same on all outputs.
// Interval  one beat per cycle.
// Stall     without a credit of every output nothing is taken.
// Clock     not used: clk_i and rst_ni are there because every engine has them.
// Limits    Width >= 1, Outputs >= 2.
module cs_fork #(
  parameter int unsigned Width = 8,
  parameter int unsigned Outputs = 2
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               valid_i,
  output logic               ready_o,
  input  logic [Width-1:0]   data_i,
  input  logic [Outputs-1:0] credit_i,
  output logic [Outputs-1:0] take_o,
  output logic [Outputs-1:0] valid_o,
  output logic [Width-1:0]   data_o
);
  if (Width < 1 || Outputs < 2) begin : g_check
    $error("cs_fork: Width is 1 or more, Outputs 2 or more");
  end

  assign ready_o = &credit_i;
  assign take_o  = {Outputs{valid_i & ready_o}};
  assign valid_o = take_o;
  assign data_o  = data_i;
endmodule
