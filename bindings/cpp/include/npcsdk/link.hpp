// One connection that is made again whenever it breaks: socket and ZMTP, driven by `tick`. Never blocks.
#pragma once

#include <string>

#include "socket.hpp"
#include "transport.hpp"
#include "zmtp.hpp"

namespace npcsdk {

/// Seconds between attempts to connect: doubled after each failure, up to the second.
struct Backoff {
    double first = 0.05;
    double most = 0.5;
};

class Link final : public Transport {
public:
    Link(const net::Address& address, zmtp::Heartbeat heartbeat, Backoff backoff)
        : address_(address), heartbeat_(heartbeat), backoff_(backoff), wire_(heartbeat), delay_(backoff.first) {}

    bool open() const override { return state_ == State::up && wire_.open(); }
    std::string_view trouble() const override {
        return address_.size ? std::string_view(trouble_) : "the address has to be tcp:// with a number, as tcp://127.0.0.1:5990";
    }

    void tick(double now) override {
        if (state_ == State::down && now >= retry_at_) {
            if (!socket_.connect(address_)) return drop("there is no way to that address", now);
            state_ = State::connecting;
            since_ = now;
        }
        if (state_ == State::connecting) {
            const net::Socket::Outcome outcome = socket_.connected();
            if (outcome == net::Socket::Outcome::failed) return drop("nobody listens there", now);
            if (outcome == net::Socket::Outcome::later) {
                if (now - since_ > heartbeat_.timeout) drop("the address does not answer", now);
                return;
            }
            state_ = State::up;
            wire_.start(now);
            flush(now);
        }
        if (state_ != State::up) return;
        wire_.tick(now);
        if (wire_.broken()) return drop(wire_.reason(), now);
    }

    bool receive(double now) override {
        if (state_ != State::up) return false;
        const zmtp::Connection::Room room = wire_.room();
        const net::Socket::Moved moved = socket_.receive(room.data, room.size);
        if (moved.outcome == net::Socket::Outcome::later) return false;
        if (moved.outcome == net::Socket::Outcome::failed)
            return drop(wire_.open() ? "the connection was closed" : "the server closed the connection while greeting: does it demand CURVE?", now), false;
        wire_.filled(moved.size, now);
        more_ = moved.size == room.size;
        return true;
    }

    bool more() const override { return more_ && state_ == State::up; }

    bool next(Span& message, double now) override {
        if (state_ != State::up) return false;
        const bool was_open = wire_.open();
        const bool got = wire_.next(message);
        if (!was_open && wire_.open()) delay_ = backoff_.first;
        if (wire_.broken()) drop(wire_.reason(), now);
        return got && state_ == State::up;
    }

    void send(Span message) override {
        if (open()) wire_.send(message);
    }

    void flush(double now) override {
        while (state_ == State::up) {
            const Span pending = wire_.pending();
            if (pending.size == 0) return;
            if (pending.size > most_pending) return drop("the server does not read", now);
            const net::Socket::Moved moved = socket_.send(pending.data, pending.size);
            if (moved.outcome == net::Socket::Outcome::later) return;
            if (moved.outcome == net::Socket::Outcome::failed) return drop("the connection was closed", now);
            wire_.sent(moved.size);
        }
    }

    void drop(std::string_view reason, double now) override {
        if (trouble_ != reason) trouble_ = reason;
        socket_.close();
        state_ = State::down;
        retry_at_ = now + delay_;
        delay_ = 2 * delay_ < backoff_.most ? 2 * delay_ : backoff_.most;
    }

    void close() override {
        socket_.finish();
        state_ = State::down;
        retry_at_ = 0;
        delay_ = backoff_.first;
    }

private:
    enum class State { down, connecting, up };
    static constexpr std::size_t most_pending = 16u << 20;

    net::Address address_;
    zmtp::Heartbeat heartbeat_;
    Backoff backoff_;
    net::Socket socket_;
    zmtp::Connection wire_;
    State state_ = State::down;
    std::string trouble_;
    double since_ = 0, retry_at_ = 0;
    double delay_;
    bool more_ = false;
};

}  // namespace npcsdk
