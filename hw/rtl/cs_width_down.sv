// Engine that splits a wide beat into Ratio narrow ones, the low part first.
//
// Step      Ratio per input beat; every step starts an output beat, the last one takes the input beat.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o.
// Interval  Ratio cycles per input beat.
// Stall     without a credit there is no step.
// Limits    OutWidth >= 1, Ratio >= 2.
module cs_width_down #(
  parameter int unsigned OutWidth = 8,
  parameter int unsigned Ratio = 2
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      valid_i,
  output logic                      ready_o,
  input  logic [OutWidth*Ratio-1:0] data_i,
  input  logic                      credit_i,
  output logic                      take_o,
  output logic                      valid_o,
  output logic [OutWidth-1:0]       data_o
);
  if (OutWidth < 1 || Ratio < 2) begin : g_check
    $error("cs_width_down: OutWidth is 1 or more, Ratio 2 or more");
  end

  localparam int unsigned IndexBits = $clog2(Ratio);
  logic [IndexBits-1:0] index_q;
  logic                 last;

  assign last    = index_q == IndexBits'(Ratio - 1);
  assign ready_o = credit_i & last;
  assign take_o  = valid_i & credit_i;
  assign valid_o = take_o;
  assign data_o  = data_i[index_q*OutWidth +: OutWidth];

  always_ff @(posedge clk_i) begin
    if (!rst_ni)     index_q <= '0;
    else if (take_o) index_q <= last ? '0 : index_q + 1'b1;
  end
endmodule
