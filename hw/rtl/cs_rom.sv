// Read-only memory that is read in one fixed cycle: data_o = mem[n mod Words], n the cycles with next_i so far.
//
// Latency   none: the word is fetched ahead, so data_o is the right word in the cycle in which it is consumed (next_i).
// Interval  one word per cycle.
// Stall     data_o holds until next_i.
// Limits    Width, Words >= 1; at least one cycle of reset with a running clock; next_i is low in reset.
// File      one word of hexadecimal digits per line; Style: auto | distributed | block.
module cs_rom #(
  parameter int unsigned Width = 8,
  parameter int unsigned Words = 1,
  parameter File = "",
  parameter Style = "auto"
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             next_i,
  output logic [Width-1:0] data_o
);
  if (Width < 1 || Words < 1) begin : g_check
    $error("cs_rom: Width and Words are 1 or more");
  end

  // Vivado obeys rom_style; Yosys reads ram_style too, and calls a ROM in LUTs registers.
  (* rom_style = Style, ram_style = Style == "distributed" ? "registers" : Style *) logic [Width-1:0] mem [Words];
  initial $readmemh(File, mem);

  if (Words == 1) begin : g_constant
    assign data_o = mem[0];
  end else begin : g_cycle
    localparam int unsigned AddrBits = $clog2(Words);
    // next_q is the word after the one in data_q; word 0 is fetched in reset, to be there for the first consumer.
    logic [AddrBits-1:0] next_q, addr;
    logic [Width-1:0]    data_q;
    assign addr = rst_ni ? next_q : '0;
    always_ff @(posedge clk_i) begin
      if (!rst_ni)     next_q <= AddrBits'(1);
      else if (next_i) next_q <= (next_q == AddrBits'(Words - 1)) ? '0 : next_q + 1'b1;
      if (next_i || !rst_ni) data_q <= mem[addr];
    end
    assign data_o = data_q;
  end
endmodule
