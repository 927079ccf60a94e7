// What every project of Quartus and Catapult includes, for the precompiled header of the C simulation.
#include "ac_channel.h"
#include "ac_fixed.h"
#include "ac_int.h"
#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>
