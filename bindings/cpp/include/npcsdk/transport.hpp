// What carries messages between a client and its server. Driven by polling; never blocks.
#pragma once

#include <string_view>

#include "bytes.hpp"

namespace npcsdk {

/// A connection that is made again whenever it breaks. `Link` is the one that every client has; `curve_transport`
/// (curve.hpp) makes one that is encrypted.
class Transport {
public:
    Transport() = default;
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;
    virtual ~Transport() = default;

    /// Whether messages can be sent.
    virtual bool open() const = 0;
    /// Why there was no connection the last time, for people; empty while there never was trouble.
    virtual std::string_view trouble() const = 0;
    /// Connect when it is time to, and find out whether a connection still lives.
    virtual void tick(double now) = 0;
    /// Take what has arrived; false when that was all for now. Views of earlier messages end here.
    virtual bool receive(double now) = 0;
    /// Whether the last `receive` left something over.
    virtual bool more() const = 0;
    /// The next message of what was taken, a view that ends with the next call.
    virtual bool next(Span& message, double now) = 0;
    virtual void send(Span message) = 0;
    /// Give the system what it takes of what is to be sent.
    virtual void flush(double now) = 0;
    /// Close the connection at once; another one is made after a while.
    virtual void drop(std::string_view reason, double now) = 0;
    /// Close it for good, behind what was sent. A `tick` makes another one.
    virtual void close() = 0;
};

}  // namespace npcsdk
