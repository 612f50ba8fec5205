// The client's end of the protocol as a state machine: no sockets, no threads, no clock of its own.
//
// It greets, and finds its way back after a broken connection; conversations and turns are in turns.hpp, requests in
// asking.hpp.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "asking.hpp"

namespace npcsdk {

class Peer {
public:
    /// offline: no connection. over: the server will not have us (see the goodbye), or we left.
    enum class State { offline, greeting, open, over };

    /// `client` names the session: long, random, the same over reconnections.
    Peer(std::string_view client, const Data& actions, Times times = {}) : client_(client), times_(times) {
        if (!actions.empty()) actions_ = actions;
        const bool sendable = actions_.empty() || (actions_.complete() && actions_.span().size < message_bytes);
        unusable_ = !is_identifier(client) || !sendable;
        if (!is_identifier(client)) over({"bad_field", "The client's name has to have 1 to 128 characters.", "Leave it out."});
        else if (unusable_)
            over({"unencodable", "The actions cannot be sent.", "A description or a schema is malformed: no JSON, or not UTF-8."});
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    State state() const { return state_; }
    std::string_view epoch() const { return epoch_; }
    /// Why the last command was not taken.
    const Error& error() const { return session_.error; }
    /// The server asked to be left alone for a moment: close the connection, and make another one later.
    bool hang_up() const { return hang_up_; }
    Outbox& outbox() { return session_.outbox; }

    // The connection

    void connected(double now) {
        if (state_ == State::over) return;
        hang_up_ = false;
        greet(now);
    }

    void disconnected(double now) {
        session_.outbox.clear();
        hang_up_ = false;
        if (state_ == State::over) return;
        if (state_ == State::open) waiting_since_ = now;
        become(State::offline);
    }

    /// After a goodbye: try again.
    void retry(double now) {
        if (state_ != State::over || unusable_) return;
        become(State::offline);
        waiting_since_ = now;
        gave_up_ = false;
    }

    // What the application asks for

    /// Begin a conversation: its id, or an empty one (see `error`).
    Id open(std::string_view npc, std::string_view player, std::string_view history) {
        return check() ? turns_.open(npc, player, history) : Id();
    }

    /// Start a turn: its id, or an empty one. Behind a turn that was cancelled it waits for that one's end.
    Id begin(const Id& conversation, bool react, std::string_view words, const Data* state, std::int64_t seed, double now,
             int priority = 0) {
        return check() ? turns_.begin(conversation, react, words, state, seed, now, priority) : Id();
    }

    /// Stop a turn; it still ends with an event, and no action of it comes any more. A turn that is over stays over.
    void cancel(const Id& id) { turns_.cancel(id); }

    /// What became of an action. Nothing happens when its turn is over; false when the value cannot be sent.
    bool result(std::string_view turn, std::string_view action, bool failed, const Data* value) {
        session_.error = {};
        return turns_.result(turn, action, failed, value);
    }

    /// Ask for something beside turns: the request's id, or an empty one. Its `Done` or `Problem` follows.
    template <class Request>
    Id request(Request command, const Id& conversation, double now) {
        return check() ? asking_.ask(command, conversation, now) : Id();
    }

    /// The beginnings of a line: worth nothing when they cannot be sent now.
    void typing(const Id& conversation, std::string_view line) {
        detail::Conversation* const known = turns_.find(conversation);
        if (!known || state_ != State::open || session_.minor < 1 || !is_utf8(line) || line.size() > session_.limit / 2) return;
        turns_.ask(*known);
        session_.send(Typing{conversation, line});
    }

    /// End a conversation; what runs in it is cancelled and heard of no more.
    void close(const Id& id) { turns_.close(id); }

    /// Say goodbye; nothing can be asked for afterwards.
    void leave() {
        session_.send(Leave{});
        fail_all({"closed", "The connection was closed.", ""});
        become(State::over);
    }

    /// The name under which a conversation can be continued another day; empty until the server told it.
    std::string_view history(const Id& id) const { return turns_.history(id); }

    bool running(const Id& turn) const { return turns_.running(turn); }

    // What happens

    /// Take one message of the server's; true when `out` is worth telling. First tell what `next_made` gives.
    bool receive(Span payload, double now, Event& out) {
        session_.heard_at = now;
        out = read_event(payload);
        if (auto* text = std::get_if<Text>(&out)) return turns_.arrived(*text, text->first) != nullptr;
        if (auto* one = std::get_if<ActionStarted>(&out)) return turns_.on_started(*one);
        if (auto* one = std::get_if<Action>(&out)) return turns_.on_action(*one);
        if (auto* one = std::get_if<Refused>(&out)) return turns_.arrived(*one) != nullptr;
        if (auto* one = std::get_if<Unknown>(&out)) return turns_.arrived(*one), false;
        if (auto* one = std::get_if<End>(&out)) return turns_.on_end(*one);
        if (auto* one = std::get_if<Failed>(&out)) return turns_.on_failed(*one);
        if (auto* one = std::get_if<Welcome>(&out)) return on_welcome(*one);
        if (auto* one = std::get_if<Problem>(&out)) return on_problem(*one, now);
        if (auto* one = std::get_if<Reset>(&out)) return on_reset(*one, now);
        if (auto* one = std::get_if<Goodbye>(&out)) return on_goodbye(*one, now);
        if (auto* one = std::get_if<Done>(&out)) return asking_.answered(one->request);
        if (auto* one = std::get_if<Opened>(&out)) turns_.on_opened(*one);
        if (auto* one = std::get_if<Closed>(&out)) turns_.on_closed(one->conversation);
        return !std::holds_alternative<std::monostate>(out) && !std::holds_alternative<Pong>(out);
    }

    /// The next thing that this side has to tell; false when there is none.
    bool next_made(Made& out) { return session_.next_made(out); }

    /// Let time pass: ping, greet again, give up. As often as there is something to poll.
    void tick(double now) {
        if (state_ == State::over) return;
        if (waiting_since_ < 0) waiting_since_ = now;
        if (ticked_at_ >= 0 && now - ticked_at_ > 2.0)  // this side was asleep: the server's silence proves nothing
            session_.heard_at = waiting_since_ = now;
        ticked_at_ = now;
        if (state_ == State::open) {
            if (now - session_.heard_at > times_.silence) {
                waiting_since_ = now - times_.silence;  // it has had its time
                greet(now);
            } else if (turns_.gap() && now - hello_at_ >= gap_every) {
                turns_.count_gap();
                waiting_since_ = now;
                greet(now);
            } else if (now - std::max(session_.heard_at, ping_at_) >= times_.ping) {
                ping_at_ = now;
                session_.send(Ping{});
            }
        } else if (state_ == State::greeting && now - hello_at_ >= times_.greet) {
            greet(now);
        }
        if (state_ != State::open && now - waiting_since_ >= times_.silence) give_up(now);
    }

private:
    static constexpr double gap_every = 0.25;

    bool check() {
        session_.error = {};
        if (state_ != State::over) return true;
        return session_.refuse("closed", "The connection is closed.", "See the goodbye; then retry.");
    }

    void become(State state) {
        state_ = state;
        session_.open = state == State::open;
    }

    void greet(double now) {
        static const std::string_view features[] = {"actions", "react", "resume", "requests", "coalesced"};
        become(State::greeting);
        hello_at_ = now;
        session_.outbox.clear();  // it would reach a server that does not know us; `on_welcome` sends it again
        const std::vector<Seen>& seen = turns_.seen();
        Hello hello;
        hello.client = client_;
        hello.sdk = sdk_name;
        hello.features = features;
        hello.feature_count = sizeof features / sizeof *features;
        hello.actions = actions_.empty() ? nullptr : &actions_;
        hello.epoch = epoch_;
        hello.seen = seen.data();
        hello.seen_count = seen.size();
        session_.put(hello);
    }

    bool on_welcome(const Welcome& welcome) {
        if (welcome.major != protocol_major) {
            over({"unsupported_version", "The server speaks another protocol.", "Update the older of the two."});
            return false;
        }
        if (state_ != State::greeting) return false;
        if (welcome.epoch != epoch_) {
            epoch_ = welcome.epoch;
            ++session_.life;
            turns_.forget_server();
            turns_.fail_lost();
            asking_.fail_lost();
        }
        become(State::open);
        session_.minor = std::min(welcome.minor, protocol_minor);
        gave_up_ = false;
        std::uint64_t most = 0;
        if (welcome.limits["message_bytes"].as_natural(most))
            session_.limit = static_cast<std::size_t>(std::min<std::uint64_t>(most, 64u << 20));
        turns_.catch_up();
        asking_.send(true);
        return true;
    }

    bool on_problem(const Problem& problem, double now) {
        if (problem.code == "hello_first") {
            if (state_ == State::open) {  // the server does not know us any more
                waiting_since_ = now;
                greet(now);
            }
            return false;
        }
        return problem.request.empty() ? turns_.on_problem(problem) : asking_.answered(problem.request);
    }

    bool on_reset(const Reset& reset, double now) {
        const Error why{reset.code, reset.message, reset.hint};
        turns_.forget_server();
        turns_.fail([](const detail::Turn& turn) { return turn.life != 0; }, Made::Kind::failed, why);
        asking_.fail([](const detail::Asked& one) { return one.life != 0; }, why);
        waiting_since_ = now;
        if (state_ == State::open) greet(now);
        return true;
    }

    bool on_goodbye(const Goodbye& goodbye, double now) {
        fail_all({goodbye.code, goodbye.message, goodbye.hint});
        if (goodbye.code == "shutting_down" || goodbye.code == "server_full") {  // it may have room again soon
            become(State::offline);
            waiting_since_ = now;
            hang_up_ = true;
        } else become(State::over);
        return true;
    }

    void over(const Error& why) {
        fail_all(why);
        become(State::over);
        session_.tell(Made::Kind::goodbye, {}, {}, why);
    }

    /// Fail what has waited long enough. The rest of the client goes on trying.
    void give_up(double now) {
        static constexpr Error why{"server_unreachable", "The server does not answer.",
                                   "Check that it runs (npcsdk serve) and that the address is right."};
        const auto waited = [&](const auto& one) {
            return now - std::max(one.since, one.life ? session_.heard_at : 0.0) > times_.silence;
        };
        turns_.fail(waited, Made::Kind::failed, why);
        asking_.fail(waited, why);
        if (gave_up_) return;
        gave_up_ = true;
        session_.tell(Made::Kind::problem, {}, {}, why);
    }

    void fail_all(const Error& why) {
        turns_.fail([](const detail::Turn&) { return true; }, Made::Kind::failed, why);
        asking_.fail([](const detail::Asked&) { return true; }, why);
    }

    State state_ = State::offline;
    std::string client_;
    Data actions_;
    Times times_;
    std::string epoch_;
    detail::Session session_;
    detail::Turns turns_{session_};
    detail::Asking asking_{session_, turns_};
    double hello_at_ = 0, ping_at_ = 0;
    double waiting_since_ = -1, ticked_at_ = -1;
    bool unusable_ = false;  // what it was made with cannot be sent
    bool gave_up_ = false, hang_up_ = false;
};

}  // namespace npcsdk
