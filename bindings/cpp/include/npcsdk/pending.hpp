// What a client has asked for and not had yet, and what it has to send and to tell.
#pragma once

#include <string>
#include <vector>

#include "commands.hpp"

namespace npcsdk {

/// Seconds.
struct Times {
    double silence = 5.0;  ///< without a word, after which the server counts as unreachable
    double ping = 1.0;     ///< of silence, after which it is asked
    double greet = 1.0;    ///< between attempts to greet
};

/// Messages to send, one behind the other in memory that is used again.
class Outbox {
public:
    void add(Span message) {
        append(bytes_, message.data, message.size);
        ends_.push_back(bytes_.size());
    }
    void clear() {
        bytes_.clear();
        ends_.clear();
    }
    std::size_t size() const { return ends_.size(); }
    Span operator[](std::size_t index) const {
        const std::size_t begin = index ? ends_[index - 1] : 0;
        return {bytes_.data() + begin, ends_[index] - begin};
    }

private:
    Bytes bytes_;
    std::vector<std::size_t> ends_;
};

/// Something that this side has to tell by itself. Its text is its own.
struct Made {
    enum class Kind { ended, failed, problem, goodbye };
    Kind kind = Kind::failed;
    Id conversation, turn;
    std::string code, message, hint;
    Id request;                // of a problem: which one it answers
    std::string_view answers;  // and its kind
    std::uint64_t retry_ms = 0;
};

namespace detail {

/// A conversation that the game has not closed.
struct Conversation {
    Id id;
    std::string npc, player, history;
    bool asked = false;   // sent on this connection
    bool opened = false;  // the server has it
    std::uint64_t seq = 0;  // of the last event that arrived
};

/// A turn that has not ended.
struct Turn {
    Id id, conversation;
    Bytes payload;
    double since = 0;        // when it was asked for
    std::uint32_t life = 0;  // of the server in which it was sent; 0: not sent yet
    bool accepted = false;   // an event of it has arrived
    bool cancelled = false;
    Texts given{8, 64};  // ids of the actions that the game was given; room, so that an action takes no memory
    Texts late;          // and of those that came after it had cancelled
    Outbox results;
};

/// A request without an answer.
struct Asked {
    Id id, conversation;
    std::string_view kind;
    Bytes payload;
    double since = 0;
    std::uint32_t life = 0;  // as of a turn
};

}  // namespace detail

}  // namespace npcsdk
