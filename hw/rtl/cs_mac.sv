// Matrix-vector pipe: for each of Pe neurons acc = bias + sum over the steps first_i .. last_i of the dot product of Simd
// inputs with Simd weights, modulo 2^AccBits; the result comes once per last_i.
//
// The n-th step since reset meets word n mod Words of the weights, the n-th result word n mod Folds of the bias:
// Words = Folds * steps per result. A weight word holds neuron after neuron, each with Simd weights: bit planes (bit j of
// weight s at [j*Simd + s]) with MulStyle lut or a bipolar operand, else whole weights ([s*WeightBits + j]).
// MulStyle  lut: popcounts of bit planes, no multipliers; dsp, auto: multipliers, in DSP blocks or as synthesis likes.
// Latency   RomReg + MulReg + ceil(clog2(Simd) / TreeStride) + 1, from the last step to valid_o; TreeStride = 0 counts
//           as no register. RomReg: weights and data registered; MulReg: products; TreeStride: adder levels a register.
// Interval  one step per cycle; no stall.
// Limits    Pe, Simd, Words, Folds >= 1, Words a multiple of Folds; a bipolar operand has 1 bit, is not signed, and
//           goes without dsp; MulReg needs multipliers.
module cs_mac #(
  parameter int unsigned Pe = 2,
  parameter int unsigned Simd = 4,
  parameter int unsigned InBits = 2,
  parameter bit          InSigned = 1'b0,
  parameter bit          InBipolar = 1'b0,
  parameter int unsigned WeightBits = 2,
  parameter bit          WeightSigned = 1'b1,
  parameter bit          WeightBipolar = 1'b0,
  parameter int unsigned AccBits = 8,
  parameter int unsigned Words = 1,
  parameter int unsigned Folds = 1,
  parameter bit          HasBias = 1'b0,
  parameter WeightFile = "",
  parameter BiasFile = "",
  parameter MulStyle = "lut",
  parameter MemStyle = "auto",
  parameter bit          RomReg = 1'b0,
  parameter bit          MulReg = 1'b0,
  parameter int unsigned TreeStride = 0
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   valid_i,
  input  logic                   first_i,
  input  logic                   last_i,
  input  logic [Simd*InBits-1:0] data_i,
  output logic                   valid_o,
  output logic [Pe*AccBits-1:0]  data_o
);
  localparam bit Planes = MulStyle == "lut" || InBipolar || WeightBipolar;
  localparam UseDsp = MulStyle == "dsp" ? "yes" : "auto";
  localparam int unsigned TreeRegs = TreeStride == 0 ? 0 : ($clog2(Simd) + TreeStride - 1) / TreeStride;
  localparam int unsigned DotRegs = 32'(MulReg) + TreeRegs;
  localparam int unsigned NeuronBits = Simd * WeightBits;

  if (Pe < 1 || Simd < 1 || Words < 1 || Folds < 1 || Words % Folds != 0) begin : g_check
    $error("cs_mac: Pe, Simd, Words and Folds are 1 or more, Words a multiple of Folds");
  end
  if ((InBipolar && (InBits != 1 || InSigned)) || (WeightBipolar && (WeightBits != 1 || WeightSigned))) begin : g_check_type
    $error("cs_mac: a bipolar operand has 1 bit and is not signed");
  end
  if ((MulStyle == "dsp" && (InBipolar || WeightBipolar)) || (MulReg && Planes)) begin : g_check_style
    $error("cs_mac: multipliers and their register are for operands that are not bipolar, MulReg not for MulStyle lut");
  end

  logic [Pe*NeuronBits-1:0] rom_word, weights;
  cs_rom #(.Width(Pe*NeuronBits), .Words(Words), .File(WeightFile), .Style(MemStyle)) u_weights (
    .clk_i, .rst_ni, .next_i(valid_i), .data_o(rom_word)
  );

  logic                   valid, first, last;
  logic [Simd*InBits-1:0] data;
  cs_delay #(.Width(3), .Cycles(32'(RomReg) + DotRegs)) u_flags (
    .clk_i, .rst_ni, .data_i({valid_i, first_i, last_i}), .data_o({valid, first, last})
  );
  if (RomReg) begin : g_rom_reg
    always_ff @(posedge clk_i) begin
      weights <= rom_word;
      data    <= data_i;
    end
  end else begin : g_rom
    assign weights = rom_word;
    assign data    = data_i;
  end

  // Bit planes of the inputs, made once for all neurons.
  logic [Simd*InBits-1:0] operands;
  if (Planes) begin : g_planes
    for (genvar i = 0; i < InBits; i++) begin : g_bit
      for (genvar s = 0; s < Simd; s++) begin : g_element
        assign operands[i*Simd + s] = data[s*InBits + i];
      end
    end
  end else begin : g_elements
    assign operands = data;
  end

  logic [AccBits-1:0] correction;
  cs_mac_correction #(
    .Simd(Simd), .InBits(InBits), .InSigned(InSigned), .InBipolar(InBipolar), .WeightBits(WeightBits),
    .WeightSigned(WeightSigned), .WeightBipolar(WeightBipolar), .TreeStride(TreeStride), .AccBits(AccBits)
  ) u_correction (.clk_i, .data_i(operands), .correction_o(correction));

  logic [Pe*AccBits-1:0] bias;
  if (HasBias) begin : g_bias
    cs_rom #(.Width(Pe*AccBits), .Words(Folds), .File(BiasFile)) u_bias (
      .clk_i, .rst_ni, .next_i(valid & last), .data_o(bias)
    );
  end else begin : g_no_bias
    assign bias = '0;
  end

  localparam logic [AccBits-1:0] Constant = AccBits'((InBipolar && WeightBipolar) ? Simd * (Words / Folds) : 0);
  for (genvar p = 0; p < Pe; p++) begin : g_pe
    cs_mac_pe #(
      .Simd(Simd), .InBits(InBits), .InSigned(InSigned), .InBipolar(InBipolar), .WeightBits(WeightBits),
      .WeightSigned(WeightSigned), .WeightBipolar(WeightBipolar), .AccBits(AccBits), .Planes(Planes),
      .UseDsp(UseDsp), .MulReg(MulReg), .TreeStride(TreeStride)
    ) u_pe (
      .clk_i, .data_i(operands), .weight_i(weights[p*NeuronBits +: NeuronBits]), .correction_i(correction),
      .valid_i(valid), .first_i(first), .init_i(bias[p*AccBits +: AccBits] - Constant),
      .acc_o(data_o[p*AccBits +: AccBits])
    );
  end

  cs_delay #(.Width(1), .Cycles(1)) u_valid (.clk_i, .rst_ni, .data_i(valid & last), .data_o(valid_o));
endmodule
