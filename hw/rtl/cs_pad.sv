// Engine that frames an image with Top, Left, Bottom, Right pixels of the element PadCode.
//
// Elements are brought to OutBits bits on the way, so that the result can hold the padding too (a bipolar image padded
// with 0 becomes two's complement: a bit b becomes 2b - 1 when OutBits > 1).
// Step      one per output beat, (Height+Top+Bottom) * (ImageWidth+Left+Right) * Folds a frame; a step inside the image
//           takes an input beat. The first step of a frame also waits for the frame's first beat, so that nothing
//           moves before there is a frame.
// Latency   0: valid_o and data_o are combinational; valid_o = take_o.
// Interval  one beat per cycle.
// Stall     without a credit there is no step.
// Limits    Lanes, InBits, Height, ImageWidth, Folds >= 1, OutBits >= InBits; Folds = beats per pixel; a bipolar input
//           has 1 bit and is not signed.
module cs_pad #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned InBits = 4,
  parameter bit          InSigned = 1'b0,
  parameter bit          InBipolar = 1'b0,
  parameter int unsigned OutBits = 4,
  parameter int unsigned Height = 4,
  parameter int unsigned ImageWidth = 4,
  parameter int unsigned Top = 1,
  parameter int unsigned Left = 1,
  parameter int unsigned Bottom = 1,
  parameter int unsigned Right = 1,
  parameter int unsigned Folds = 1,
  parameter logic [OutBits-1:0] PadCode = '0
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  output logic                     ready_o,
  input  logic [Lanes*InBits-1:0]  data_i,
  input  logic                     credit_i,
  output logic                     take_o,
  output logic                     valid_o,
  output logic [Lanes*OutBits-1:0] data_o
);
  if (Lanes < 1 || InBits < 1 || OutBits < InBits || Height < 1 || ImageWidth < 1 || Folds < 1) begin : g_check
    $error("cs_pad: Lanes, InBits, Height, ImageWidth and Folds are 1 or more, OutBits is InBits or more");
  end
  if (InBipolar && (InBits != 1 || InSigned)) begin : g_check_type
    $error("cs_pad: a bipolar input has 1 bit and is not signed");
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

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic [InBits-1:0]  code;
    logic [OutBits-1:0] element;
    assign code = data_i[l*InBits +: InBits];
    if (InBipolar && OutBits > 1) begin : g_bipolar
      assign element = code[0] ? OutBits'(1) : '1;
    end else begin : g_plain
      assign element = InSigned ? OutBits'($signed(code)) : OutBits'(code);
    end
    assign data_o[l*OutBits +: OutBits] = inside_q ? element : PadCode;
  end

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
