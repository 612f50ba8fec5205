// ZMTP without a socket: every cut, every kind of frame, and what a peer may do wrong.
#include <npcsdk/zmtp.hpp>
#include <string>

#include "check.hpp"

using namespace npcsdk;
using zmtp::Connection;

static std::string greeting(const char* mechanism = "NULL", char major = 3, char minor = 1) {
    std::string out(64, '\0');
    out[0] = '\xFF';
    out[9] = '\x7F';
    out[10] = major;
    out[11] = minor;
    for (std::size_t at = 0; mechanism[at]; ++at) out[12 + at] = mechanism[at];
    return out;
}

static std::string frame(int flags, const std::string& body, bool force_long = false) {
    std::string out;
    if (body.size() > 255 || force_long) {
        out += static_cast<char>(flags | 2);
        for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(static_cast<std::uint64_t>(body.size()) >> shift);
    } else {
        out += static_cast<char>(flags);
        out += static_cast<char>(body.size());
    }
    return out + body;
}

static std::string command(const std::string& name, const std::string& rest, bool force_long = false) {
    return frame(4, static_cast<char>(name.size()) + name + rest, force_long);
}

static std::string property(const std::string& name, const std::string& value) {
    return static_cast<char>(name.size()) + name + std::string(3, '\0') + static_cast<char>(value.size()) + value;
}

static std::string ready(const char* kind = "ROUTER") {
    return command("READY", property("Socket-Type", kind) + property("Identity", "") + property("X-More", "data"));
}

static void feed(Connection& wire, const std::string& bytes, double now = 0) {
    std::size_t at = 0;
    while (at < bytes.size()) {
        const Connection::Room room = wire.room();
        CHECK(room.size >= 4096);
        const std::size_t size = std::min(room.size, bytes.size() - at);
        std::memcpy(room.data, bytes.data() + at, size);
        wire.filled(size, now);
        at += size;
    }
}

static std::string take(Connection& wire) {
    const Span span = wire.pending();
    std::string out(reinterpret_cast<const char*>(span.data), span.size);
    wire.sent(span.size);
    return out;
}

static std::string messages(Connection& wire) {
    std::string out;
    Span message;
    while (wire.next(message)) out += std::string(reinterpret_cast<const char*>(message.data), message.size) + "|";
    return out;
}

static std::string conversation() {
    return greeting() + ready() + frame(0, "short") + frame(0, "") + frame(0, std::string(255, 'a')) +
           frame(0, std::string(256, 'b')) + frame(0, "long form", true) + command("PING", std::string("\0\1ctx", 5)) +
           frame(1, "part") + frame(1, "part") + frame(0, "last part") + command("NEWS", "?") +
           frame(0, std::string(70000, 'c')) + command("PONG", "", true) + frame(0, "end");
}

static std::string expected() {
    return "short||" + std::string(255, 'a') + "|" + std::string(256, 'b') + "|long form|" + std::string(70000, 'c') + "|end|";
}

static void whole_and_cut() {
    const std::string all = conversation();
    {
        Connection wire;
        wire.start(0);
        feed(wire, all);
        CHECK(messages(wire) == expected());
        const std::string out = take(wire);
        CHECK(out == greeting() + command("READY", property("Socket-Type", "DEALER") + property("Identity", "")) + command("PONG", "ctx"));
    }
    {
        Connection wire;
        wire.start(0);
        std::string got;
        for (const char one : all) {
            feed(wire, std::string(1, one));
            got += messages(wire);
        }
        CHECK(got == expected());
    }
    Connection wire;
    for (std::size_t cut = 0; cut < 1200; ++cut) {  // the same object again: `start` forgets what was before
        wire.start(0);
        feed(wire, all.substr(0, cut));
        std::string got = messages(wire);
        feed(wire, all.substr(cut));
        got += messages(wire);
        CHECK(got == expected());
        CHECK(!wire.broken());
    }
}

static void sending() {
    Connection wire;
    wire.start(0);
    feed(wire, greeting() + ready());
    CHECK(messages(wire).empty() && wire.open());
    take(wire);
    for (const std::size_t size : {0u, 1u, 255u, 256u, 70000u}) {
        const std::string body(size, 'x');
        wire.send({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
        std::string out;
        while (wire.pending().size) {  // taken by the system in pieces
            const std::size_t piece = std::min<std::size_t>(wire.pending().size, 7);
            out.append(reinterpret_cast<const char*>(wire.pending().data), piece);
            wire.sent(piece);
        }
        CHECK(out == frame(0, body));
    }
}

static void broken(const std::string& bytes, const std::string& reason) {
    for (const bool cut : {false, true}) {
        Connection wire;
        wire.start(0);
        if (cut)
            for (const char one : bytes) {
                feed(wire, std::string(1, one));
                messages(wire);
            }
        else feed(wire, bytes);
        messages(wire);
        if (!wire.broken() || wire.reason().find(reason) == std::string::npos)
            std::fprintf(stderr, "expected '%s', got '%s'\n", reason.c_str(), wire.reason().c_str());
        CHECK(wire.broken());
        CHECK(wire.reason().find(reason) != std::string::npos);
        Span message;
        CHECK(!wire.next(message));
    }
}

static void what_breaks() {
    const std::string hands = greeting() + ready();
    broken("HTTP/1.1 400 Bad Request\r\n\r\n", "ZMTP");
    broken(greeting("NULL", 2), "ZMTP");
    broken(greeting("CURVE"), "mechanism");
    broken(greeting("NULLX"), "mechanism");
    broken(greeting() + command("ERROR", "\7no, sir"), "no, sir");
    broken(hands + command("ERROR", "\3bye"), "bye");
    broken(hands + command("ERROR", "\x20no"), "refuses");
    broken(hands + command("ERROR", ""), "refuses");
    broken(greeting() + frame(0, "early"), "before the handshake");
    broken(greeting() + command("HELLO", ""), "NULL");
    broken(greeting() + ready("PUB"), "ROUTER");
    broken(greeting() + command("READY", ""), "ROUTER");
    broken(greeting() + command("READY", "\x0bSocket"), "READY");
    broken(greeting() + command("READY", std::string("\1a\xff\xff\xff\xff", 6)), "READY");
    broken(hands + frame(8, "x"), "flags");
    broken(hands + frame(5, "\4PING"), "flags");
    broken(hands + frame(4, ""), "name");
    broken(hands + frame(4, std::string("\0", 1)), "name");
    broken(hands + frame(4, "\11PING"), "name");
    broken(hands + command("PING", "x"), "PING");
    broken(hands + std::string("\2\x7f\xff\xff\xff\xff\xff\xff\xff", 9), "too large");
    broken(hands + std::string("\2\0\0\0\0\0\x40\0\1", 9), "too large");
    broken(hands + std::string("\2\xff\xff\xff\xff\xff\xff\xff\xff", 9), "too large");
}

static void heartbeats() {
    Connection wire({1.0, 3.0});
    wire.start(100);
    feed(wire, greeting() + ready(), 100);
    messages(wire);
    take(wire);
    double now = 100;
    const auto tick_to = [&](double until) {
        for (; now <= until; now += 0.25) wire.tick(now);
    };
    tick_to(100.75);
    CHECK(take(wire).empty());
    tick_to(101.25);
    CHECK(take(wire) == command("PING", std::string(2, '\0')));
    feed(wire, command("PONG", ""), now);
    messages(wire);
    tick_to(102);
    CHECK(take(wire).empty());
    tick_to(103);
    CHECK(!take(wire).empty());
    tick_to(105.5);
    CHECK(!wire.broken() && take(wire).empty());  // asked once
    tick_to(107);
    CHECK(wire.broken());

    wire.start(200);  // a peer that never greets
    now = 200;
    tick_to(202.5);
    CHECK(!wire.broken());
    tick_to(204);
    CHECK(wire.broken());

    wire.start(300);  // this side was asleep: not the peer's fault
    feed(wire, greeting() + ready(), 300);
    messages(wire);
    wire.tick(300);
    wire.tick(400);
    CHECK(!wire.broken());

    wire.start(500);  // ZMTP 3.0 has no heartbeats
    feed(wire, greeting("NULL", 3, 0) + ready(), 500);
    messages(wire);
    take(wire);
    now = 500;
    tick_to(510);
    CHECK(!wire.broken() && take(wire).empty());
}

static void garbage() {
    std::uint32_t seed = 1;
    const auto random = [&] { return seed = seed * 1664525u + 1013904223u, seed >> 8; };
    const std::string all = conversation().substr(0, 1500);
    for (int round = 0; round < 20000; ++round) {
        std::string bytes = all;
        for (std::uint32_t change = random() % 4 + 1; change; --change) bytes[random() % bytes.size()] = static_cast<char>(random());
        bytes.resize(random() % bytes.size() + 1);
        Connection wire;
        wire.start(0);
        feed(wire, bytes);
        messages(wire);
    }
}

int main() {
    whole_and_cut();
    sending();
    what_breaks();
    heartbeats();
    garbage();
    return 0;
}
