#include "bench.h"
const struct program kZip[] = {{0}};
