// What a client sends in protocol 1.0, as plain structs: `write` makes a command's bytes. For 1.1 see requests.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msgpack.hpp"

namespace npcsdk {

constexpr std::uint64_t protocol_major = 1;
constexpr std::uint64_t protocol_minor = 1;
constexpr std::string_view sdk_name = "npcsdk-cpp 0.1.0";

/// Texts one behind the other, in memory that is used again.
class Texts {
public:
    Texts() = default;
    Texts(std::size_t count, std::size_t bytes) {
        ends_.reserve(count);
        text_.reserve(bytes);
    }
    void add(std::string_view text) {
        text_.append(text);
        ends_.push_back(text_.size());
    }
    std::size_t size() const { return ends_.size(); }
    std::string_view operator[](std::size_t index) const {
        const std::size_t begin = index ? ends_[index - 1] : 0;
        return std::string_view(text_).substr(begin, ends_[index] - begin);
    }
    bool has(std::string_view text) const {
        for (std::size_t index = 0; index < size(); ++index)
            if ((*this)[index] == text) return true;
        return false;
    }

private:
    std::string text_;
    std::vector<std::size_t> ends_;
};

inline void write(Data& out, const Texts& texts) {
    out.begin_list();
    for (std::size_t index = 0; index < texts.size(); ++index) out.value(texts[index]);
    out.end();
}

// Commands: client to server. Empty text means that an optional field is left out.

struct Seen {
    std::string_view conversation;
    std::uint64_t seq = 0;
};

struct Hello {
    std::string_view client;
    std::uint64_t major = protocol_major, minor = protocol_minor;
    std::string_view sdk;
    const std::string_view* features = nullptr;
    std::size_t feature_count = 0;
    const Data* actions = nullptr;  ///< a list; null for none
    std::string_view epoch;
    const Seen* seen = nullptr;
    std::size_t seen_count = 0;
};

struct Open {
    std::string_view conversation;
    std::string_view npc;
    std::string_view player = "player";
    std::string_view history;
};

/// A `say` (with `line`) or a `react` (with `happening`): the player speaks, or something happens in the game.
struct Begin {
    bool react = false;
    std::string_view conversation;
    std::string_view turn;
    std::string_view words;
    const Data* state = nullptr;  ///< a map; null for none
    std::int64_t seed = -1;       ///< below 0: none
    int priority = 0;             ///< -9 to 9 (protocol 1.1)
};

struct Cancel {
    std::string_view conversation;
    std::string_view turn;
    const Texts* actions = nullptr;  ///< of the turn's, those that the game was given; null: left out
};

struct Result {
    std::string_view conversation;
    std::string_view turn;
    std::string_view action;
    bool failed = false;
    const Data* value = nullptr;
};

struct Close {
    std::string_view conversation;
};

struct Ping {
    std::uint64_t nonce = 0;
};

struct Leave {};

inline void write(Data& out, const Hello& hello) {
    out.begin_map().set("command", "hello").set("client", hello.client);
    out.key("protocol").begin_list().value(hello.major).value(hello.minor).end();
    out.set("sdk", hello.sdk).key("features").begin_list();
    for (std::size_t index = 0; index < hello.feature_count; ++index) out.value(hello.features[index]);
    out.end().key("actions");
    if (hello.actions) out.value(*hello.actions);
    else out.begin_list().end();
    if (!hello.epoch.empty()) out.set("epoch", hello.epoch);
    out.key("seen").begin_map();
    for (std::size_t index = 0; index < hello.seen_count; ++index) out.set(hello.seen[index].conversation, hello.seen[index].seq);
    out.end().end();
}

inline void write(Data& out, const Open& open) {
    out.begin_map().set("command", "open").set("conversation", open.conversation).set("npc", open.npc);
    out.set("player", open.player);
    if (!open.history.empty()) out.set("history", open.history);
    out.end();
}

inline void write(Data& out, const Begin& begin) {
    out.begin_map().set("command", begin.react ? "react" : "say").set("conversation", begin.conversation);
    out.set("turn", begin.turn).set(begin.react ? "happening" : "line", begin.words).key("state");
    if (begin.state) out.value(*begin.state);
    else out.begin_map().end();
    if (begin.seed >= 0) out.set("seed", begin.seed);
    if (begin.priority) out.set("priority", begin.priority);
    out.end();
}

inline void write(Data& out, const Cancel& cancel) {
    out.begin_map().set("command", "cancel").set("conversation", cancel.conversation).set("turn", cancel.turn);
    if (cancel.actions) write(out.key("actions"), *cancel.actions);
    out.end();
}

inline void write(Data& out, const Result& result) {
    out.begin_map().set("command", "result").set("conversation", result.conversation).set("turn", result.turn);
    out.set("action", result.action).set("status", result.failed ? "failed" : "done");
    if (result.value) out.set("value", *result.value);
    out.end();
}

inline void write(Data& out, const Close& close) {
    out.begin_map().set("command", "close").set("conversation", close.conversation).end();
}

inline void write(Data& out, const Ping& ping) { out.begin_map().set("command", "ping").set("nonce", ping.nonce).end(); }

inline void write(Data& out, const Leave&) { out.begin_map().set("command", "goodbye").end(); }

}  // namespace npcsdk
