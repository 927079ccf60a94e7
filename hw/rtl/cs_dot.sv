// Dot product of Simd inputs with Simd weights: sum_o = sum over s of data[s] * weight[s], modulo 2^OutBits.
//
// Planes = 1  no multipliers: the sum over all pairs of bits (i, j) of +-2^(i+j) * popcount(data bit i AND weight bit j),
//             minus where one of the two is a sign bit. data_i and weight_i hold bit planes: bit i of element s is at
//             [i*Simd + s]. With Xnor = 1, XNOR takes the place of AND (see cs_mac_pe).
// Planes = 0  multipliers, followed by a register with MulReg; bit i of element s is at [s*Bits + i].
//             UseDsp is the attribute use_dsp of the products: yes | no | auto.
// Latency   MulReg + ceil(clog2(Simd) / TreeStride): a register after every TreeStride levels of the binary adder tree;
//           TreeStride = 0, or Simd = 1: no register in the tree.
// Interval  one dot product per cycle; there is no stall and no valid: the caller delays its own.
// Limits    Simd, DataBits, WeightBits, OutBits >= 1; MulReg needs Planes = 0; Xnor needs Planes = 1.
module cs_dot #(
  parameter int unsigned Simd = 4,
  parameter int unsigned DataBits = 2,
  parameter bit          DataSigned = 1'b0,
  parameter int unsigned WeightBits = 2,
  parameter bit          WeightSigned = 1'b1,
  parameter bit          Xnor = 1'b0,
  parameter bit          Planes = 1'b1,
  parameter UseDsp = "auto",
  parameter bit          MulReg = 1'b0,
  parameter int unsigned TreeStride = 0,
  parameter int unsigned OutBits = 8
) (
  input  logic                       clk_i,
  input  logic [Simd*DataBits-1:0]   data_i,
  input  logic [Simd*WeightBits-1:0] weight_i,
  output logic [OutBits-1:0]         sum_o
);
  if (Simd < 1 || DataBits < 1 || WeightBits < 1 || OutBits < 1) begin : g_check
    $error("cs_dot: Simd, DataBits, WeightBits and OutBits are 1 or more");
  end
  if ((MulReg && Planes) || (Xnor && !Planes)) begin : g_check_style
    $error("cs_dot: MulReg needs Planes = 0, Xnor needs Planes = 1");
  end

  // The first level of the tree works on products: groups of up to 2^Stride of them, each group one leaf.
  localparam int unsigned Depth = $clog2(Simd);
  localparam int unsigned Stride = (TreeStride == 0 || TreeStride > Depth) ? Depth : TreeStride;
  localparam int unsigned Group = Simd < (1 << Stride) ? Simd : 1 << Stride;
  localparam int unsigned Leaves = (Simd + Group - 1) / Group;

  // Exact widths of a product and of the sum of a group, but never more than the result needs.
  localparam bit          Signed = DataSigned || WeightSigned;
  localparam int unsigned ProductBits = (WeightBits == 1 && !WeightSigned) ? DataBits
                                      : (DataBits == 1 && !DataSigned) ? WeightBits : DataBits + WeightBits;
  localparam int unsigned FullBits = (ProductBits == 1 && !Signed) ? $clog2(Group + 1) : ProductBits + $clog2(Group);
  localparam int unsigned LeafBits = FullBits < OutBits ? FullBits : OutBits;

  logic [Leaves*LeafBits-1:0] leaves_d, leaves;

  if (Planes) begin : g_planes
    for (genvar g = 0; g < Leaves; g++) begin : g_leaf
      localparam int unsigned Terms = g == Leaves - 1 ? Simd - g * Group : Group;
      logic [LeafBits-1:0] leaf;
      always_comb begin
        leaf = '0;
        for (int unsigned i = 0; i < DataBits; i++) begin
          for (int unsigned j = 0; j < WeightBits; j++) begin
            logic [Terms-1:0]    a, w;
            logic [LeafBits-1:0] count;
            a     = data_i[i*Simd + g*Group +: Terms];
            w     = weight_i[j*Simd + g*Group +: Terms];
            count = LeafBits'($countones(Xnor ? ~(a ^ w) : a & w)) << (i + j);
            if ((DataSigned && i == DataBits - 1) != (WeightSigned && j == WeightBits - 1)) leaf = leaf - count;
            else                                                                           leaf = leaf + count;
          end
        end
      end
      assign leaves_d[g*LeafBits +: LeafBits] = leaf;
    end
  end else begin : g_multipliers
    localparam int unsigned MulBits = DataBits + WeightBits;
    (* use_dsp = UseDsp *) logic [Simd*MulBits-1:0] products_d;
    logic [Simd*MulBits-1:0] products;
    for (genvar s = 0; s < Simd; s++) begin : g_product
      // One more bit makes an unsigned operand a signed one.
      logic signed [DataBits:0]   a;
      logic signed [WeightBits:0] w;
      assign a = {DataSigned & data_i[(s+1)*DataBits-1], data_i[s*DataBits +: DataBits]};
      assign w = {WeightSigned & weight_i[(s+1)*WeightBits-1], weight_i[s*WeightBits +: WeightBits]};
      assign products_d[s*MulBits +: MulBits] = MulBits'(a * w);
    end
    if (MulReg) begin : g_register
      always_ff @(posedge clk_i) products <= products_d;
    end else begin : g_wire
      assign products = products_d;
    end
    for (genvar g = 0; g < Leaves; g++) begin : g_leaf
      localparam int unsigned Terms = g == Leaves - 1 ? Simd - g * Group : Group;
      logic [LeafBits-1:0] leaf;
      always_comb begin
        leaf = '0;
        for (int unsigned k = 0; k < Terms; k++) begin
          leaf = leaf + (Signed ? LeafBits'($signed(products[(g*Group + k)*MulBits +: MulBits]))
                                : LeafBits'(products[(g*Group + k)*MulBits +: MulBits]));
        end
      end
      assign leaves_d[g*LeafBits +: LeafBits] = leaf;
    end
  end

  if (TreeStride == 0 || Simd == 1) begin : g_leaf_wire
    assign leaves = leaves_d;
  end else begin : g_leaf_register
    always_ff @(posedge clk_i) leaves <= leaves_d;
  end

  cs_adder_tree #(
    .Operands(Leaves), .InBits(LeafBits), .Signed(Signed), .TreeStride(TreeStride), .OutBits(OutBits)
  ) u_tree (.clk_i, .data_i(leaves), .sum_o);
endmodule
