// Assertions for the small test programs: the first that fails says where and ends the program.
#pragma once

#include <cstdio>
#include <cstdlib>

[[noreturn]] inline void not_so(const char* file, int line, const char* condition) {
    std::fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    std::exit(1);
}

#define CHECK(condition) ((condition) ? static_cast<void>(0) : not_so(__FILE__, __LINE__, #condition))
