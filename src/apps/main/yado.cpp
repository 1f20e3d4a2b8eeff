#include "apps/program.h"

int main(int argc, char** argv) {
    return yado::apps::run_program(argc, argv, {.create_guest = yado::assemble::create_guest, .probe_engines = yado::assemble::probe_engines});
}
