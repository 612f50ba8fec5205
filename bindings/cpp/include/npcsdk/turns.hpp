// The half of the peer that knows conversations and their turns: each event is told once and in order, and a turn that
// can no longer end by itself is ended here.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "messages.hpp"
#include "session.hpp"

namespace npcsdk {

namespace detail {

class Turns {
public:
    explicit Turns(Session& session) : session_(session) {}

    // What the application asks for

    Id open(std::string_view npc, std::string_view player, std::string_view history) {
        if (!is_identifier(npc) || !is_identifier(player) || (!history.empty() && !is_identifier(history)))
            return session_.refuse("bad_field", "An npc, a player and a history are named by 1 to 128 characters.", ""), Id();
        conversations_.emplace_back();
        Conversation& made = conversations_.back();
        made.id = random_id();
        made.npc = npc;
        made.player = player;
        made.history = history;
        ask(made);
        return made.id;
    }

    Id begin(const Id& conversation, bool react, std::string_view words, const Data* state, std::int64_t seed, double now,
             int priority = 0) {
        Conversation* const known = need(conversation.view());
        if (!known) return {};
        if (state && state->empty()) state = nullptr;
        if (state && (!state->is_map() || state->depth() > data_depth))
            return session_.refuse("unencodable", "The state is not a complete map.", "End every list and map; 32 deep at most."), Id();
        if (priority < -9 || priority > 9)
            return session_.refuse("unencodable", "The priority is out of its range.", "Use -9 to 9."), Id();
        const Id id = random_id();
        Begin begin;
        begin.react = react;
        begin.conversation = conversation;
        begin.turn = id;
        begin.words = words;
        begin.state = state;
        begin.seed = seed;
        begin.priority = priority;
        const Span* const payload = session_.compose(begin);
        if (!payload) return {};
        const Turn* const behind = first_of(known->id);
        const bool waits = behind && behind->cancelled;
        turns_.emplace_back();
        Turn& turn = turns_.back();
        turn.id = id;
        turn.conversation = known->id;
        turn.payload.assign(payload->data, payload->data + payload->size);
        turn.since = now;
        if (!waits) start(*known, turn);
        return id;
    }

    void cancel(const Id& id) {
        Turn* const turn = find_turn(id.view());
        if (!turn || turn->cancelled) return;
        turn->cancelled = true;
        if (turn->life == 0) {
            const Id conversation = turn->conversation;
            finish(*turn, Made::Kind::ended, {"cancelled", "", ""});
            release(conversation);
        } else session_.send(Cancel{turn->conversation, turn->id, &turn->given});
    }

    bool result(std::string_view turn_id, std::string_view action, bool failed, const Data* value) {
        Turn* const turn = find_turn(turn_id);
        if (!turn) return true;
        if (value && value->empty()) value = nullptr;
        if (value && (!value->complete() || value->depth() > data_depth))
            return session_.refuse("unencodable", "The result's value is not complete.", "End every list and map; 32 deep at most.");
        Result result;
        result.conversation = turn->conversation;
        result.turn = turn->id;
        result.action = action;
        result.failed = failed;
        result.value = value;
        const Span* const payload = session_.compose(result);
        if (!payload) return false;
        turn->results.add(*payload);
        session_.send(*payload);
        return true;
    }

    void close(const Id& id) {
        const auto known = std::find_if(conversations_.begin(), conversations_.end(), [&](const Conversation& one) { return one.id == id; });
        if (known == conversations_.end()) return;
        fail([&](const Turn& turn) { return turn.conversation == id; }, Made::Kind::ended, {"cancelled", "", ""});
        conversations_.erase(known);
        if (session_.life == 0) return;  // no server has heard of it
        closing_.push_back(id);
        session_.send(Close{id});
    }

    Conversation* find(std::string_view id) {
        for (Conversation& one : conversations_)
            if (one.id == id) return &one;
        return nullptr;
    }

    /// The same, with an error for the application when there is none.
    Conversation* need(std::string_view id) {
        Conversation* const known = find(id);
        if (!known) session_.refuse("no_conversation", "The conversation is not open.", "Open it first.");
        return known;
    }

    std::string_view history(const Id& id) const {
        for (const Conversation& one : conversations_)
            if (one.id == id) return one.history;
        return {};
    }

    bool running(const Id& turn) const {
        return std::any_of(turns_.begin(), turns_.end(), [&](const Turn& one) { return one.id == turn; });
    }

    /// What has to be sent before anything of a conversation: that it is open.
    void ask(Conversation& conversation) {
        if (conversation.opened || conversation.asked || !session_.open) return;
        conversation.asked = true;
        session_.send(Open{conversation.id, conversation.npc, conversation.player, conversation.history});
    }

    // The connection

    /// For a hello: what was seen of each conversation. Whatever was asked has to be asked again.
    const std::vector<Seen>& seen() {
        gap_ = false;
        seen_.clear();
        for (Conversation& one : conversations_) {
            one.asked = false;
            if (one.opened) seen_.push_back({one.id, one.seq});
        }
        return seen_;
    }

    /// The server is another one, or the same without its conversations.
    void forget_server() {
        closing_.clear();
        for (Conversation& one : conversations_) {
            one.opened = one.asked = false;
            one.seq = 0;
        }
    }

    /// Send again what the server may not have: harmless if it has, since each is known by its id.
    void catch_up() {
        for (const Id& id : closing_) session_.send(Close{id});
        for (Conversation& one : conversations_) catch_up(one);
    }

    /// Whether something was lost on the way and has to be asked for again.
    bool gap() const { return gap_; }
    void count_gap() { ++gap_tries_; }

    // Events

    /// The turn of an event that has not been here before; null when there is nothing to tell. `first`: of several in one.
    Turn* arrived(const Place& place, std::uint64_t first = 0) {
        Conversation* const conversation = find(place.conversation);
        if (!conversation || place.seq <= conversation->seq) return nullptr;  // closed meanwhile, or heard before
        if ((first ? first : place.seq) > conversation->seq + 1 && gap_tries_ < gap_most) {
            gap_ = true;  // something was lost on the way: the peer asks for it again
            return nullptr;
        }
        gap_tries_ = 0;
        conversation->seq = place.seq;
        conversation->opened = true;  // whether or not `opened` itself arrived
        Turn* const turn = find_turn(place.turn);
        if (turn) turn->accepted = true;
        return turn;  // null: given up before
    }

    /// Whether the game is to be given this action: not once it has cancelled the turn.
    bool on_action(const Action& action) {
        Turn* const turn = arrived(action);
        if (!turn) return false;
        Texts& ids = turn->cancelled ? turn->late : turn->given;
        if (!ids.has(action.id)) ids.add(action.id);
        return !turn->cancelled;
    }

    bool on_started(const ActionStarted& started) {
        const Turn* const turn = arrived(started);
        return turn && !turn->cancelled;
    }

    bool on_end(End& end) {
        Turn* const turn = arrived(end);
        if (!turn) return false;
        if (turn->cancelled) correct(*turn, end);
        over(*turn);
        return true;
    }

    bool on_failed(const Failed& failed) {
        Turn* const turn = arrived(failed);
        if (!turn) return false;
        over(*turn);
        return true;
    }

    void on_opened(const Opened& opened) {
        Conversation* const known = find(opened.conversation);
        if (!known) return;
        known->opened = true;
        known->npc = opened.npc;
        known->player = opened.player;
        known->history = opened.history;  // reopened after a restart, it goes on where it was
    }

    /// Whether it was being closed, which it is now.
    bool on_closed(std::string_view conversation) {
        const auto gone = std::remove_if(closing_.begin(), closing_.end(), [&](const Id& id) { return id == conversation; });
        const bool any = gone != closing_.end();
        closing_.erase(gone, closing_.end());
        return any;
    }

    /// A command about a turn or a conversation could not be carried out; true when that is worth telling besides.
    bool on_problem(const Problem& problem) {
        const Error why{problem.code, problem.message, problem.hint};
        if (!problem.turn.empty()) {
            if (Turn* const turn = find_turn(problem.turn)) {
                const Id conversation = turn->conversation;
                finish(*turn, Made::Kind::failed, why).retry_ms = problem.retry_ms;
                release(conversation);
            }
            return false;
        }
        if (on_closed(problem.conversation)) return false;  // the server did not have it: closed all the same
        Conversation* const known = problem.conversation.empty() ? nullptr : find(problem.conversation);
        if (!known) return true;
        const Id id = known->id;
        if (problem.code == "conversation_lost") {
            if (!known->opened) return false;  // known already, and being opened again
            known->opened = known->asked = false;
            known->seq = 0;
            fail([&](const Turn& turn) { return turn.conversation == id && turn.life != 0; }, Made::Kind::failed, lost);
            if (first_of(id)) catch_up(*known);
            return false;
        }
        if (problem.answers == "open") {
            known->opened = known->asked = false;
            fail([&](const Turn& turn) { return turn.conversation == id; }, Made::Kind::failed, why);
        }
        return true;
    }

    template <class Which>
    void fail(Which which, Made::Kind kind, const Error& why) {
        for (std::size_t index = 0; index < turns_.size();) {
            if (which(turns_[index])) finish(turns_[index], kind, why);
            else ++index;
        }
    }

    /// Those that an earlier server had.
    void fail_lost() {
        fail([&](const Turn& turn) { return turn.life != 0 && turn.life != session_.life; }, Made::Kind::failed, lost);
    }

private:
    static constexpr int gap_most = 3;  // attempts to get what was lost on the way; then the rest goes on without it
    static constexpr Error lost{"turn_lost", "The server was restarted and lost this turn.",
                                "Say it again; what the character had remembered before is kept."};

    Turn* find_turn(std::string_view id) {
        for (Turn& one : turns_)
            if (one.id == id) return &one;
        return nullptr;
    }

    Turn* first_of(const Id& conversation) {
        for (Turn& one : turns_)
            if (one.conversation == conversation) return &one;
        return nullptr;
    }

    void start(Conversation& conversation, Turn& turn) {
        ask(conversation);
        if (!session_.open) return;
        turn.life = session_.life;
        session_.send(span_of(turn.payload));
    }

    void catch_up(Conversation& conversation) {
        if (!conversation.opened) ask(conversation);
        conversation.asked = true;
        const Turn* const first = first_of(conversation.id);
        for (Turn& turn : turns_) {
            if (turn.conversation != conversation.id) continue;
            if (&turn != first && turn.life == 0 && first->cancelled) break;  // it waits for the one before
            if (!turn.accepted) start(conversation, turn);
            if (turn.cancelled) session_.send(Cancel{turn.conversation, turn.id, &turn.given});
            for (std::size_t index = 0; index < turn.results.size(); ++index) session_.send(turn.results[index]);
        }
    }

    /// Of a turn that was cancelled, this side knows best which actions have happened.
    void correct(const Turn& turn, End& end) {
        write(given_.clear(), turn.given);
        retracted_.clear().begin_list();
        for (const Value::Item item : end.retracted)
            if (!turn.given.has(item.value.as_text())) retracted_.value(item.value.as_text());
        for (std::size_t index = 0; index < turn.late.size(); ++index)
            if (!holds(end.retracted, turn.late[index])) retracted_.value(turn.late[index]);
        retracted_.end();
        end.actions = Value::parse(given_.span());
        end.retracted = Value::parse(retracted_.span());
    }

    static bool holds(Value list, std::string_view text) {
        for (const Value::Item item : list)
            if (item.value.as_text() == text) return true;
        return false;
    }

    void over(const Turn& turn) {
        const Id conversation = turn.conversation;
        remove(turn);
        release(conversation);
    }

    void remove(const Turn& turn) { turns_.erase(turns_.begin() + (&turn - turns_.data())); }

    Made& finish(const Turn& turn, Made::Kind kind, const Error& why) {
        Made& made = session_.tell(kind, turn.conversation, turn.id, why);
        remove(turn);
        return made;
    }

    /// What waited for a turn's end may begin.
    void release(const Id& id) {
        Conversation* const conversation = find(id);
        const Turn* const first = first_of(id);
        if (!conversation || !first || first->cancelled) return;
        for (Turn& turn : turns_)
            if (turn.conversation == id && turn.life == 0) start(*conversation, turn);
    }

    Session& session_;
    std::vector<Conversation> conversations_;
    std::vector<Turn> turns_;  // not ended, oldest first
    std::vector<Id> closing_;  // not answered yet
    std::vector<Seen> seen_;
    Data given_, retracted_;
    bool gap_ = false;
    int gap_tries_ = 0;
};

}  // namespace detail

}  // namespace npcsdk
