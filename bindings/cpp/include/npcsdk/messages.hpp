// What a server sends, as plain structs: `read_event` reads them.
//
// All text in an event is a view of the message's bytes: it is valid until the handler returns. Copy what you keep.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <variant>

#include "msgpack.hpp"

namespace npcsdk {

struct Welcome {
    std::string_view epoch;
    std::uint64_t major = 1, minor = 0;
    std::string_view sdk;
    Value features;  ///< list of text
    Value limits;    ///< map: message_bytes, conversations, silence_s
};

struct Loading {
    std::string_view stage;
    double progress = -1.0;  ///< 0 to 1; below 0: not known
};

struct Ready {
    std::string_view world;
    Value npcs;  ///< list of maps: id, name, role, voice
};

struct Opened {
    std::string_view conversation, npc, player, history;
};

struct Closed {
    std::string_view conversation;
};

struct Pong {
    std::uint64_t nonce = 0;
};

/// The worker died, and with it every conversation; those that are still open are opened again by themselves.
struct Reset {
    std::string_view code, message, hint;
};

/// The server ended the connection.
struct Goodbye {
    std::string_view code, message, hint, kind;
};

/// A command could not be carried out, or the server is out of reach (`server_unreachable`). Not part of a turn.
struct Problem {
    std::string_view code, message, hint, kind, answers, conversation, turn, request;
    std::uint64_t retry_ms = 0;  ///< with code `busy`: come back after so many milliseconds
};

/// A request was carried out.
struct Done {
    std::string_view request;
    std::string_view answers;  ///< the command's kind
    Value value;               ///< map, what was asked for
};

/// Something in the conversation of others, with a character that was subscribed to.
struct Overheard {
    std::string_view npc, player, history, turn;
    Value content;  ///< map: its `event` is said (`line`), happened (`happening`) or that of a turn's event
};

/// What every event of a turn carries. `seq` is 0 for an end that this client made itself.
struct Place {
    std::string_view conversation, turn;
    std::uint64_t seq = 0;
};

struct Text : Place {
    std::string_view text;
    std::uint64_t offset = 0;
    std::uint64_t first = 0;  ///< of several pieces in one, the first's number; 0: one piece
};

struct ActionStarted : Place {
    std::string_view id, name;
    std::uint64_t offset = 0;
};

/// Something for the game to carry out; where `wants_result`, the turn waits for `Client::done` or `Client::failed`.
struct Action : Place {
    std::string_view id, name;
    Value arguments;  ///< map
    std::uint64_t offset = 0;
    bool wants_result = false;
    bool repaired = false;
};

struct Refused : Place {
    std::string_view name, code, message, raw, id;
    std::uint64_t offset = 0;
};

/// The turn is over. `actions` and `retracted` are lists of ids: what the game was given, and what the character had begun
/// when the turn was cancelled and the game was not given: it has not happened. For tools: `tokens`, `timings` and `explanation` are maps, `recalled` and `dropped` lists of maps.
struct End : Place {
    std::string_view reason;  ///< stop, length, cancelled, rounds
    std::string_view text;    ///< all that was said
    Value actions, retracted;
    Value tokens, timings, recalled, dropped, explanation;
};

/// The turn failed: with `seq`, the server says so; without, it can no longer end otherwise.
struct Failed : Place {
    std::string_view code, message, hint, text;
    std::uint64_t retry_ms = 0;  ///< with code `busy`: it never began; say it again after so many milliseconds
};

/// An event of a turn of a kind that this client does not know: its number counts, and nothing else.
struct Unknown : Place {};

using Event = std::variant<std::monostate, Welcome, Loading, Ready, Opened, Closed, Pong, Reset, Goodbye, Problem, Text,
                           ActionStarted, Action, Refused, End, Failed, Unknown, Done, Overheard>;

namespace detail {

/// Reads a map's fields one by one; `ok` tells whether every one was there (unless optional) and of its kind.
class Fields {
public:
    explicit Fields(Value map) : map_(map) {}
    bool ok() const { return ok_; }

    Fields& id(std::string_view name, std::string_view& out, std::size_t most = 128) {
        text(name, out);
        std::size_t characters = 0;
        for (const char one : out)
            if ((static_cast<unsigned char>(one) & 0xC0) != 0x80) ++characters;
        return need(characters >= 1 && characters <= most);
    }
    Fields& text(std::string_view name, std::string_view& out) {
        const Value one = map_[name];
        out = one.as_text();
        return need(one.is_text());
    }
    Fields& natural(std::string_view name, std::uint64_t& out) { return need(map_[name].as_natural(out)); }
    Fields& map(std::string_view name, Value& out) { return need((out = map_[name]).is_map()); }

    // Optional: missing or null leaves the default.
    Fields& maybe_text(std::string_view name, std::string_view& out) {
        const Value one = map_[name];
        if (!one || one.is_null()) return *this;
        out = one.as_text();
        return need(one.is_text());
    }
    Fields& maybe_natural(std::string_view name, std::uint64_t& out) {
        const Value one = map_[name];
        return !one || one.is_null() ? *this : need(one.as_natural(out));
    }
    Fields& maybe(std::string_view name, Value::Kind kind, Value& out) {
        const Value one = map_[name];
        if (!one || one.is_null()) return *this;
        out = one;
        return need(one.kind() == kind);
    }
    Fields& maybe_flag(std::string_view name, bool& out) {
        Value one;
        maybe(name, Value::Kind::boolean, one);
        if (one) out = one.as_flag();
        return *this;
    }
    Fields& place(Place& out) { return id("conversation", out.conversation).id("turn", out.turn).natural("seq", out.seq); }

private:
    Fields& need(bool so) {
        ok_ = ok_ && so;
        return *this;
    }
    Value map_;
    bool ok_ = true;
};

inline bool read(Value map, Welcome& out) {
    Fields fields(map);
    fields.id("epoch", out.epoch).maybe_text("sdk", out.sdk);
    fields.maybe("features", Value::Kind::list, out.features).maybe("limits", Value::Kind::map, out.limits);
    Value version;
    fields.maybe("protocol", Value::Kind::list, version);
    if (!version) return fields.ok();
    if (version.size() < 2) return false;
    Value::Iterator part = version.begin();
    bool ok = (*part).value.as_natural(out.major);
    ++part;
    ok = (*part).value.as_natural(out.minor) && ok;
    return ok && fields.ok();
}

inline bool read(Value map, Loading& out) {
    const Value progress = map["progress"];
    const bool number = progress.kind() == Value::Kind::integer || progress.kind() == Value::Kind::real;
    if (number) out.progress = progress.as_number();
    return Fields(map).text("stage", out.stage).ok() && (number || !progress || progress.is_null());
}

inline bool read(Value map, Ready& out) {
    Fields fields(map);
    if (!fields.text("world", out.world).maybe("npcs", Value::Kind::list, out.npcs).ok()) return false;
    for (const Value::Item npc : out.npcs) {
        std::string_view text;
        Fields one(npc.value);
        if (!one.id("id", text).text("name", text).maybe_text("role", text).maybe_text("voice", text).ok()) return false;
    }
    return true;
}

inline bool read(Value map, Opened& out) {
    Fields fields(map);
    fields.id("conversation", out.conversation).id("npc", out.npc);
    return fields.id("player", out.player).id("history", out.history).ok();
}

inline bool read(Value map, Closed& out) { return Fields(map).id("conversation", out.conversation).ok(); }
inline bool read(Value map, Pong& out) { return Fields(map).maybe_natural("nonce", out.nonce).ok(); }

inline bool read(Value map, Reset& out) {
    return Fields(map).text("code", out.code).text("message", out.message).maybe_text("hint", out.hint).ok();
}

inline bool read(Value map, Goodbye& out) {
    Fields fields(map);
    fields.text("code", out.code).text("message", out.message);
    return fields.maybe_text("hint", out.hint).maybe_text("kind", out.kind).ok();
}

inline bool read(Value map, Problem& out) {
    Fields fields(map);
    fields.text("code", out.code).text("message", out.message);
    fields.maybe_text("hint", out.hint).maybe_text("kind", out.kind).maybe_text("answers", out.answers);
    return fields.maybe_text("conversation", out.conversation).maybe_text("turn", out.turn)
        .maybe_text("request", out.request).maybe_natural("retry_ms", out.retry_ms).ok();
}

inline bool read(Value map, Done& out) {
    Fields fields(map);
    fields.id("request", out.request).maybe_text("answers", out.answers);
    return fields.maybe("value", Value::Kind::map, out.value).ok();
}

inline bool read(Value map, Overheard& out) {
    Fields fields(map);
    fields.id("npc", out.npc).text("player", out.player).text("history", out.history);
    return fields.text("turn", out.turn).map("content", out.content).ok();
}

inline bool read(Value map, Text& out) {
    return Fields(map).place(out).text("text", out.text).maybe_natural("offset", out.offset).maybe_natural("first", out.first).ok();
}

inline bool read(Value map, ActionStarted& out) {
    Fields fields(map);
    return fields.place(out).text("id", out.id).text("name", out.name).maybe_natural("offset", out.offset).ok();
}

inline bool read(Value map, Action& out) {
    Fields fields(map);
    std::string_view returns = "nothing";
    fields.place(out).text("id", out.id).text("name", out.name).map("arguments", out.arguments);
    fields.maybe_natural("offset", out.offset).maybe_text("returns", returns).maybe_flag("repaired", out.repaired);
    out.wants_result = returns == "result";
    return fields.ok() && (out.wants_result || returns == "nothing");
}

inline bool read(Value map, Refused& out) {
    Fields fields(map);
    fields.place(out).text("name", out.name).text("code", out.code).text("message", out.message);
    return fields.maybe_natural("offset", out.offset).maybe_text("raw", out.raw).maybe_text("id", out.id).ok();
}

inline bool read(Value map, End& out) {
    Fields fields(map);
    fields.place(out).text("reason", out.reason).maybe_text("text", out.text);
    fields.maybe("actions", Value::Kind::list, out.actions).maybe("retracted", Value::Kind::list, out.retracted);
    fields.maybe("tokens", Value::Kind::map, out.tokens).maybe("timings", Value::Kind::map, out.timings);
    fields.maybe("recalled", Value::Kind::list, out.recalled).maybe("dropped", Value::Kind::list, out.dropped);
    return fields.maybe("explanation", Value::Kind::map, out.explanation).ok();
}

inline bool read(Value map, Failed& out) {
    Fields fields(map);
    fields.place(out).text("code", out.code).text("message", out.message);
    return fields.maybe_text("hint", out.hint).maybe_text("text", out.text).ok();
}

inline bool read(Value map, Unknown& out) { return Fields(map).place(out).ok(); }

template <class Kind>
Event read_as(Value map) {
    Kind out;
    if (read(map, out)) return out;
    // Unreadable, but a turn's: its number must not look like a gap for ever.
    Unknown place;
    if constexpr (std::is_base_of_v<Place, Kind>) {
        if (!read(map, place)) return {};
        if constexpr (!std::is_same_v<Kind, End> && !std::is_same_v<Kind, Failed>) return place;
        Failed failed;  // and its end must not be missed
        static_cast<Place&>(failed) = place;
        failed.code = "protocol_error";
        failed.message = "The end of the turn could not be read.";
        return failed;
    } else return {};
}

}  // namespace detail

/// What a server sent; `monostate` for a message that cannot be read or is of no kind that is known.
inline Event read_event(Span payload) {
    const Value map = Value::parse(payload);
    const std::string_view kind = map["event"].as_text();
    if (kind == "text") return detail::read_as<Text>(map);  // the hot path: one for each token
    if (kind == "action_started") return detail::read_as<ActionStarted>(map);
    if (kind == "action") return detail::read_as<Action>(map);
    if (kind == "refused") return detail::read_as<Refused>(map);
    if (kind == "end") return detail::read_as<End>(map);
    if (kind == "error") return map["seq"] ? detail::read_as<Failed>(map) : detail::read_as<Problem>(map);
    if (kind == "welcome") return detail::read_as<Welcome>(map);
    if (kind == "loading") return detail::read_as<Loading>(map);
    if (kind == "ready") return detail::read_as<Ready>(map);
    if (kind == "opened") return detail::read_as<Opened>(map);
    if (kind == "closed") return detail::read_as<Closed>(map);
    if (kind == "done") return detail::read_as<Done>(map);
    if (kind == "overheard") return detail::read_as<Overheard>(map);
    if (kind == "pong") return detail::read_as<Pong>(map);
    if (kind == "reset") return detail::read_as<Reset>(map);
    if (kind == "goodbye") return detail::read_as<Goodbye>(map);
    return kind.empty() ? Event() : detail::read_as<Unknown>(map);
}

}  // namespace npcsdk
