// Stand-in: the open Algorithmic C types, which Intel's are made from.
#include "ac_int.h"
