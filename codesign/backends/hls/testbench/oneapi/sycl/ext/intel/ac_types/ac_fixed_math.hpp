// Stand-in: networks of integers call no functions of fixed-point numbers.
#include "ac_fixed.h"
