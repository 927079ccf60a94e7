# The clock of the network; the ports get their pins in the design around it.
create_clock -name ap_clk -period $period [get_ports ap_clk]
