// A design to test the simulator with: two FIFOs with an adder between them, its constants from config.mem.
// config.mem holds the frame's beats, the number to add, and a fault to show: 0 none; 1 the second FIFO takes nothing;
// 2 output data changes while it waits; 3 tlast comes one beat early; 4 valid is withdrawn; 5 $finish;
// 6 the data depends on a register that is never reset.
module toy_top (
  input  logic        aclk,
  input  logic        aresetn,
  input  logic [23:0] s_axis_tdata,
  input  logic        s_axis_tvalid,
  output logic        s_axis_tready,
  output logic [39:0] m_axis_tdata,
  output logic        m_axis_tvalid,
  input  logic        m_axis_tready,
  output logic        m_axis_tlast
);

  logic [31:0] config_q[3];
  initial $readmemh("config.mem", config_q);

  logic front_valid, front_ready, back_valid, back_ready, back_open;
  logic [23:0] front_data;
  logic [39:0] back_data;
  logic [31:0] beat_q, waited_q;
  logic [7:0]  loose_q;

  toy_fifo #(.Width(24)) u_front (
    .clk_i(aclk), .rst_ni(aresetn),
    .valid_i(s_axis_tvalid), .ready_o(s_axis_tready), .data_i(s_axis_tdata),
    .valid_o(front_valid), .ready_i(front_ready), .data_o(front_data)
  );
  toy_fifo #(.Width(40)) u_back (
    .clk_i(aclk), .rst_ni(aresetn),
    .valid_i(front_valid && front_ready), .ready_o(back_open), .data_i({16'b0, front_data} + {8'b0, config_q[1]}),
    .valid_o(back_valid), .ready_i(back_ready), .data_o(back_data)
  );
  assign front_ready = back_open && config_q[2] != 1;
  assign back_ready = m_axis_tready;
  assign m_axis_tvalid = back_valid && !(config_q[2] == 4 && waited_q > 2);
  assign m_axis_tdata = config_q[2] == 2 ? back_data + {8'b0, waited_q}
                      : config_q[2] == 6 ? back_data + {32'b0, loose_q} : back_data;
  assign m_axis_tlast = beat_q == config_q[0] - (config_q[2] == 3 ? 2 : 1);

  always_ff @(posedge aclk) begin
    if (!aresetn) begin
      beat_q <= 0;
      waited_q <= 0;
    end else begin
      loose_q <= ~loose_q;
      waited_q <= back_valid && !back_ready ? waited_q + 1 : 0;
      if (m_axis_tvalid && m_axis_tready) beat_q <= beat_q == config_q[0] - 1 ? 0 : beat_q + 1;
      if (config_q[2] == 5 && beat_q == 3) $finish;
    end
  end

endmodule

module toy_fifo #(
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

  logic [Width-1:0] words_q[4];
  logic [2:0] write_q, read_q;

  assign ready_o = 3'(write_q - read_q) != 3'd4;
  assign valid_o = write_q != read_q;
  assign data_o = words_q[read_q[1:0]];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= 0;
      read_q <= 0;
    end else begin
      if (valid_i && ready_o) begin
        words_q[write_q[1:0]] <= data_i;
        write_q <= write_q + 1;
      end
      if (valid_o && ready_i) read_q <= read_q + 1;
    end
  end

endmodule
