// The C++ client of npcsdk: characters with a mind of their own, over a socket. C++17, no dependencies.
// How to start: bindings/cpp/README.md. The protocol: bindings/PROTOCOL.md.
#pragma once

#include "client.hpp"
#include "json.hpp"
