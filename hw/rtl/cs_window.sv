// Engine with the one buffer for convolution, dense layers, depthwise convolution and pooling: a sliding window that is
// read Outer times at every position.
//
// A word is one input beat: some channels of one pixel; Folds words make a pixel. Words live in a circular memory of
// Capacity words; `occ` counts those from the first word of the current window (the base) on.
// Writer    ready_o = occ < Capacity; a word taken in cycle t can be read in cycle t + 1.
// Reader    loops over output rows, output columns, Outer, then the inner steps:
//             ChannelOuter = 0   ky, kx, cf   word base + (ky*ImageWidth + kx)*Folds + cf
//             ChannelOuter = 1   ky, kx       word base + (ky*ImageWidth + kx)*Folds + outer   (Outer = Folds)
// Step      needs word offset < occ; the last inner step a credit, which it takes; the last step of a position, which
//           releases words, also needs all words that it releases: release <= occ. It releases StrideW pixels inside a
//           row, up to the next window row at the end of a row, up to the end of the frame at the end of the frame.
// Latency   1 + OutReg cycles from a step to valid_o; first_o and last_o mark the first and last inner step.
// Interval  one step per cycle.
// Stall     without its word or credit a step waits; nothing behind valid_o ever does.
// Limits    KernelH <= Height, KernelW <= ImageWidth; Capacity >= the largest need of a step.
module cs_window #(
  parameter int unsigned Width = 8,
  parameter int unsigned Height = 4,
  parameter int unsigned ImageWidth = 4,
  parameter int unsigned Folds = 1,
  parameter int unsigned KernelH = 2,
  parameter int unsigned KernelW = 2,
  parameter int unsigned StrideH = 1,
  parameter int unsigned StrideW = 1,
  parameter int unsigned Outer = 1,
  parameter bit          ChannelOuter = 1'b0,
  parameter int unsigned Capacity = 8,
  parameter Style = "auto",
  parameter bit          OutReg = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             credit_i,
  output logic             take_o,
  output logic             valid_o,
  output logic             first_o,
  output logic             last_o,
  output logic [Width-1:0] data_o
);
  // Positions, and the words that each kind of position releases.
  localparam int unsigned Rows = (Height - KernelH) / StrideH + 1;
  localparam int unsigned Columns = (ImageWidth - KernelW) / StrideW + 1;
  localparam int unsigned LastColumn = (Columns - 1) * StrideW;
  localparam int unsigned ReleaseColumn = StrideW * Folds;
  localparam int unsigned ReleaseRow = (StrideH * ImageWidth - LastColumn) * Folds;
  localparam int unsigned ReleaseFrame = ((Height - (Rows - 1) * StrideH) * ImageWidth - LastColumn) * Folds;

  // The inner loop is KernelH runs of Run words, RunStep apart; a run ends with a jump to the next kernel row.
  localparam int unsigned Run = ChannelOuter ? KernelW : KernelW * Folds;
  localparam int unsigned RunStep = ChannelOuter ? Folds : 1;
  localparam int unsigned RunJump = (ImageWidth - KernelW) * Folds + RunStep;
  localparam int unsigned OuterStep = ChannelOuter ? 1 : 0;
  // What the base moves by is counted from where the last outer loop began.
  localparam int unsigned OuterSpan = OuterStep * (Outer - 1);

  localparam int unsigned LastOffset = ((KernelH - 1) * ImageWidth + KernelW) * Folds - 1;
  localparam int unsigned ReadMost = LastOffset + 1 > ReleaseFrame ? LastOffset + 1 : ReleaseFrame;
  localparam bit TooSmall = Capacity < ReadMost || (Columns > 1 && Capacity < ReleaseColumn)
                                                || (Rows > 1 && Capacity < ReleaseRow);

  if (Width < 1 || Folds < 1 || KernelH < 1 || KernelW < 1 || StrideH < 1 || StrideW < 1 || Outer < 1) begin : g_check
    $error("cs_window: Width, Folds, KernelH, KernelW, StrideH, StrideW and Outer are 1 or more");
  end
  if (KernelH > Height || KernelW > ImageWidth) begin : g_check_kernel
    $error("cs_window: the kernel is larger than the image");
  end
  if (ChannelOuter && Outer != Folds) begin : g_check_outer
    $error("cs_window: Outer equals Folds when ChannelOuter is set");
  end
  if (TooSmall) begin : g_check_capacity
    $error("cs_window: Capacity is smaller than what a position needs");
  end

  localparam int unsigned AddrBits = Capacity > 1 ? $clog2(Capacity) : 1;
  localparam int unsigned OccBits = $clog2(Capacity + 1);
  localparam int unsigned RunBits = Run > 1 ? $clog2(Run) : 1;
  localparam int unsigned KernelBits = KernelH > 1 ? $clog2(KernelH) : 1;
  localparam int unsigned OuterBits = Outer > 1 ? $clog2(Outer) : 1;
  localparam int unsigned ColumnBits = Columns > 1 ? $clog2(Columns) : 1;
  localparam int unsigned RowBits = Rows > 1 ? $clog2(Rows) : 1;

  logic [RunBits-1:0]    run_q;
  logic [KernelBits-1:0] kernel_q;
  logic [OuterBits-1:0]  outer_q;
  logic [ColumnBits-1:0] column_q;
  logic [RowBits-1:0]    row_q;
  logic [OccBits-1:0]    occ_q, offset_q, offset_d;
  logic [AddrBits-1:0]   wr_q, rd_q, rd_d, start_q, start_d;
  logic                  first_q, ready_q;
  logic                  run_last, inner_last, outer_last, column_last, frame_last, move;
  logic                  write, step;

  assign run_last    = run_q == RunBits'(Run - 1);
  assign inner_last  = run_last & (kernel_q == KernelBits'(KernelH - 1));
  assign outer_last  = outer_q == OuterBits'(Outer - 1);
  assign column_last = column_q == ColumnBits'(Columns - 1);
  assign frame_last  = column_last & (row_q == RowBits'(Rows - 1));
  assign move        = inner_last & outer_last;

  // Words released by the last step of this position; registered words only, so that a step depends on few bits.
  logic [OccBits-1:0] release_words;
  assign release_words = frame_last  ? OccBits'(ReleaseFrame)
                       : column_last ? OccBits'(ReleaseRow) : OccBits'(ReleaseColumn);

  assign ready_o = ready_q;
  assign write   = valid_i & ready_q;
  assign step    = (offset_q < occ_q) & (~inner_last | credit_i) & (~move | (release_words <= occ_q));
  assign take_o  = step & inner_last;

  logic [OccBits-1:0] occ_d;
  assign occ_d = occ_q + OccBits'(write) - ((step & move) ? release_words : '0);

  // Next addresses, modulo Capacity, by one addition and one conditional subtraction each.
  function automatic logic [AddrBits-1:0] advance(
    input logic [AddrBits-1:0] from, input logic [AddrBits-1:0] by
  );
    logic [AddrBits:0] sum;
    sum = {1'b0, from} + {1'b0, by};
    advance = AddrBits'(sum >= (AddrBits + 1)'(Capacity) ? sum - (AddrBits + 1)'(Capacity) : sum);
  endfunction

  logic [AddrBits-1:0] start_by;
  assign start_by = !outer_last ? AddrBits'(OuterStep % Capacity)
                  : frame_last  ? AddrBits'((ReleaseFrame - OuterSpan) % Capacity)
                  : column_last ? AddrBits'((ReleaseRow - OuterSpan) % Capacity)
                                : AddrBits'((ReleaseColumn - OuterSpan) % Capacity);
  assign start_d  = advance(start_q, start_by);
  assign rd_d     = inner_last ? start_d
                  : advance(rd_q, run_last ? AddrBits'(RunJump % Capacity) : AddrBits'(RunStep % Capacity));

  logic [OuterBits-1:0] outer_d;
  assign outer_d  = outer_last ? '0 : outer_q + 1'b1;
  assign offset_d = !inner_last ? offset_q + (run_last ? OccBits'(RunJump) : OccBits'(RunStep))
                  : ChannelOuter ? OccBits'(outer_d) : '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      run_q    <= '0;
      kernel_q <= '0;
      outer_q  <= '0;
      column_q <= '0;
      row_q    <= '0;
      offset_q <= '0;
      rd_q     <= '0;
      start_q  <= '0;
      first_q  <= 1'b1;
    end else if (step) begin
      run_q    <= run_last ? '0 : run_q + 1'b1;
      offset_q <= offset_d;
      rd_q     <= rd_d;
      first_q  <= inner_last;
      if (run_last) kernel_q <= inner_last ? '0 : kernel_q + 1'b1;
      if (inner_last) begin
        outer_q <= outer_d;
        start_q <= start_d;
      end
      if (move) begin
        column_q <= column_last ? '0 : column_q + 1'b1;
        if (column_last) row_q <= frame_last ? '0 : row_q + 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      occ_q   <= '0;
      wr_q    <= '0;
      ready_q <= 1'b1;
    end else begin
      occ_q   <= occ_d;
      ready_q <= occ_d < OccBits'(Capacity);
      if (write) wr_q <= (wr_q == AddrBits'(Capacity - 1)) ? '0 : wr_q + 1'b1;
    end
  end

  (* ram_style = Style *) logic [Width-1:0] mem [Capacity];
  logic [Width-1:0] word_q;
  logic             valid_q, word_first_q, word_last_q;
  always_ff @(posedge clk_i) begin
    if (write) mem[wr_q] <= data_i;
  end
  always_ff @(posedge clk_i) begin
    if (step) word_q <= mem[rd_q];
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= 1'b0;
    else         valid_q <= step;
    word_first_q <= first_q;
    word_last_q  <= inner_last;
  end

  if (OutReg) begin : g_out_reg
    always_ff @(posedge clk_i) begin
      if (!rst_ni) valid_o <= 1'b0;
      else         valid_o <= valid_q;
      first_o <= word_first_q;
      last_o  <= word_last_q;
      data_o  <= word_q;
    end
  end else begin : g_out
    assign valid_o = valid_q;
    assign first_o = word_first_q;
    assign last_o  = word_last_q;
    assign data_o  = word_q;
  end
endmodule
