// What the parts of the peer share: what goes out, what this side tells by itself, and what holds for the connection.
#pragma once

#include <utility>
#include <vector>

#include "pending.hpp"

namespace npcsdk {

namespace detail {

struct Session {
    bool open = false;       ///< the server has welcomed us on this connection
    std::uint32_t life = 0;  ///< counts epochs, from 1
    std::uint64_t minor = 0; ///< that both speak
    std::size_t limit = message_bytes;
    double heard_at = 0;     ///< when the server said something
    Error error;             ///< why the last command was not taken
    Outbox outbox;

    bool refuse(std::string_view code, std::string_view message, std::string_view hint) {
        error = {code, message, hint};
        return false;
    }

    /// The bytes of a command, in memory that is used again; null (see `error`) when it cannot be sent.
    template <class Command>
    const Span* compose(const Command& command) {
        write(message_.clear(), command);
        composed_ = message_.span();
        if (!message_.complete())
            return refuse("unencodable", "This cannot be sent.", "Use finite numbers, UTF-8 text, ids of 1 to 128 characters."), nullptr;
        if (composed_.size > limit) return refuse("too_large", "This is larger than the server takes.", "Send less at once."), nullptr;
        return &composed_;
    }

    template <class Command>
    void send(const Command& command) {
        if (open) put(command);
    }

    /// The same before the welcome.
    template <class Command>
    void put(const Command& command) {
        write(message_.clear(), command);
        outbox.add(message_.span());
    }

    void send(Span composed) {
        if (open) outbox.add(composed);
    }

    Made& tell(Made::Kind kind, const Id& conversation, const Id& turn, const Error& why) {
        made_.emplace_back();
        Made& made = made_.back();
        made.kind = kind;
        made.conversation = conversation;
        made.turn = turn;
        made.code = why.code;
        made.message = why.message;
        made.hint = why.hint;
        return made;
    }

    bool next_made(Made& out) {
        if (made_at_ == made_.size()) return false;
        out = std::move(made_[made_at_++]);
        if (made_at_ == made_.size()) {
            made_.clear();
            made_at_ = 0;
        }
        return true;
    }

private:
    Data message_;
    Span composed_;
    std::vector<Made> made_;
    std::size_t made_at_ = 0;
};

}  // namespace detail

}  // namespace npcsdk
