// The client's end of the protocol as a state machine: no sockets, no threads, no clock of its own.
//
// It greets, keeps track of conversations and turns, and finds its way back after a broken connection: every event of
// a turn is told exactly once and in order, and a turn that can no longer end by itself is ended here.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "messages.hpp"
#include "pending.hpp"
#include "requests.hpp"

namespace npcsdk {

class Peer {
public:
    /// offline: no connection. over: the server will not have us (see the goodbye), or we left.
    enum class State { offline, greeting, open, over };

    /// `client` names the session: long, random, the same over reconnections.
    Peer(std::string_view client, const Data& actions, Times times = {}) : client_(client), times_(times) {
        if (!actions.empty()) actions_ = actions;
        unusable_ = !is_identifier(client) || (!actions_.empty() && !sendable(actions_));
        if (!is_identifier(client)) over("bad_field", "The client's name has to have 1 to 128 characters.", "Leave it out.");
        else if (unusable_)
            over("unencodable", "The actions cannot be sent.", "A description or a schema is malformed: no JSON, or not UTF-8.");
    }

    State state() const { return state_; }
    std::string_view epoch() const { return epoch_; }
    /// Why the last command was not taken.
    const Error& error() const { return error_; }
    /// The server asked to be left alone for a moment: close the connection, and make another one later.
    bool hang_up() const { return hang_up_; }
    Outbox& outbox() { return outbox_; }

    // The connection

    void connected(double now) {
        if (state_ == State::over) return;
        hang_up_ = false;
        greet(now);
    }

    void disconnected(double now) {
        outbox_.clear();
        hang_up_ = false;
        if (state_ == State::over) return;
        if (state_ == State::open) waiting_since_ = now;
        state_ = State::offline;
    }

    /// After a goodbye: try again.
    void retry(double now) {
        if (state_ != State::over || unusable_) return;
        state_ = State::offline;
        waiting_since_ = now;
        gave_up_ = false;
    }

    // What the application asks for

    /// Begin a conversation: its id, or an empty one (see `error`).
    Id open(std::string_view npc, std::string_view player, std::string_view history) {
        if (!check()) return {};
        if (!is_identifier(npc) || !is_identifier(player) || (!history.empty() && !is_identifier(history)))
            return refuse("bad_field", "An npc, a player and a history are named by 1 to 128 characters.", ""), Id();
        conversations_.emplace_back();
        Conversation& made = conversations_.back();
        made.id = random_id();
        made.npc = npc;
        made.player = player;
        made.history = history;
        ask(made);
        return made.id;
    }

    /// Start a turn: its id, or an empty one. Behind a turn that was cancelled it waits for that one's end.
    Id begin(const Id& conversation, bool react, std::string_view words, const Data* state, std::int64_t seed, double now) {
        if (!check()) return {};
        Conversation* const known = find(conversation.view());
        if (!known) return refuse("no_conversation", "The conversation is not open.", "Open it first."), Id();
        if (state && state->empty()) state = nullptr;
        if (state && (!state->is_map() || state->depth() > data_depth))
            return refuse("unencodable", "The state is not a complete map.", "End every list and map; 32 deep at most."), Id();
        const Id id = random_id();
        Begin begin;
        begin.react = react;
        begin.conversation = conversation;
        begin.turn = id;
        begin.words = words;
        begin.state = state;
        begin.seed = seed;
        write(message_.clear(), begin);
        if (!message_ok()) return {};
        const Turn* const behind = first_turn(known->id);
        const bool waits = behind && behind->cancelled;
        turns_.emplace_back();
        Turn& turn = turns_.back();
        turn.id = id;
        turn.conversation = known->id;
        turn.payload.assign(message_.span().data, message_.span().data + message_.span().size);
        turn.since = now;
        if (!waits) start(*known, turn);
        return id;
    }

    /// Stop a turn; it still ends with an event. A turn that is over stays over.
    void cancel(const Id& id) {
        Turn* const turn = find_turn(id.view());
        if (!turn || turn->cancelled) return;
        turn->cancelled = true;
        if (turn->life == 0) {
            const Id conversation = turn->conversation;
            finish(*turn, Made::Kind::ended, "cancelled", "", "");
            release(conversation);
        } else send_cancel(*turn);
    }

    /// What became of an action. Nothing happens when its turn is over; false when the value cannot be sent.
    bool result(std::string_view turn_id, std::string_view action, bool failed, const Data* value) {
        Turn* const turn = find_turn(turn_id);
        if (!turn) return true;
        if (value && value->empty()) value = nullptr;
        if (value && (!value->complete() || value->depth() > data_depth))
            return refuse("unencodable", "The result's value is not complete.", "End every list and map; 32 deep at most.");
        Result result;
        result.conversation = turn->conversation;
        result.turn = turn->id;
        result.action = action;
        result.failed = failed;
        result.value = value;
        write(message_.clear(), result);
        if (!message_ok()) return false;
        turn->results.add(message_.span());
        if (state_ == State::open) outbox_.add(message_.span());
        return true;
    }

    /// Ask for something beside turns: the request's id, or an empty one. Its `Done` or `Problem` follows.
    template <class Request>
    Id request(Request command, const Id& conversation, double now) {
        if (!check()) return {};
        if (conversation && !find(conversation)) return refuse("no_conversation", "The conversation is not open.", "Open it first."), Id();
        Asked asked;
        asked.id = random_id();
        asked.conversation = conversation;
        asked.kind = detail::kind_of(command);
        asked.since = now;
        command.request = asked.id;
        write(message_.clear(), command);
        if (!message_ok()) return {};
        asked.payload.assign(message_.span().data, message_.span().data + message_.span().size);
        const Id id = asked.id;
        requests_.push_back(std::move(asked));
        send_requests(false);
        return id;
    }

    /// The beginnings of a line: worth nothing when they cannot be sent now.
    void typing(const Id& conversation, std::string_view line) {
        Conversation* const known = find(conversation);
        if (!known || state_ != State::open || minor_ < 1 || !is_utf8(line) || line.size() > limit_ / 2) return;
        ask(*known);
        send(Typing{conversation, line});
    }

    /// End a conversation; what runs in it is cancelled and heard of no more.
    void close(const Id& id) {
        const auto known = std::find_if(conversations_.begin(), conversations_.end(), [&](const Conversation& one) { return one.id == id; });
        if (known == conversations_.end()) return;
        const bool asked = known->asked;
        fail_turns([&](const Turn& turn) { return turn.conversation == id; }, Made::Kind::ended, "cancelled", "", "");
        conversations_.erase(known);
        if (!asked) return;
        closing_.push_back(id);
        if (state_ == State::open) send(Close{id});
    }

    /// Say goodbye; nothing can be asked for afterwards.
    void leave() {
        if (state_ == State::open) send(Leave{});
        fail_all("closed", "The connection was closed.", "");
        state_ = State::over;
    }

    /// The name under which a conversation can be continued another day; empty until the server told it.
    std::string_view history(const Id& id) const {
        for (const Conversation& one : conversations_)
            if (one.id == id) return one.history;
        return {};
    }

    bool running(const Id& turn) const {
        return std::any_of(turns_.begin(), turns_.end(), [&](const Turn& one) { return one.id == turn; });
    }

    // What happens

    /// Take one message of the server's; true when `out` is worth telling. First tell what `next_made` gives.
    bool receive(Span payload, double now, Event& out) {
        heard_at_ = now;
        out = read_event(payload);
        if (auto* text = std::get_if<Text>(&out)) return on_turn(*text, text->first) != nullptr;
        if (auto* one = std::get_if<ActionStarted>(&out)) return on_turn(*one) != nullptr;
        if (auto* one = std::get_if<Action>(&out)) return on_turn(*one) != nullptr;
        if (auto* one = std::get_if<Refused>(&out)) return on_turn(*one) != nullptr;
        if (auto* one = std::get_if<Unknown>(&out)) return on_turn(*one), false;
        if (auto* one = std::get_if<End>(&out)) return on_last(*one);
        if (auto* one = std::get_if<Failed>(&out)) return on_last(*one);
        if (auto* one = std::get_if<Welcome>(&out)) return on_welcome(*one);
        if (auto* one = std::get_if<Problem>(&out)) return on_problem(*one, now);
        if (auto* one = std::get_if<Reset>(&out)) return on_reset(*one, now);
        if (auto* one = std::get_if<Goodbye>(&out)) return on_goodbye(*one, now);
        if (auto* one = std::get_if<Opened>(&out)) return on_opened(*one);
        if (auto* one = std::get_if<Done>(&out)) return answered(one->request);
        if (auto* one = std::get_if<Closed>(&out)) {
            closed(one->conversation);
            return true;
        }
        return !std::holds_alternative<std::monostate>(out) && !std::holds_alternative<Pong>(out);
    }

    /// The next thing that this side has to tell; false when there is none.
    bool next_made(Made& out) {
        if (made_at_ == made_.size()) return false;
        out = std::move(made_[made_at_++]);
        if (made_at_ == made_.size()) {
            made_.clear();
            made_at_ = 0;
        }
        return true;
    }

    /// Let time pass: ping, greet again, give up. As often as there is something to poll.
    void tick(double now) {
        if (state_ == State::over) return;
        if (waiting_since_ < 0) waiting_since_ = now;
        if (ticked_at_ >= 0 && now - ticked_at_ > 2.0)  // this side was asleep: the server's silence proves nothing
            heard_at_ = waiting_since_ = now;
        ticked_at_ = now;
        if (state_ == State::open) {
            if (now - heard_at_ > times_.silence) {
                waiting_since_ = now - times_.silence;  // it has had its time
                greet(now);
            } else if (gap_ && now - hello_at_ >= gap_every) {
                ++gap_tries_;
                waiting_since_ = now;
                greet(now);
            } else if (now - std::max(heard_at_, ping_at_) >= times_.ping) {
                ping_at_ = now;
                send(Ping{});
            }
        } else if (state_ == State::greeting && now - hello_at_ >= times_.greet) {
            greet(now);
        }
        if (state_ != State::open && now - waiting_since_ >= times_.silence) give_up(now);
    }

private:
    using Conversation = detail::Conversation;
    using Turn = detail::Turn;
    using Asked = detail::Asked;

    static constexpr double gap_every = 0.25;
    static constexpr int gap_most = 3;  // attempts to get what was lost on the way; then the rest goes on without it

    Conversation* find(std::string_view id) {
        for (Conversation& one : conversations_)
            if (one.id == id) return &one;
        return nullptr;
    }

    Turn* find_turn(std::string_view id) {
        for (Turn& one : turns_)
            if (one.id == id) return &one;
        return nullptr;
    }

    Turn* first_turn(const Id& conversation) {
        for (Turn& one : turns_)
            if (one.conversation == conversation) return &one;
        return nullptr;
    }

    bool check() {
        error_ = {};
        if (state_ != State::over) return true;
        return refuse("closed", "The connection is closed.", "See the goodbye; then retry.");
    }

    bool refuse(std::string_view code, std::string_view message, std::string_view hint) {
        error_ = {code, message, hint};
        return false;
    }

    bool sendable(const Data& data) const { return data.complete() && data.span().size < message_bytes; }

    bool message_ok() {
        if (!message_.complete())
            return refuse("unencodable", "This cannot be sent.", "Use finite numbers, UTF-8 text, ids of 1 to 128 characters.");
        if (message_.span().size > limit_) return refuse("too_large", "This is larger than the server takes.", "Send less at once.");
        return true;
    }

    template <class Command>
    void send(const Command& command) {
        write(message_.clear(), command);
        outbox_.add(message_.span());
    }

    void send_cancel(const Turn& turn) {
        if (state_ == State::open) send(Cancel{turn.conversation, turn.id});
    }

    // The connection

    void greet(double now) {
        static const std::string_view features[] = {"actions", "react", "resume", "requests", "coalesced"};
        state_ = State::greeting;
        hello_at_ = now;
        gap_ = false;
        seen_.clear();
        for (Conversation& one : conversations_) {
            one.asked = false;
            if (one.opened) seen_.push_back({one.id, one.seq});
        }
        outbox_.clear();  // it would reach a server that does not know us; `on_welcome` sends it again
        Hello hello;
        hello.client = client_;
        hello.sdk = sdk_name;
        hello.features = features;
        hello.feature_count = sizeof features / sizeof *features;
        hello.actions = actions_.empty() ? nullptr : &actions_;
        hello.epoch = epoch_;
        hello.seen = seen_.data();
        hello.seen_count = seen_.size();
        send(hello);
    }

    bool on_welcome(const Welcome& welcome) {
        if (welcome.major != protocol_major) {
            over("unsupported_version", "The server speaks another protocol.", "Update the older of the two.");
            return false;
        }
        if (state_ != State::greeting) return false;
        if (welcome.epoch != epoch_) {
            epoch_ = welcome.epoch;
            ++life_;
            closing_.clear();
            for (Conversation& one : conversations_) one.opened = false, one.seq = 0;
            fail_turns([&](const Turn& turn) { return turn.life != 0 && turn.life != life_; }, Made::Kind::failed, "turn_lost", lost, lost_hint);
            fail_requests([](const Asked& one) { return one.life != 0; }, "request_lost", "The server was restarted; nobody knows whether this was carried out.", "Ask again.");
        }
        state_ = State::open;
        minor_ = std::min(welcome.minor, protocol_minor);
        gave_up_ = false;
        std::uint64_t most = 0;
        if (welcome.limits["message_bytes"].as_natural(most)) limit_ = static_cast<std::size_t>(std::min<std::uint64_t>(most, 64u << 20));
        for (const Id& id : closing_) send(Close{id});
        for (Conversation& one : conversations_) catch_up(one);
        send_requests(true);
        return true;
    }

    void send_requests(bool again) {
        if (state_ != State::open) return;
        if (minor_ < 1) fail_requests([](const Asked&) { return true; }, "not_supported", "The server speaks protocol 1.0, which has no requests.", "Update the server.");
        for (Asked& one : requests_) {
            if (one.life != 0 && !again) continue;
            if (Conversation* const known = one.conversation ? find(one.conversation) : nullptr) ask(*known);
            one.life = life_;
            outbox_.add(span_of(one.payload));
        }
    }

    bool answered(std::string_view request) {
        const auto asked = std::find_if(requests_.begin(), requests_.end(), [&](const Asked& one) { return one.id == request; });
        if (asked == requests_.end()) return false;
        requests_.erase(asked);
        return true;
    }

    template <class Which>
    void fail_requests(Which which, std::string_view code, std::string_view message, std::string_view hint) {
        for (std::size_t index = 0; index < requests_.size();) {
            const Asked& one = requests_[index];
            if (!which(one)) {
                ++index;
                continue;
            }
            tell(Made::Kind::problem, one.conversation, {}, code, message, hint);
            made_.back().request = one.id;
            made_.back().answers = one.kind;
            requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(index));
        }
    }

    /// Send again what the server may not have: harmless if it has, since each is known by its id.
    void catch_up(Conversation& conversation) {
        if (!conversation.opened) ask(conversation);
        conversation.asked = true;
        const Turn* const first = first_turn(conversation.id);
        for (Turn& turn : turns_) {
            if (turn.conversation != conversation.id) continue;
            if (&turn != first && turn.life == 0 && first->cancelled) break;  // it waits for the one before
            if (!turn.accepted) start(conversation, turn);
            if (turn.cancelled) send_cancel(turn);
            for (std::size_t index = 0; index < turn.results.size(); ++index) outbox_.add(turn.results[index]);
        }
    }

    bool on_opened(const Opened& opened) {
        if (Conversation* const known = find(opened.conversation)) {
            known->opened = true;
            known->npc = opened.npc;
            known->player = opened.player;
            known->history = opened.history;  // reopened after a restart, it goes on where it was
        }
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
        if (!problem.request.empty()) return answered(problem.request);
        if (!problem.turn.empty()) {
            if (Turn* const turn = find_turn(problem.turn)) {
                const Id conversation = turn->conversation;
                finish(*turn, Made::Kind::failed, problem.code, problem.message, problem.hint);
                made_.back().retry_ms = problem.retry_ms;
                release(conversation);
            }
            return false;
        }
        closed(problem.conversation);
        Conversation* const known = problem.conversation.empty() ? nullptr : find(problem.conversation);
        if (!known) return true;
        const Id id = known->id;
        if (problem.code == "conversation_lost") {
            if (!known->opened) return false;  // known already, and being opened again
            known->opened = known->asked = false;
            known->seq = 0;
            fail_turns([&](const Turn& turn) { return turn.conversation == id && turn.life != 0; }, Made::Kind::failed, "turn_lost", lost, lost_hint);
            if (first_turn(id)) catch_up(*known);
            return false;
        }
        if (problem.answers == "open") {
            known->opened = known->asked = false;
            fail_turns([&](const Turn& turn) { return turn.conversation == id; }, Made::Kind::failed, problem.code, problem.message, problem.hint);
        }
        return true;
    }

    bool on_reset(const Reset& reset, double now) {
        for (Conversation& one : conversations_) {
            one.opened = one.asked = false;
            one.seq = 0;
        }
        fail_turns([](const Turn& turn) { return turn.life != 0; }, Made::Kind::failed, reset.code, reset.message, reset.hint);
        fail_requests([](const Asked& one) { return one.life != 0; }, reset.code, reset.message, reset.hint);
        waiting_since_ = now;
        if (state_ == State::open) greet(now);
        return true;
    }

    bool on_goodbye(const Goodbye& goodbye, double now) {
        fail_all(goodbye.code, goodbye.message, goodbye.hint);
        if (goodbye.code == "shutting_down" || goodbye.code == "server_full") {  // it may have room again soon
            state_ = State::offline;
            waiting_since_ = now;
            hang_up_ = true;
        } else state_ = State::over;
        return true;
    }

    void closed(std::string_view conversation) {
        closing_.erase(std::remove_if(closing_.begin(), closing_.end(), [&](const Id& id) { return id == conversation; }), closing_.end());
    }

    void over(std::string_view code, std::string_view message, std::string_view hint) {
        fail_all(code, message, hint);
        state_ = State::over;
        tell(Made::Kind::goodbye, {}, {}, code, message, hint);
    }

    /// Fail what has waited long enough. The rest of the client goes on trying.
    void give_up(double now) {
        static constexpr std::string_view message = "The server does not answer.";
        static constexpr std::string_view hint = "Check that it runs (npcsdk serve) and that the address is right.";
        const auto waited = [&](const Turn& turn) {
            return now - std::max(turn.since, turn.life ? heard_at_ : 0.0) > times_.silence;
        };
        fail_turns(waited, Made::Kind::failed, "server_unreachable", message, hint);
        fail_requests([&](const Asked& one) { return now - one.since > times_.silence; }, "server_unreachable", message, hint);
        if (gave_up_) return;
        gave_up_ = true;
        tell(Made::Kind::problem, {}, {}, "server_unreachable", message, hint);
    }

    // Turns

    void start(Conversation& conversation, Turn& turn) {
        ask(conversation);
        if (state_ != State::open) return;
        turn.life = life_;
        outbox_.add(span_of(turn.payload));
    }

    void ask(Conversation& conversation) {
        if (conversation.opened || conversation.asked || state_ != State::open) return;
        conversation.asked = true;
        send(Open{conversation.id, conversation.npc, conversation.player, conversation.history});
    }

    /// The turn of an event that has not been here before; null when there is nothing to tell.
    Turn* on_turn(const Place& place, std::uint64_t first = 0) {
        Conversation* const conversation = find(place.conversation);
        if (!conversation || place.seq <= conversation->seq) return nullptr;  // closed meanwhile, or heard before
        if ((first ? first : place.seq) > conversation->seq + 1 && gap_tries_ < gap_most) {
            gap_ = true;  // something was lost on the way: `tick` asks for it again
            return nullptr;
        }
        gap_tries_ = 0;
        conversation->seq = place.seq;
        conversation->opened = true;  // whether or not `opened` itself arrived
        Turn* const turn = find_turn(place.turn);
        if (turn) turn->accepted = true;
        return turn;  // null: given up before
    }

    bool on_last(const Place& place) {
        Turn* const turn = on_turn(place);
        if (!turn) return false;
        const Id conversation = turn->conversation;
        remove(*turn);
        release(conversation);
        return true;
    }

    void remove(const Turn& turn) { turns_.erase(turns_.begin() + (&turn - turns_.data())); }

    void finish(const Turn& turn, Made::Kind kind, std::string_view code, std::string_view message, std::string_view hint) {
        tell(kind, turn.conversation, turn.id, code, message, hint);
        remove(turn);
    }

    /// What waited for a turn's end may begin.
    void release(const Id& id) {
        Conversation* const conversation = find(id);
        const Turn* const first = first_turn(id);
        if (!conversation || !first || first->cancelled) return;
        for (Turn& turn : turns_)
            if (turn.conversation == id && turn.life == 0) start(*conversation, turn);
    }

    template <class Which>
    void fail_turns(Which which, Made::Kind kind, std::string_view code, std::string_view message, std::string_view hint) {
        for (std::size_t index = 0; index < turns_.size();) {
            if (which(turns_[index])) finish(turns_[index], kind, code, message, hint);
            else ++index;
        }
    }

    void fail_all(std::string_view code, std::string_view message, std::string_view hint) {
        fail_turns([](const Turn&) { return true; }, Made::Kind::failed, code, message, hint);
        fail_requests([](const Asked&) { return true; }, code, message, hint);
    }

    void tell(Made::Kind kind, const Id& conversation, const Id& turn, std::string_view code, std::string_view message, std::string_view hint) {
        Made made;
        made.kind = kind;
        made.conversation = conversation;
        made.turn = turn;
        made.code = code;
        made.message = message;
        made.hint = hint;
        made_.push_back(std::move(made));
    }

    static constexpr std::string_view lost = "The server was restarted and lost this turn.";
    static constexpr std::string_view lost_hint = "Say it again; what the character had remembered before is kept.";

    State state_ = State::offline;
    std::string client_;
    Data actions_;
    Times times_;
    std::string epoch_;
    std::uint32_t life_ = 0;  // counts epochs
    std::size_t limit_ = message_bytes;
    std::uint64_t minor_ = 0;  // that both speak
    Error error_;
    std::vector<Conversation> conversations_;
    std::vector<Turn> turns_;  // not ended, oldest first
    std::vector<Asked> requests_;
    std::vector<Id> closing_;
    std::vector<Seen> seen_;
    std::vector<Made> made_;
    std::size_t made_at_ = 0;
    Outbox outbox_;
    Data message_;
    double hello_at_ = 0, heard_at_ = 0, ping_at_ = 0;
    double waiting_since_ = -1, ticked_at_ = -1;
    bool unusable_ = false;  // what it was made with cannot be sent
    bool gave_up_ = false, gap_ = false, hang_up_ = false;
    int gap_tries_ = 0;
};

}  // namespace npcsdk
