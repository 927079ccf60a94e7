// Adder tree: sum_o = sum of Operands numbers, modulo 2^OutBits.
//
// Latency   ceil(clog2(Operands) / TreeStride): a register after every TreeStride levels of the binary tree;
//           TreeStride = 0, or one operand: no register.
// Interval  one sum per cycle; no stall, no valid.
// Limits    Operands, InBits, OutBits >= 1; operand k at [k*InBits +: InBits], two's complement when Signed.
module cs_adder_tree #(
  parameter int unsigned Operands = 4,
  parameter int unsigned InBits = 4,
  parameter bit          Signed = 1'b0,
  parameter int unsigned TreeStride = 0,
  parameter int unsigned OutBits = 6
) (
  input  logic                       clk_i,
  input  logic [Operands*InBits-1:0] data_i,
  output logic [OutBits-1:0]         sum_o
);
  if (Operands < 1 || InBits < 1 || OutBits < 1) begin : g_check
    $error("cs_adder_tree: Operands, InBits and OutBits are 1 or more");
  end

  // A level sums groups of up to 2^Stride operands; with TreeStride = 0 one level does all.
  localparam int unsigned Depth = $clog2(Operands);
  localparam int unsigned Stride = (TreeStride == 0 || TreeStride > Depth) ? Depth : TreeStride;
  localparam int unsigned Group = 1 << Stride;
  localparam int unsigned Sums = (Operands + Group - 1) / Group;
  localparam int unsigned FullBits = InBits + Stride;
  localparam int unsigned SumBits = FullBits < OutBits ? FullBits : OutBits;

  logic [Sums*SumBits-1:0] sums_d, sums;
  for (genvar g = 0; g < Sums; g++) begin : g_sum
    localparam int unsigned Terms = g == Sums - 1 ? Operands - g * Group : Group;
    logic [SumBits-1:0] sum;
    always_comb begin
      sum = '0;
      for (int unsigned k = 0; k < Terms; k++) begin
        sum = sum + (Signed ? SumBits'($signed(data_i[(g*Group + k)*InBits +: InBits]))
                            : SumBits'(data_i[(g*Group + k)*InBits +: InBits]));
      end
    end
    assign sums_d[g*SumBits +: SumBits] = sum;
  end

  if (TreeStride == 0 || Operands == 1) begin : g_wire
    assign sums = sums_d;
  end else begin : g_register
    always_ff @(posedge clk_i) sums <= sums_d;
  end

  if (Sums == 1) begin : g_done
    assign sum_o = Signed ? OutBits'($signed(sums)) : OutBits'(sums);
  end else begin : g_next
    cs_adder_tree #(
      .Operands(Sums), .InBits(SumBits), .Signed(Signed), .TreeStride(TreeStride), .OutBits(OutBits)
    ) u_tree (.clk_i, .data_i(sums), .sum_o);
  end
endmodule
