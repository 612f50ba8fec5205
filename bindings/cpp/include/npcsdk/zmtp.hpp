// ZMTP 3.1 with the NULL mechanism, as a DEALER, without I/O: bytes in, messages out; messages in, bytes out.
//
// What ZeroMQ's library does for a socket of that kind and no more, so that a game needs no native library. Bytes may
// arrive cut anywhere. https://rfc.zeromq.org/spec/37/
#pragma once

#include <string>
#include <string_view>

#include "bytes.hpp"

namespace npcsdk::zmtp {

constexpr std::size_t greeting_bytes = 64;
constexpr std::size_t frame_bytes = 4u << 20;  ///< a larger frame breaks the connection

/// How often a silent peer is asked whether it is there, and how long it may take to say so, in seconds.
struct Heartbeat {
    double interval = 1.0;
    double timeout = 3.0;  ///< also for greeting and handshake
};

class Connection {
public:
    enum class State { greeting, handshake, open, broken };

    explicit Connection(Heartbeat heartbeat = {}) : heartbeat_(heartbeat) {}

    /// A new connection: what is left of the one before is forgotten, its memory kept.
    void start(double now) {
        state_ = State::greeting;
        begin_ = end_ = out_begin_ = 0;
        out_.clear();
        more_ = false;
        pinged_ = false;
        minor_ = 0;
        heard_at_ = ping_at_ = ticked_at_ = now;
        std::uint8_t greeting[greeting_bytes] = {0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 1, 'N', 'U', 'L', 'L'};
        append(out_, greeting, sizeof greeting);
    }

    State state() const { return state_; }
    bool open() const { return state_ == State::open; }
    bool broken() const { return state_ == State::broken; }
    /// Why it is broken; a text that the peer sent may stand in it.
    const std::string& reason() const { return reason_; }

    // Bytes from the peer

    struct Room {
        std::uint8_t* data = nullptr;
        std::size_t size = 0;
    };

    /// Where the next bytes may be put, at least 4 KiB; then tell `filled`. Views of earlier messages end here.
    Room room() {
        if (begin_ == end_) begin_ = end_ = 0;
        if (in_.size() - end_ < least_room && begin_ > 0) {
            std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
        }
        if (in_.size() - end_ < least_room) in_.resize(in_.size() < first_room ? first_room : 2 * in_.size());
        return {in_.data() + end_, in_.size() - end_};
    }

    void filled(std::size_t size, double now) {
        end_ += size;
        heard_at_ = now;
        pinged_ = false;
    }

    /// The next message that is whole, as a view of the bytes that arrived. Messages of several frames are not the
    /// protocol's, and passed over.
    bool next(Span& message) {
        while (!broken()) {
            if (state_ == State::greeting) {
                if (!take_greeting()) return false;
                continue;
            }
            Frame frame;
            if (!take_frame(frame)) return false;
            if (frame.command) {
                take_command(frame.body);
                continue;
            }
            if (state_ != State::open) {
                fail("a message came before the handshake");
                return false;
            }
            const bool part = more_ || frame.more;
            more_ = frame.more;
            if (part) continue;
            message = frame.body;
            return true;
        }
        return false;
    }

    // Bytes to the peer

    /// Queue one message; only when `open`.
    void send(Span message) { frame(message.data, message.size, 0); }

    Span pending() const { return {out_.data() + out_begin_, out_.size() - out_begin_}; }

    void sent(std::size_t size) {
        out_begin_ += size;
        if (out_begin_ == out_.size()) {
            out_.clear();
            out_begin_ = 0;
        }
    }

    /// Let time pass: ping a silent peer, give up one that does not answer.
    void tick(double now) {
        if (broken()) return;
        if (now - ticked_at_ > heartbeat_.timeout / 2) {  // this side was asleep: the peer's silence proves nothing
            heard_at_ = now;
            pinged_ = false;
        }
        ticked_at_ = now;
        if (!open()) {
            if (now - heard_at_ > heartbeat_.timeout) fail("the peer does not greet");
        } else if (pinged_) {
            if (now - ping_at_ > heartbeat_.timeout) fail("the peer does not answer heartbeats");
        } else if (minor_ >= 1 && heartbeat_.interval > 0 && now - heard_at_ >= heartbeat_.interval) {
            pinged_ = true;
            ping_at_ = now;
            const std::uint8_t ping[] = {4, 'P', 'I', 'N', 'G', 0, 0};  // without a time to live
            frame(ping, sizeof ping, command_flag);
        }
    }

private:
    static constexpr std::uint8_t more_flag = 1, long_flag = 2, command_flag = 4;
    static constexpr std::size_t least_room = 4096, first_room = 64 * 1024;
    static constexpr std::size_t ping_context = 16;

    struct Frame {
        Span body;
        bool more = false;
        bool command = false;
    };

    bool take_greeting() {
        const std::size_t have = end_ - begin_;
        const std::uint8_t* const in = in_.data() + begin_;
        if ((have > 0 && in[0] != 0xFF) || (have > 9 && (in[9] & 1) == 0) || (have > 10 && in[10] < 3)) {
            fail("the peer does not speak ZMTP 3");
            return false;
        }
        if (have < greeting_bytes) return false;
        const std::uint8_t mechanism[20] = {'N', 'U', 'L', 'L'};
        if (std::memcmp(in + 12, mechanism, sizeof mechanism) != 0) {
            fail("the peer wants another security mechanism than NULL");
            return false;
        }
        minor_ = in[10] > 3 ? 1 : in[11];
        begin_ += greeting_bytes;
        state_ = State::handshake;
        Bytes& ready = scratch_;
        ready.clear();
        append(ready, "\5READY", 6);
        property(ready, "Socket-Type", "DEALER");
        property(ready, "Identity", "");
        frame(ready.data(), ready.size(), command_flag);
        return true;
    }

    static void property(Bytes& out, std::string_view name, std::string_view value) {
        const std::uint8_t size = static_cast<std::uint8_t>(name.size());
        append(out, &size, 1);
        append(out, name.data(), name.size());
        const std::uint8_t length[4] = {0, 0, 0, static_cast<std::uint8_t>(value.size())};
        append(out, length, 4);
        append(out, value.data(), value.size());
    }

    bool take_frame(Frame& frame) {
        const std::size_t have = end_ - begin_;
        if (have < 2) return false;
        const std::uint8_t* const in = in_.data() + begin_;
        const std::uint8_t flags = in[0];
        if (flags > 7 || (flags & (command_flag | more_flag)) == (command_flag | more_flag)) {
            fail("a frame has flags that are not defined");
            return false;
        }
        std::size_t head = 2;
        std::uint64_t size = in[1];
        if (flags & long_flag) {
            head = 9;
            if (have < head) return false;
            for (std::size_t index = 2; index < head; ++index) size = size << 8 | in[index];
        }
        if (size > frame_bytes) {
            fail("a frame is too large");
            return false;
        }
        if (have - head < size) return false;
        frame.body = {in + head, static_cast<std::size_t>(size)};
        frame.more = (flags & more_flag) != 0;
        frame.command = (flags & command_flag) != 0;
        begin_ += head + static_cast<std::size_t>(size);
        return true;
    }

    void take_command(Span body) {
        if (body.size == 0 || body.data[0] == 0 || body.data[0] > body.size - 1) return fail("a command has no name");
        const std::string_view name(reinterpret_cast<const char*>(body.data + 1), body.data[0]);
        const Span rest{body.data + 1 + name.size(), body.size - 1 - name.size()};
        if (name == "ERROR") return take_error(rest);
        if (state_ == State::handshake) {
            if (name != "READY") return fail("the handshake is not NULL's");
            return take_ready(rest);
        }
        if (name == "PING") {
            if (rest.size < 2) return fail("a PING has no time to live");
            const Span context{rest.data + 2, rest.size - 2 < ping_context ? rest.size - 2 : ping_context};
            scratch_.clear();
            append(scratch_, "\4PONG", 5);
            append(scratch_, context.data, context.size);
            frame(scratch_.data(), scratch_.size(), command_flag);
        }
        // PONG has been heard, which is all that it is for; a command that is not known is passed over.
    }

    void take_ready(Span rest) {
        std::size_t at = 0;
        std::string_view kind;
        while (at < rest.size) {
            const std::size_t name_size = rest.data[at++];
            if (name_size == 0 || rest.size - at < name_size + 4) return fail("READY is not well-formed");
            const std::string_view name(reinterpret_cast<const char*>(rest.data + at), name_size);
            at += name_size;
            std::uint64_t size = 0;
            for (int index = 0; index < 4; ++index) size = size << 8 | rest.data[at++];
            if (rest.size - at < size) return fail("READY is not well-formed");
            if (same_name(name, "socket-type"))
                kind = {reinterpret_cast<const char*>(rest.data + at), static_cast<std::size_t>(size)};
            at += static_cast<std::size_t>(size);
        }
        if (kind != "ROUTER" && kind != "DEALER" && kind != "REP") return fail("the peer is not a ROUTER");
        state_ = State::open;
    }

    static bool same_name(std::string_view name, std::string_view lower) {
        if (name.size() != lower.size()) return false;
        for (std::size_t index = 0; index < name.size(); ++index) {
            const char one = name[index];
            if ((one >= 'A' && one <= 'Z' ? static_cast<char>(one - 'A' + 'a') : one) != lower[index]) return false;
        }
        return true;
    }

    void take_error(Span rest) {
        fail("the peer refuses the connection");
        const std::size_t size = rest.size ? rest.data[0] : 0;
        if (size > 0 && rest.size - 1 >= size)
            reason_.append(": ").append(reinterpret_cast<const char*>(rest.data + 1), size);
    }

    void frame(const std::uint8_t* body, std::size_t size, std::uint8_t flags) {
        if (out_begin_ > first_room && out_begin_ > out_.size() / 2) {  // a slow reader: do not grow for ever
            out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_begin_));
            out_begin_ = 0;
        }
        if (size <= 0xFF) {
            const std::uint8_t head[2] = {flags, static_cast<std::uint8_t>(size)};
            append(out_, head, 2);
        } else {
            std::uint8_t head[9] = {static_cast<std::uint8_t>(flags | long_flag)};
            for (int index = 0; index < 8; ++index)
                head[1 + index] = static_cast<std::uint8_t>(std::uint64_t{size} >> (56 - 8 * index));
            append(out_, head, 9);
        }
        append(out_, body, size);
    }

    void fail(const char* reason) {
        state_ = State::broken;
        reason_ = reason;
    }

    Heartbeat heartbeat_;
    State state_ = State::broken;
    std::string reason_;
    Bytes in_;
    std::size_t begin_ = 0, end_ = 0;  // what has arrived and was not taken yet
    Bytes out_;
    std::size_t out_begin_ = 0;
    Bytes scratch_;
    bool more_ = false;  // a message of several frames is under way
    std::uint8_t minor_ = 0;
    bool pinged_ = false;
    double heard_at_ = 0, ping_at_ = 0, ticked_at_ = 0;
};

}  // namespace npcsdk::zmtp
