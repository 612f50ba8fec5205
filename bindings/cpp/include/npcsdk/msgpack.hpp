// msgpack for the protocol's messages and nothing else.
#pragma once

#include "data.hpp"
#include "value.hpp"
