/* sum + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w: one instruction where the device has it. */
#if defined(cl_arm_integer_dot_product_accumulate_int8)
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_accumulate_int8 : enable
#define dot4(a, b, sum) arm_dot_acc((a), (b), (sum))
#elif defined(cl_arm_integer_dot_product_int8)
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_int8 : enable
#define dot4(a, b, sum) ((sum) + arm_dot((a), (b)))
#else
inline int dot4(char4 a, char4 b, int sum) {
  const int4 p = convert_int4(a) * convert_int4(b);
  return sum + p.x + p.y + p.z + p.w;
}
#endif
