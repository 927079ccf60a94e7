// Stops the simulation unless valid_o follows valid_i (a step that ends a result) after exactly Latency cycles.
module latency_probe #(
  parameter Name = "",
  parameter int unsigned Latency = 1
) (
  input logic clk_i,
  input logic rst_ni,
  input logic valid_i,
  input logic valid_o
);
  logic [Latency-1:0] expected_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) expected_q <= '0;
    else         expected_q <= Latency'({expected_q, valid_i});
    if (rst_ni && valid_o != expected_q[Latency-1]) $error("%s: valid_o is not %0d cycles after valid_i", Name, Latency);
  end
endmodule
