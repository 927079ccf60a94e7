// Delay line for control bits: q(t) = d(t - Cycles), 0 until then.
//
// Latency   Cycles; 0 is a wire.
// Interval  every cycle; no stall.
// Limits    Width >= 1.
module cs_delay #(
  parameter int unsigned Width = 1,
  parameter int unsigned Cycles = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [Width-1:0] data_i,
  output logic [Width-1:0] data_o
);
  if (Cycles == 0) begin : g_wire
    assign data_o = data_i;
  end else if (Cycles == 1) begin : g_register
    logic [Width-1:0] data_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) data_q <= '0;
      else         data_q <= data_i;
    end
    assign data_o = data_q;
  end else begin : g_shift
    logic [Cycles*Width-1:0] data_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) data_q <= '0;
      else         data_q <= {data_q[(Cycles-1)*Width-1:0], data_i};
    end
    assign data_o = data_q[(Cycles-1)*Width +: Width];
  end
endmodule
