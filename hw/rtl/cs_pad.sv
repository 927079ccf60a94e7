// Engine that frames an image with Top, Left, Bottom, Right pixels of the word PadWord.
//
// Step      one per output beat, (Height+Top+Bottom) * (ImageWidth+Left+Right) * Folds a frame; a step inside the image
//           takes an input beat. The first step of a frame also waits for the frame's first beat, so that nothing
//           moves before there is a frame.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o.
// Interval  one beat per cycle.
// Stall     without a credit there is no step.
// Limits    Width, Height, ImageWidth, Folds >= 1; Folds = beats per pixel.
module cs_pad #(
  parameter int unsigned Width = 8,
  parameter int unsigned Height = 4,
  parameter int unsigned ImageWidth = 4,
  parameter int unsigned Top = 1,
  parameter int unsigned Left = 1,
  parameter int unsigned Bottom = 1,
  parameter int unsigned Right = 1,
  parameter int unsigned Folds = 1,
  parameter logic [Width-1:0] PadWord = '0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             credit_i,
  output logic             take_o,
  output logic             valid_o,
  output logic [Width-1:0] data_o
);
  if (Width < 1 || Height < 1 || ImageWidth < 1 || Folds < 1) begin : g_check
    $error("cs_pad: Width, Height, ImageWidth and Folds are 1 or more");
  end

  localparam int unsigned Rows = Height + Top + Bottom;
  localparam int unsigned Columns = ImageWidth + Left + Right;
  localparam int unsigned RowBits = Rows > 1 ? $clog2(Rows) : 1;
  localparam int unsigned ColumnBits = Columns > 1 ? $clog2(Columns) : 1;
  localparam int unsigned FoldBits = Folds > 1 ? $clog2(Folds) : 1;

  logic [RowBits-1:0]    row_q;
  logic [ColumnBits-1:0] column_q;
  logic [FoldBits-1:0]   fold_q;
  logic fold_last, column_last, row_last, inside_q, inside_d, start_q, step;

  assign fold_last   = fold_q == FoldBits'(Folds - 1);
  assign column_last = column_q == ColumnBits'(Columns - 1);
  assign row_last    = row_q == RowBits'(Rows - 1);

  logic [RowBits-1:0]    row_d;
  logic [ColumnBits-1:0] column_d;
  logic [FoldBits-1:0]   fold_d;
  assign fold_d   = fold_last ? '0 : fold_q + 1'b1;
  assign column_d = !fold_last ? column_q : column_last ? '0 : column_q + 1'b1;
  assign row_d    = !(fold_last & column_last) ? row_q : row_last ? '0 : row_q + 1'b1;

  // Whether a beat is of the image, computed one step ahead: a register drives ready_o. Above and left of the image the
  // difference wraps around to a large number.
  assign inside_d = (32'(row_d) - Top < Height) & (32'(column_d) - Left < ImageWidth);

  assign step    = credit_i & (valid_i | ~(inside_q | start_q));
  assign ready_o = credit_i & inside_q;
  assign take_o  = step;
  assign valid_o = step;
  assign data_o  = inside_q ? data_i : PadWord;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      row_q    <= '0;
      column_q <= '0;
      fold_q   <= '0;
      inside_q <= Top == 0 && Left == 0;
      start_q  <= 1'b1;
    end else if (step) begin
      row_q    <= row_d;
      column_q <= column_d;
      fold_q   <= fold_d;
      inside_q <= inside_d;
      start_q  <= row_last & column_last & fold_last;
    end
  end
endmodule
