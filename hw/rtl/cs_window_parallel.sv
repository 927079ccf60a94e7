// Engine with a sliding window that is handed over whole: all KernelH*KernelW pixels in one step, from line buffers.
//
// A word is one input beat; Folds words make a pixel. The KernelH-1 rows before the current one wait in line buffers,
// the KernelW-1 columns before it in shift registers; a word that completes a window starts a run of output steps:
//   Folds = 1   Outer steps, each with the whole window (neuron folds); the first one takes the word
//   Folds > 1   one step per word, each with the words cf = 0 … Folds-1 of all pixels of the window; Outer is 1
// data_o holds word (ky, kx) in bits [(ky*KernelW + kx)*Width +: Width].
// Step      takes a word when it is the first of its run; the last step of an output needs a credit, which it takes.
// Latency   1 cycle from a step to valid_o; first_o and last_o mark the first and last step of an output.
// Interval  one step per cycle: Height*ImageWidth*Folds + (Outer - 1) * positions steps a frame.
// Stall     without its word or credit a step waits; nothing behind valid_o ever does.
// Limits    KernelH <= Height, KernelW <= ImageWidth; Folds = 1 or Outer = 1.
module cs_window_parallel #(
  parameter int unsigned Width = 8,
  parameter int unsigned Height = 4,
  parameter int unsigned ImageWidth = 4,
  parameter int unsigned Folds = 1,
  parameter int unsigned KernelH = 3,
  parameter int unsigned KernelW = 3,
  parameter int unsigned StrideH = 1,
  parameter int unsigned StrideW = 1,
  parameter int unsigned Outer = 1,
  parameter Style = "auto"
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  input  logic                             valid_i,
  output logic                             ready_o,
  input  logic [Width-1:0]                 data_i,
  input  logic                             credit_i,
  output logic                             take_o,
  output logic                             valid_o,
  output logic                             first_o,
  output logic                             last_o,
  output logic [KernelH*KernelW*Width-1:0] data_o
);
  if (Width < 1 || Folds < 1 || KernelH < 1 || KernelW < 1 || StrideH < 1 || StrideW < 1 || Outer < 1) begin : g_check
    $error("cs_window_parallel: Width, Folds, KernelH, KernelW, StrideH, StrideW and Outer are 1 or more");
  end
  if (KernelH > Height || KernelW > ImageWidth) begin : g_check_kernel
    $error("cs_window_parallel: the kernel is larger than the image");
  end
  if (Folds > 1 && Outer > 1) begin : g_check_folds
    $error("cs_window_parallel: Folds or Outer is 1");
  end

  localparam int unsigned FoldBits = Folds > 1 ? $clog2(Folds) : 1;
  localparam int unsigned OuterBits = Outer > 1 ? $clog2(Outer) : 1;
  localparam int unsigned ColumnBits = ImageWidth > 1 ? $clog2(ImageWidth) : 1;
  localparam int unsigned RowBits = Height > 1 ? $clog2(Height) : 1;
  localparam int unsigned LineWords = ImageWidth * Folds;
  localparam int unsigned AddrBits = LineWords > 1 ? $clog2(LineWords) : 1;
  // Rows (columns) until the next one that completes a window: the kernel's size first, then the stride.
  localparam int unsigned RowMost = KernelH > StrideH ? KernelH : StrideH;
  localparam int unsigned ColumnMost = KernelW > StrideW ? KernelW : StrideW;
  localparam int unsigned RowPhaseBits = RowMost > 1 ? $clog2(RowMost) : 1;
  localparam int unsigned ColumnPhaseBits = ColumnMost > 1 ? $clog2(ColumnMost) : 1;

  logic [FoldBits-1:0]        fold_q;
  logic [OuterBits-1:0]       outer_q;
  logic [ColumnBits-1:0]      column_q;
  logic [RowBits-1:0]         row_q;
  logic [RowPhaseBits-1:0]    row_phase_q;
  logic [ColumnPhaseBits-1:0] column_phase_q;
  logic first_step, window, fold_last, outer_last, column_last, row_last, able, step, take;

  assign first_step  = outer_q == '0;
  assign window      = (row_phase_q == '0) & (column_phase_q == '0);
  assign fold_last   = fold_q == FoldBits'(Folds - 1);
  assign outer_last  = ~window | (outer_q == OuterBits'(Outer - 1));
  assign column_last = column_q == ColumnBits'(ImageWidth - 1);
  assign row_last    = row_q == RowBits'(Height - 1);

  // The counters stand on the word of the current run: it is taken in the run's first step, and left in its last.
  assign able    = ~(window & fold_last) | credit_i;
  assign ready_o = first_step & able;
  assign step    = able & (valid_i | ~first_step);
  assign take    = first_step & able & valid_i;
  assign take_o  = step & window & fold_last;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      fold_q         <= '0;
      outer_q        <= '0;
      column_q       <= '0;
      row_q          <= '0;
      row_phase_q    <= RowPhaseBits'(KernelH - 1);
      column_phase_q <= ColumnPhaseBits'(KernelW - 1);
    end else if (step) begin
      outer_q <= outer_last ? '0 : outer_q + 1'b1;
      if (outer_last) begin
        fold_q <= fold_last ? '0 : fold_q + 1'b1;
        if (fold_last) begin
          column_q <= column_last ? '0 : column_q + 1'b1;
          if (column_last)                column_phase_q <= ColumnPhaseBits'(KernelW - 1);
          else if (column_phase_q == '0)  column_phase_q <= ColumnPhaseBits'(StrideW - 1);
          else                            column_phase_q <= column_phase_q - 1'b1;
          if (column_last) begin
            row_q <= row_last ? '0 : row_q + 1'b1;
            if (row_last)                row_phase_q <= RowPhaseBits'(KernelH - 1);
            else if (row_phase_q == '0)  row_phase_q <= RowPhaseBits'(StrideH - 1);
            else                         row_phase_q <= row_phase_q - 1'b1;
          end
        end
      end
    end
  end

  // column[ky]: the words of this column in the KernelH rows that end with the current one.
  logic [KernelH*Width-1:0] column;
  assign column[(KernelH-1)*Width +: Width] = data_i;

  if (KernelH > 1) begin : g_lines
    localparam int unsigned LineWidth = (KernelH - 1) * Width;
    (* ram_style = Style *) logic [LineWidth-1:0] mem [LineWords];
    logic [AddrBits-1:0]  addr_q, addr_d;
    logic [LineWidth-1:0] line_q;
    assign addr_d = (addr_q == AddrBits'(LineWords - 1)) ? '0 : addr_q + 1'b1;
    assign column[LineWidth-1:0] = line_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni)   addr_q <= '0;
      else if (take) addr_q <= addr_d;
    end
    // The oldest row drops out at the bottom; the word for the next column is fetched ahead.
    always_ff @(posedge clk_i) begin
      if (take) mem[addr_q] <= column[Width +: LineWidth];
    end
    if (LineWords == 1) begin : g_one
      always_ff @(posedge clk_i) if (take) line_q <= column[Width +: LineWidth];
    end else begin : g_ahead
      always_ff @(posedge clk_i) if (take) line_q <= mem[addr_d];
    end
  end

  // The last (KernelW-1)*Folds + 1 words of every row; window pixel kx is (KernelW-1-kx)*Folds words back.
  localparam int unsigned Taps = (KernelW - 1) * Folds + 1;
  for (genvar ky = 0; ky < KernelH; ky++) begin : g_row
    logic [Taps*Width-1:0] shift_q;
    if (Taps == 1) begin : g_single
      always_ff @(posedge clk_i) if (take) shift_q <= column[ky*Width +: Width];
    end else begin : g_shift
      always_ff @(posedge clk_i) if (take) shift_q <= {shift_q[(Taps-1)*Width-1:0], column[ky*Width +: Width]};
    end
    for (genvar kx = 0; kx < KernelW; kx++) begin : g_tap
      assign data_o[(ky*KernelW + kx)*Width +: Width] = shift_q[(KernelW-1-kx)*Folds*Width +: Width];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_o <= 1'b0;
    else         valid_o <= step & window;
    first_o <= fold_q == '0;
    last_o  <= fold_last;
  end
endmodule
