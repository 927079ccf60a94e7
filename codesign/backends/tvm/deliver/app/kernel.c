#include "kernel.h"

typedef void *P;
typedef int32_t I;

void network_call(kernel *function, int32_t begin, int32_t end, void *const *a, int count)
{
    switch (count) {
    case 1:
        ((void (*)(I, I, P))function)(begin, end, a[0]);
        break;
    case 2:
        ((void (*)(I, I, P, P))function)(begin, end, a[0], a[1]);
        break;
    case 3:
        ((void (*)(I, I, P, P, P))function)(begin, end, a[0], a[1], a[2]);
        break;
    case 4:
        ((void (*)(I, I, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3]);
        break;
    case 5:
        ((void (*)(I, I, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4]);
        break;
    case 6:
        ((void (*)(I, I, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4], a[5]);
        break;
    case 7:
        ((void (*)(I, I, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
        break;
    case 8:
        ((void (*)(I, I, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4], a[5], a[6],
            a[7]);
        break;
    case 9:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4], a[5],
            a[6], a[7], a[8]);
        break;
    case 10:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4], a[5],
            a[6], a[7], a[8], a[9]);
        break;
    case 11:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4],
            a[5], a[6], a[7], a[8], a[9], a[10]);
        break;
    case 12:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3], a[4],
            a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
        break;
    case 13:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3],
            a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12]);
        break;
    case 14:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2], a[3],
            a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13]);
        break;
    case 15:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2],
            a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14]);
        break;
    case 16:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1], a[2],
            a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]);
        break;
    case 17:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1],
            a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16]);
        break;
    case 18:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0], a[1],
            a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16],
            a[17]);
        break;
    case 19:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0],
            a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15],
            a[16], a[17], a[18]);
        break;
    case 20:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end, a[0],
            a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15],
            a[16], a[17], a[18], a[19]);
        break;
    case 21:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end,
            a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
            a[15], a[16], a[17], a[18], a[19], a[20]);
        break;
    case 22:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin, end,
            a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
            a[15], a[16], a[17], a[18], a[19], a[20], a[21]);
        break;
    case 23:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P))function)(begin,
            end, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
            a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22]);
        break;
    case 24:
        ((void (*)(I, I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P,
            P))function)(begin, end, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
            a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22], a[23]);
        break;
    default:
        break; /* the tables have no such kernel */
    }
}
