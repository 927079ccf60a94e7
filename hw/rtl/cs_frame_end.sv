// Marks the last beat of every frame: last_o is high while beat Beats-1 of a frame is offered.
//
// Latency: none (last_o follows a register). Initiation interval: 1. A beat counts when valid_i and ready_i are high.
// Parameters: Beats >= 1, the beats of a frame.
module cs_frame_end #(
  parameter int unsigned Beats = 1
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic valid_i,
  input  logic ready_i,
  output logic last_o
);
  localparam int unsigned CountWidth = Beats > 1 ? $clog2(Beats) : 1;

  logic [CountWidth-1:0] count_q;

  assign last_o = count_q == CountWidth'(Beats - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) count_q <= '0;
    else if (valid_i && ready_i) count_q <= last_o ? '0 : count_q + 1'b1;
  end
endmodule
