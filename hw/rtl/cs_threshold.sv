// Threshold pipe: y = #{i : x >= T[i]} for 2^OutBits - 1 sorted thresholds per channel, by a pipelined binary search.
//
// x counts from the smallest value of its type (the sign bit of a two's complement number is inverted, a bipolar bit is
// its own count), and so do the thresholds; they have one bit more, so that 0 is always and 2^InBits never reached.
// The thresholds of a channel form a binary tree in heap order: node 1 is the middle one, node n has the children 2n and
// 2n + 1. Stage s compares with the node that the s decisions so far lead to: node = 2*node + (x >= T[node]).
// Memory word fold * 2^OutBits + node holds the thresholds of that node for all lanes, lane 0 in the low part; word
// fold * 2^OutBits is not used. The n-th beat since reset meets fold n mod Folds.
// OutFlipMsb = 1 inverts the top bit of y: a two's complement result of y - 2^(OutBits-1).
//
// Latency   OutBits * (1 + TableReg); TableReg: a register between the table and the comparator.
// Interval  one beat per cycle; no stall.
// Limits    Lanes, InBits, Folds >= 1; OutBits 1 to 10.
module cs_threshold #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned InBits = 8,
  parameter bit          InSigned = 1'b1,
  parameter int unsigned OutBits = 2,
  parameter bit          OutFlipMsb = 1'b0,
  parameter int unsigned Folds = 1,
  parameter LevelFile = "",
  parameter bit          TableReg = 1'b0
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  input  logic [Lanes*InBits-1:0]  data_i,
  output logic                     valid_o,
  output logic [Lanes*OutBits-1:0] data_o
);
  if (Lanes < 1 || InBits < 1 || Folds < 1 || OutBits < 1 || OutBits > 10) begin : g_check
    $error("cs_threshold: Lanes, InBits and Folds are 1 or more, OutBits is 1 to 10");
  end

  localparam int unsigned LevelBits = InBits + 1;
  localparam int unsigned Words = Folds << OutBits;
  localparam int unsigned AddrBits = $clog2(Words);
  localparam int unsigned FoldBits = Folds > 1 ? $clog2(Folds) : 1;
  localparam int unsigned StageRegs = 1 + 32'(TableReg);

  // Too many read ports for anything but LUTs. Vivado obeys rom_style; Yosys calls a ROM in LUTs a ram_style of registers.
  (* rom_style = "distributed", ram_style = "registers" *) logic [Lanes*LevelBits-1:0] mem [Words];
  initial $readmemh(LevelFile, mem);

  // The beat's fold, which is the upper part of its addresses; it goes along with the beat.
  logic [FoldBits-1:0] fold;
  if (Folds > 1) begin : g_folds
    logic [FoldBits-1:0] fold_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni)      fold_q <= '0;
      else if (valid_i) fold_q <= (fold_q == FoldBits'(Folds - 1)) ? '0 : fold_q + 1'b1;
    end
    assign fold = fold_q;
  end else begin : g_one_fold
    assign fold = '0;
  end

  for (genvar s = 0; s < OutBits; s++) begin : g_stage
    // Into the stage; then after the table; then out of the stage.
    logic [FoldBits-1:0]        fold_d, fold_t;
    logic [Lanes*InBits-1:0]    x_d, x_t;
    logic [Lanes*(s+1)-1:0]     node_d, node_t;
    logic [Lanes*LevelBits-1:0] level_d, level_t;
    logic [Lanes*(s+2)-1:0]     node_q;

    if (s == 0) begin : g_first
      assign fold_d = fold;
      assign node_d = '1;
      for (genvar l = 0; l < Lanes; l++) begin : g_lane
        assign x_d[l*InBits +: InBits] = data_i[l*InBits +: InBits] ^ InBits'(32'(InSigned) << (InBits - 1));
      end
    end else begin : g_next
      logic [FoldBits-1:0]     fold_q;
      logic [Lanes*InBits-1:0] x_q;
      always_ff @(posedge clk_i) begin
        fold_q <= g_stage[s-1].fold_t;
        x_q    <= g_stage[s-1].x_t;
      end
      assign fold_d = fold_q;
      assign x_d    = x_q;
      assign node_d = g_stage[s-1].node_q;
    end

    for (genvar l = 0; l < Lanes; l++) begin : g_level
      logic [AddrBits-1:0] addr;
      assign addr = AddrBits'({fold_d, OutBits'(node_d[l*(s+1) +: s+1])});
      assign level_d[l*LevelBits +: LevelBits] = mem[addr][l*LevelBits +: LevelBits];
    end

    if (TableReg) begin : g_table_reg
      always_ff @(posedge clk_i) begin
        fold_t  <= fold_d;
        x_t     <= x_d;
        node_t  <= node_d;
        level_t <= level_d;
      end
    end else begin : g_table
      assign fold_t  = fold_d;
      assign x_t     = x_d;
      assign node_t  = node_d;
      assign level_t = level_d;
    end

    for (genvar l = 0; l < Lanes; l++) begin : g_compare
      logic reached;
      assign reached = {1'b0, x_t[l*InBits +: InBits]} >= level_t[l*LevelBits +: LevelBits];
      always_ff @(posedge clk_i) node_q[l*(s+2) +: s+2] <= {node_t[l*(s+1) +: s+1], reached};
    end
  end

  // The decisions are the count; the leading one of the node falls away.
  for (genvar l = 0; l < Lanes; l++) begin : g_out
    logic [OutBits-1:0] count;
    assign count = g_stage[OutBits-1].node_q[l*(OutBits+1) +: OutBits];
    assign data_o[l*OutBits +: OutBits] = count ^ OutBits'(32'(OutFlipMsb) << (OutBits - 1));
  end

  cs_delay #(.Width(1), .Cycles(OutBits * StageRegs)) u_valid (.clk_i, .rst_ni, .data_i(valid_i), .data_o(valid_o));
endmodule
