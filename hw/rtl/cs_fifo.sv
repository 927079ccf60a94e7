// FIFO with credits: the end of every layer.
//
// A producer takes a credit (take_i) when it starts a beat and pushes the beat (push_i, data_i) L cycles later, L being
// the latency of its pipes. reserved = credits taken - beats popped; credit_o = reserved < Depth, a function of
// registers only. There is therefore always room for a push, and nothing upstream ever stalls in mid-pipe.
//
// Latency   a beat pushed in cycle v is at valid_o in cycle v + 1; a beat popped in cycle p frees its credit in p + 1.
// Interval  one beat per cycle when Depth >= L + 2.
// Stall     valid_o and data_o hold until ready_i.
// Limits    Depth >= 1, any value; take_i only with credit_o; one push per take, in order.
// Style     registers | distributed | block | auto: where a memory of three words or more goes. Its head is read one
//           cycle ahead into a register, so the timing is the same for all of them.
module cs_fifo #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 2,
  parameter Style = "auto"
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             take_i,
  output logic             credit_o,
  input  logic             push_i,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);
  localparam int unsigned CountBits = $clog2(Depth + 1);

  if (Width < 1 || Depth < 1) begin : g_check
    $error("cs_fifo: Width and Depth are 1 or more");
  end

  logic pop;
  assign pop = valid_o & ready_i;

  logic [CountBits-1:0] reserved_q;
  logic                 credit_q;
  logic [CountBits-1:0] reserved_d;
  assign reserved_d = reserved_q + CountBits'(take_i) - CountBits'(pop);
  assign credit_o   = credit_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      reserved_q <= '0;
      credit_q   <= 1'b1;
    end else begin
      reserved_q <= reserved_d;
      credit_q   <= reserved_d < CountBits'(Depth);
    end
  end

  if (Depth == 1) begin : g_one
    logic             valid_q;
    logic [Width-1:0] data_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) valid_q <= 1'b0;
      else         valid_q <= push_i | (valid_q & ~ready_i);
      if (push_i) data_q <= data_i;
    end
    assign valid_o = valid_q;
    assign data_o  = data_q;
  end else if (Depth == 2) begin : g_two
    // data_q is the head; spill_q holds the second beat while the head waits.
    logic             valid_q, spill_valid_q;
    logic [Width-1:0] data_q, spill_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        valid_q       <= 1'b0;
        spill_valid_q <= 1'b0;
      end else begin
        valid_q       <= push_i | spill_valid_q | (valid_q & ~ready_i);
        spill_valid_q <= (valid_q & ~ready_i) ? (spill_valid_q | push_i) : (spill_valid_q & push_i);
      end
      if (ready_i | ~valid_q) data_q <= spill_valid_q ? spill_q : data_i;
      if (push_i) spill_q <= data_i;
    end
    assign valid_o = valid_q;
    assign data_o  = data_q;
  end else begin : g_memory
    localparam int unsigned AddrBits = $clog2(Depth);
    localparam logic [AddrBits-1:0] LastAddr = AddrBits'(Depth - 1);

    (* ram_style = Style *) logic [Width-1:0] mem [Depth];
    logic [AddrBits-1:0]  wr_q, rd_q, rd_d;
    logic [CountBits-1:0] stored_q, stored_d;
    logic                 valid_q, bypass, load;

    assign rd_d     = !pop ? rd_q : (rd_q == LastAddr) ? '0 : rd_q + 1'b1;
    assign stored_d = stored_q + CountBits'(push_i) - CountBits'(pop);
    // The next head is being written in this very cycle: the memory would still give the old word.
    assign bypass   = push_i & (wr_q == rd_d);
    assign load     = ready_i | ~valid_q;
    assign valid_o  = valid_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        wr_q     <= '0;
        rd_q     <= '0;
        stored_q <= '0;
        valid_q  <= 1'b0;
      end else begin
        if (push_i) wr_q <= (wr_q == LastAddr) ? '0 : wr_q + 1'b1;
        rd_q     <= rd_d;
        stored_q <= stored_d;
        valid_q  <= stored_d != '0;
      end
    end
    always_ff @(posedge clk_i) begin
      if (push_i) mem[wr_q] <= data_i;
    end

    if (Style == "block") begin : g_block
      // The block RAM's output register holds nothing but memory words: the bypassed beat has its own register.
      logic             bypass_q;
      logic [Width-1:0] ram_q, direct_q;
      always_ff @(posedge clk_i) begin
        if (load) begin
          ram_q    <= mem[rd_d];
          direct_q <= data_i;
          bypass_q <= bypass;
        end
      end
      assign data_o = bypass_q ? direct_q : ram_q;
    end else begin : g_register
      logic [Width-1:0] head_q;
      always_ff @(posedge clk_i) begin
        if (load) head_q <= bypass ? data_i : mem[rd_d];
      end
      assign data_o = head_q;
    end
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!take_i || credit_q) else $error("cs_fifo: a beat was started without a credit");
    end
  end
`endif
endmodule
