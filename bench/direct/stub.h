// The stub's layout, for stub.S and space.cpp.
#pragma once

#define STUB_MAPPER_FILTER 0x800  // struct sock_fprog in the code page
#define STUB_RUNNER_FILTER 0x810
#define STUB_COMMANDS 0x1000      // from the stub's start: the mapper's list
#define STUB_COMMAND_BYTES 56
#define STUB_END_OF_LIST -1
