#include "bench.h"
const struct program kCrypto[] = {{0}};
