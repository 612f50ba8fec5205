// What a game asks for beside turns (protocol 1.1). Each is answered by one `Done` or one `Problem` with its `request`.
#pragma once

#include "commands.hpp"

namespace npcsdk {

/// Of a turn, the player heard only the first code points: history and memory keep that much.
struct Heard {
    std::string_view conversation, turn;
    std::uint64_t offset = 0;
    std::string_view request = {};
};

/// Warm the character that the player walks up to.
struct Prepare {
    std::string_view conversation;
    std::string_view request = {};
};

/// What is so in the game now, without a line.
struct SetState {
    std::string_view conversation;
    const Data* state = nullptr;
    std::string_view request = {};
};

/// Trust, mood and the like of a character towards a player; kept.
struct SetValues {
    std::string_view npc, player;
    const Data* values = nullptr;
    std::string_view request = {};
};

/// Which values are set of a character towards a player?
struct Values {
    std::string_view npc, player;
    std::string_view request = {};
};

/// A note of the game's: the character (a group, or "*" for everybody) knows it from now on.
struct Remember {
    std::string_view npc, text;
    std::string_view player = {};  ///< empty: nobody in particular
    double importance = 0.5;       ///< 0 to 1
    double at = -1.0;              ///< game time in seconds; below 0: not said
    std::string_view place = {};   ///< where it happened; empty: not said
    std::string_view request = {};
};

/// Something is so from now on, whatever was so before.
struct Learn {
    std::string_view npc, subject, attribute, value;
    std::string_view text = {};    ///< it in a sentence
    std::string_view player = {};  ///< empty: nobody in particular
    double importance = 0.5;       ///< 0 to 1
    double at = -1.0;              ///< game time in seconds; below 0: not said
    std::string_view place = {};   ///< where it happened; empty: not said
    std::string_view request = {};
};

struct Save {
    std::string_view slot;
    std::string_view request = {};
};

struct Load {
    std::string_view slot;
    std::string_view request = {};
};

/// A saved moment, and what nothing else remembers, is forgotten.
struct DeleteSlot {
    std::string_view slot;
    std::string_view request = {};
};

/// A saved moment into a file on the server's machine.
struct ExportSlot {
    std::string_view slot, file;
    std::string_view request = {};
};

/// And back, under the name that it had, or `slot`.
struct ImportSlot {
    std::string_view file;
    std::string_view slot = {};
    std::string_view request = {};
};

/// Every trace of a player is erased.
struct Forget {
    std::string_view player;
    std::string_view request = {};
};

struct Slots {
    std::string_view request = {};
};

/// Overhear what is said with a character in the conversations of others.
struct Subscribe {
    std::string_view npc;
    bool on = true;
    std::string_view request = {};
};

struct Metrics {
    std::string_view request = {};
};

/// The beginnings of a line. Not answered.
struct Typing {
    std::string_view conversation, line;
};

namespace detail {

inline std::string_view kind_of(const Heard&) { return "heard"; }
inline std::string_view kind_of(const Prepare&) { return "prepare"; }
inline std::string_view kind_of(const SetState&) { return "state"; }
inline std::string_view kind_of(const SetValues&) { return "set"; }
inline std::string_view kind_of(const Values&) { return "values"; }
inline std::string_view kind_of(const Remember&) { return "remember"; }
inline std::string_view kind_of(const Learn&) { return "learn"; }
inline std::string_view kind_of(const DeleteSlot&) { return "delete_slot"; }
inline std::string_view kind_of(const ExportSlot&) { return "export_slot"; }
inline std::string_view kind_of(const ImportSlot&) { return "import_slot"; }
inline std::string_view kind_of(const Forget&) { return "forget"; }
inline std::string_view kind_of(const Save&) { return "save"; }
inline std::string_view kind_of(const Load&) { return "load"; }
inline std::string_view kind_of(const Slots&) { return "slots"; }
inline std::string_view kind_of(const Subscribe&) { return "subscribe"; }
inline std::string_view kind_of(const Metrics&) { return "metrics"; }

template <class Request>
Data& begin_request(Data& out, const Request& one) {
    return out.begin_map().set("command", kind_of(one)).set("request", one.request);
}

inline Data& map_or_empty(Data& out, const Data* map) { return map && !map->empty() ? out.value(*map) : out.begin_map().end(); }

}  // namespace detail

inline void write(Data& out, const Heard& one) {
    detail::begin_request(out, one).set("conversation", one.conversation).set("turn", one.turn).set("offset", one.offset).end();
}
inline void write(Data& out, const Prepare& one) { detail::begin_request(out, one).set("conversation", one.conversation).end(); }
inline void write(Data& out, const SetState& one) {
    detail::begin_request(out, one).set("conversation", one.conversation).key("state");
    detail::map_or_empty(out, one.state).end();
}
inline void write(Data& out, const SetValues& one) {
    detail::begin_request(out, one).set("npc", one.npc).set("player", one.player).key("values");
    detail::map_or_empty(out, one.values).end();
}
inline void write(Data& out, const Remember& one) {
    detail::begin_request(out, one).set("npc", one.npc).set("text", one.text).set("player", one.player);
    out.set("importance", one.importance);
    if (one.at >= 0) out.set("at", one.at);
    if (!one.place.empty()) out.set("place", one.place);
    out.end();
}
inline void write(Data& out, const Values& one) { detail::begin_request(out, one).set("npc", one.npc).set("player", one.player).end(); }
inline void write(Data& out, const Learn& one) {
    detail::begin_request(out, one).set("npc", one.npc).set("subject", one.subject).set("attribute", one.attribute);
    out.set("value", one.value).set("text", one.text).set("player", one.player).set("importance", one.importance);
    if (one.at >= 0) out.set("at", one.at);
    if (!one.place.empty()) out.set("place", one.place);
    out.end();
}
inline void write(Data& out, const DeleteSlot& one) { detail::begin_request(out, one).set("slot", one.slot).end(); }
inline void write(Data& out, const ExportSlot& one) { detail::begin_request(out, one).set("slot", one.slot).set("file", one.file).end(); }
inline void write(Data& out, const ImportSlot& one) {
    detail::begin_request(out, one).set("file", one.file);
    if (!one.slot.empty()) out.set("slot", one.slot);
    out.end();
}
inline void write(Data& out, const Forget& one) { detail::begin_request(out, one).set("player", one.player).end(); }
inline void write(Data& out, const Save& one) { detail::begin_request(out, one).set("slot", one.slot).end(); }
inline void write(Data& out, const Load& one) { detail::begin_request(out, one).set("slot", one.slot).end(); }
inline void write(Data& out, const Slots& one) { detail::begin_request(out, one).end(); }
inline void write(Data& out, const Subscribe& one) { detail::begin_request(out, one).set("npc", one.npc).set("on", one.on).end(); }
inline void write(Data& out, const Metrics& one) { detail::begin_request(out, one).end(); }
inline void write(Data& out, const Typing& one) {
    out.begin_map().set("command", "typing").set("conversation", one.conversation).set("line", one.line).end();
}

}  // namespace npcsdk
