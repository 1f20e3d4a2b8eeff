#include "bench.h"
const struct program kVector[] = {{0}};
