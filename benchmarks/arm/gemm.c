/* Int8 matrix products as inference libraries write them, to be simulated on cores: C[m][n] += A[m][k] * B[k][n].
 *
 *   kernel_smlal   8 x 8 tile in int16 pairs: smull, smlal2, sadalp (cores without the dot product)
 *   kernel_wide    4 x 16 tile: operands widened to int16, smlal by lane (what ncnn and XNNPACK do on them)
 *   kernel_sdot    8 x 8 tile: sdot by lane, A packed [k/4][8][4], B packed [k/4][8][4] (cores with it)
 *   kernel_plain   what the compiler makes of three loops
 *
 * Usage: gemm KERNEL M N K. The first product warms the caches, the second is counted. Exit status 1: unknown kernel. */
#include <arm_neon.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

#define NOINLINE __attribute__((noinline))

/* A packed [m/4][k][4], B packed [n/16][k][16]. Widen and multiply by lane: 16 MACs in two smlal pairs. */
NOINLINE void kernel_wide(const int8_t *a, const int8_t *b, int32_t *c, int m, int n, int k) {
    for (int i = 0; i < m; i += 4)
        for (int j = 0; j < n; j += 16) {
            const int8_t *pa = a + i * k, *pb = b + j * k;
            int32x4_t acc[4][4];
            for (int r = 0; r < 4; r++)
                for (int s = 0; s < 4; s++) acc[r][s] = vdupq_n_s32(0);
            for (int p = 0; p < k; p += 2, pa += 8, pb += 32) {
                int16x8_t va = vmovl_s8(vld1_s8(pa));
                int8x16_t b0 = vld1q_s8(pb), b1 = vld1q_s8(pb + 16);
                int16x8_t w0 = vmovl_s8(vget_low_s8(b0)), w1 = vmovl_high_s8(b0);
                int16x8_t w2 = vmovl_s8(vget_low_s8(b1)), w3 = vmovl_high_s8(b1);
#define ROW(r, lane, x, y)                                                            \
    acc[r][0] = vmlal_laneq_s16(acc[r][0], vget_low_s16(x), va, lane);                 \
    acc[r][1] = vmlal_high_laneq_s16(acc[r][1], x, va, lane);                          \
    acc[r][2] = vmlal_laneq_s16(acc[r][2], vget_low_s16(y), va, lane);                 \
    acc[r][3] = vmlal_high_laneq_s16(acc[r][3], y, va, lane);
                ROW(0, 0, w0, w1) ROW(1, 1, w0, w1) ROW(2, 2, w0, w1) ROW(3, 3, w0, w1)
                ROW(0, 4, w2, w3) ROW(1, 5, w2, w3) ROW(2, 6, w2, w3) ROW(3, 7, w2, w3)
            }
            for (int r = 0; r < 4; r++)
                for (int s = 0; s < 4; s++) vst1q_s32(c + (i + r) * n + j + 4 * s, acc[r][s]);
        }
}

/* A [m][k], B [n][k]: 4 x 4 dot products, two products summed in int16 (weights above -128), then pairwise to int32. */
NOINLINE void kernel_smlal(const int8_t *a, const int8_t *b, int32_t *c, int m, int n, int k) {
    for (int i = 0; i < m; i += 4)
        for (int j = 0; j < n; j += 4) {
            int32x4_t acc[4][4];
            for (int r = 0; r < 4; r++)
                for (int s = 0; s < 4; s++) acc[r][s] = vdupq_n_s32(0);
            for (int p = 0; p < k; p += 16) {
                int8x16_t va[4], vb[4];
                for (int r = 0; r < 4; r++) va[r] = vld1q_s8(a + (i + r) * k + p), vb[r] = vld1q_s8(b + (j + r) * k + p);
#pragma GCC unroll 4
                for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
                    for (int s = 0; s < 4; s++) {
                        int16x8_t product = vmull_s8(vget_low_s8(va[r]), vget_low_s8(vb[s]));
                        product = vmlal_high_s8(product, va[r], vb[s]);
                        acc[r][s] = vpadalq_s16(acc[r][s], product);
                    }
            }
            for (int r = 0; r < 4; r++)
                for (int s = 0; s < 4; s++) c[(i + r) * n + j + s] = vaddvq_s32(acc[r][s]);
        }
}

#ifdef __ARM_FEATURE_DOTPROD
NOINLINE void kernel_sdot(const int8_t *a, const int8_t *b, int32_t *c, int m, int n, int k) {
    for (int i = 0; i < m; i += 8)
        for (int j = 0; j < n; j += 8) {
            const int8_t *pa = a + i * k, *pb = b + j * k;
            int32x4_t acc[8][2];
            for (int r = 0; r < 8; r++) acc[r][0] = acc[r][1] = vdupq_n_s32(0);
            for (int p = 0; p < k; p += 4, pa += 32, pb += 32) {
                int8x16_t a0 = vld1q_s8(pa), a1 = vld1q_s8(pa + 16), b0 = vld1q_s8(pb), b1 = vld1q_s8(pb + 16);
#define DOT(r, x, lane)                                 \
    acc[r][0] = vdotq_laneq_s32(acc[r][0], b0, x, lane); \
    acc[r][1] = vdotq_laneq_s32(acc[r][1], b1, x, lane);
                DOT(0, a0, 0) DOT(1, a0, 1) DOT(2, a0, 2) DOT(3, a0, 3)
                DOT(4, a1, 0) DOT(5, a1, 1) DOT(6, a1, 2) DOT(7, a1, 3)
            }
            for (int r = 0; r < 8; r++)
                for (int s = 0; s < 2; s++) vst1q_s32(c + (i + r) * n + j + 4 * s, acc[r][s]);
        }
}
#endif

NOINLINE void kernel_plain(const int8_t *a, const int8_t *b, int32_t *c, int m, int n, int k) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            int32_t sum = 0;
            for (int p = 0; p < k; p++) sum += a[i * k + p] * b[j * k + p];
            c[i * n + j] = sum;
        }
}

int main(int argc, char **argv) {
    if (argc != 5) return 1;
    int m = atoi(argv[2]), n = atoi(argv[3]), k = atoi(argv[4]);
    int8_t *a = malloc((size_t)m * k), *b = malloc((size_t)n * k);
    int32_t *c = malloc((size_t)m * n * sizeof *c);
    for (int i = 0; i < m * k; i++) a[i] = (int8_t)(i % 13 - 6);
    for (int i = 0; i < n * k; i++) b[i] = (int8_t)(i % 7 - 3);
    void (*kernel)(const int8_t *, const int8_t *, int32_t *, int, int, int) = NULL;
    if (!strcmp(argv[1], "wide")) kernel = kernel_wide;
    if (!strcmp(argv[1], "smlal")) kernel = kernel_smlal;
    if (!strcmp(argv[1], "plain")) kernel = kernel_plain;
#ifdef __ARM_FEATURE_DOTPROD
    if (!strcmp(argv[1], "sdot")) kernel = kernel_sdot;
#endif
    if (!kernel) return 1;
    codesign_control(CODESIGN_WARM);
    kernel(a, b, c, m, n, k);
    codesign_control(CODESIGN_COUNT);
    kernel(a, b, c, m, n, k);
    codesign_control(CODESIGN_OFF);
    return 0;
}
