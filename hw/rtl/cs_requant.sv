// Rescale pipe: y = clamp(round(x * m / 2^s) + ZeroPoint) to OutBits bits, m and s per channel or for all.
//
// Rounding  0  half up         floor(v + 1/2)
//           1  half to even
//           2  TFLite          (p + 2^(s-1) + (s > 31 ? (p >= 0 ? 2^30 : -2^30) : 0)) >> s, p the product
// The n-th beat since reset meets word n mod Folds of ParamFile; a word holds, lane after lane, the multiplier (MulBits,
// two's complement) below the shift (ShiftBits). ShiftBits = 0: there is one shift for all, Shift; else Shift is the largest.
// Latency   MulRegs + 2: product (MulRegs registers), rounding, clamp.
// Interval  one beat per cycle; no stall.
// Limits    Lanes, InBits, MulBits, Folds, MulRegs >= 1; Shift 0 to 62; OutBits 1 to 32; a bipolar input has 1 bit and
//           is not signed. All intermediate results are exact.
module cs_requant #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned InBits = 8,
  parameter bit          InSigned = 1'b1,
  parameter bit          InBipolar = 1'b0,
  parameter int unsigned MulBits = 8,
  parameter int unsigned ShiftBits = 0,
  parameter int unsigned Shift = 4,
  parameter int unsigned Rounding = 0,
  parameter int          ZeroPoint = 0,
  parameter int unsigned OutBits = 8,
  parameter bit          OutSigned = 1'b1,
  parameter int unsigned Folds = 1,
  parameter ParamFile = "",
  parameter MulStyle = "auto",
  parameter int unsigned MulRegs = 1
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  input  logic [Lanes*InBits-1:0]  data_i,
  output logic                     valid_o,
  output logic [Lanes*OutBits-1:0] data_o
);
  if (Lanes < 1 || InBits < 1 || MulBits < 1 || Folds < 1 || MulRegs < 1) begin : g_check
    $error("cs_requant: Lanes, InBits, MulBits, Folds and MulRegs are 1 or more");
  end
  if (Shift > 62 || OutBits < 1 || OutBits > 32 || Rounding > 2) begin : g_check_range
    $error("cs_requant: Shift is 0 to 62, OutBits 1 to 32, Rounding 0 to 2");
  end
  if (InBipolar && (InBits != 1 || InSigned)) begin : g_check_type
    $error("cs_requant: a bipolar input has 1 bit and is not signed");
  end

  localparam UseDsp = MulStyle == "dsp" ? "yes" : MulStyle == "lut" ? "no" : "auto";
  localparam int unsigned ParamBits = MulBits + ShiftBits;
  localparam int unsigned ProductBits = InBits + MulBits;
  localparam int unsigned RoundBits = (ProductBits > Shift + 1 ? ProductBits : Shift + 1) + 1;
  localparam int unsigned ClampBits = (RoundBits > 33 ? RoundBits : 33) + 1;
  localparam int unsigned AmountBits = 6;
  localparam logic signed [ClampBits-1:0] Lo =
    OutSigned ? -(ClampBits'(1) << (OutBits - 1)) : '0;
  localparam logic signed [ClampBits-1:0] Hi =
    (ClampBits'(1) << (OutSigned ? OutBits - 1 : OutBits)) - ClampBits'(1);

  logic [Lanes*ParamBits-1:0] params;
  cs_rom #(.Width(Lanes*ParamBits), .Words(Folds), .File(ParamFile)) u_params (
    .clk_i, .rst_ni, .next_i(valid_i), .data_o(params)
  );

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    // Product.
    logic signed [InBits:0]    x;
    logic signed [MulBits-1:0] m;
    if (InBipolar) begin : g_bipolar
      assign x = data_i[l] ? 2'sd1 : -2'sd1;
    end else begin : g_plain
      assign x = {InSigned & data_i[(l+1)*InBits-1], data_i[l*InBits +: InBits]};
    end
    assign m = params[l*ParamBits +: MulBits];

    (* use_dsp = UseDsp *) logic signed [ProductBits-1:0] product_d;
    logic signed [ProductBits-1:0] product;
    assign product_d = ProductBits'(x * m);
    if (MulRegs == 1) begin : g_mul_reg
      always_ff @(posedge clk_i) product <= product_d;
    end else begin : g_mul_regs
      logic [MulRegs*ProductBits-1:0] pipe_q;
      always_ff @(posedge clk_i) pipe_q <= {pipe_q[(MulRegs-1)*ProductBits-1:0], product_d};
      assign product = pipe_q[(MulRegs-1)*ProductBits +: ProductBits];
    end

    // Shift amount, along with the product.
    logic [AmountBits-1:0] amount;
    if (ShiftBits == 0) begin : g_constant_shift
      assign amount = AmountBits'(Shift);
    end else begin : g_shift
      logic [MulRegs*ShiftBits-1:0] pipe_q;
      always_ff @(posedge clk_i) begin
        pipe_q <= (MulRegs*ShiftBits)'({pipe_q, params[l*ParamBits + MulBits +: ShiftBits]});
      end
      assign amount = AmountBits'(pipe_q[(MulRegs-1)*ShiftBits +: ShiftBits]);
    end

    // Rounding: an addend below the cut, then an arithmetic shift.
    logic signed [RoundBits-1:0] wide, half, even, nudge, addend, rounded_q;
    assign wide  = RoundBits'(product);
    assign half  = amount == '0 ? '0 : RoundBits'(1) << (amount - 1'b1);
    assign even  = amount == '0 ? '0 : half - RoundBits'(1) + RoundBits'((wide >>> amount) & RoundBits'(1));
    assign nudge = amount <= AmountBits'(31) ? '0 : product[ProductBits-1] ? -(RoundBits'(1) << 30) : RoundBits'(1) << 30;
    assign addend = Rounding == 0 ? half : Rounding == 1 ? even : half + nudge;
    always_ff @(posedge clk_i) rounded_q <= (wide + addend) >>> amount;

    // Zero point and clamp.
    logic signed [ClampBits-1:0] moved;
    logic        [OutBits-1:0]   out_q;
    assign moved = ClampBits'(rounded_q) + ClampBits'(ZeroPoint);
    always_ff @(posedge clk_i) out_q <= OutBits'(moved < Lo ? Lo : moved > Hi ? Hi : moved);
    assign data_o[l*OutBits +: OutBits] = out_q;
  end

  cs_delay #(.Width(1), .Cycles(MulRegs + 2)) u_valid (.clk_i, .rst_ni, .data_i(valid_i), .data_o(valid_o));
endmodule
