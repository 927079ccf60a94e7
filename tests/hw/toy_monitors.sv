bind toy_top cs_stream_monitor #(.Name("front"), .Width(24)) u_monitor_front (
  .clk_i(aclk), .rst_ni(aresetn), .valid_i(front_valid), .ready_i(front_ready), .data_i(front_data)
);
bind toy_top cs_stream_monitor #(.Name("back"), .Width(40)) u_monitor_back (
  .clk_i(aclk), .rst_ni(aresetn), .valid_i(m_axis_tvalid), .ready_i(m_axis_tready), .data_i(m_axis_tdata)
);
