// The client: `poll` it once a frame, and it tells a `Handler` what happened. It never blocks and starts no threads.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "link.hpp"
#include "peer.hpp"

namespace npcsdk {

/// What happens, told from within `Client::poll`, in order. Override what you need.
///
/// Text is valid until the function returns. Every turn ends with exactly one `on_end` or `on_failed`.
/// From here you may call anything of the client but its destructor; a `poll` from within does nothing.
struct Handler {
    virtual ~Handler() = default;
    virtual void on_welcome(const Welcome&) {}  ///< connected, also after a reconnection
    virtual void on_loading(const Loading&) {}
    virtual void on_ready(const Ready&) {}
    virtual void on_opened(const Opened&) {}
    virtual void on_closed(const Closed&) {}
    virtual void on_text(const Text&) {}
    virtual void on_action_started(const ActionStarted&) {}
    virtual void on_action(const Action&) {}
    virtual void on_refused(const Refused&) {}
    virtual void on_end(const End&) {}
    virtual void on_failed(const Failed&) {}
    virtual void on_problem(const Problem&) {}  ///< not a turn's; `server_unreachable` among them
    virtual void on_done(const Done&) {}            ///< a request was carried out; `on_problem` when it was not
    virtual void on_overheard(const Overheard&) {}
    virtual void on_reset(const Reset&) {}
    virtual void on_goodbye(const Goodbye&) {}
};

struct Options {
    std::string address = "tcp://127.0.0.1:5990";  ///< a number or localhost: looking up a name would block
    std::string client;  ///< the session's name; empty: a new one. Whoever knows it is you
    Data actions;        ///< a list of action definitions, see bindings/PROTOCOL.md; `data_from_json` makes one from text
    Times times;
    zmtp::Heartbeat heartbeat;
    Backoff backoff;
    std::shared_ptr<Transport> transport;  ///< in place of a plain connection to `address`, see curve.hpp
};

/// Settings of one turn.
struct Say {
    const Data* state = nullptr;  ///< a map: what is so in the game now
    std::int64_t seed = -1;       ///< from 0: repeatable sampling
    int priority = 0;             ///< -9 to 9: of several characters' turns at once the highest goes first
};

class Client {
public:
    explicit Client(const Options& options = {})
        : peer_(options.client.empty() ? random_id(32).view() : std::string_view(options.client), options.actions, options.times),
          transport_(options.transport ? options.transport : plain(options)),
          link_(*transport_) {}

    ~Client() { leave(); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Take what has arrived, send what is to be sent, and tell what happened. Call it once a frame, or when you like.
    void poll(Handler& handler) { poll(handler, clock()); }

    /// The same at a time of your own, in seconds that only grow: for tests and replays.
    void poll(Handler& handler, double now) {
        if (polling_) return;
        polling_ = true;
        now_ = now;
        if (peer_.state() != Peer::State::over) {
            link_.tick(now);
            follow_link();
            for (int round = 0; round < most_rounds && link_.receive(now); ++round) {
                Span message;
                while (link_.next(message, now)) {
                    follow_link();
                    if (peer_.receive(message, now, event_)) {
                        tell_made(handler);
                        tell(handler);
                    }
                    follow_peer();
                }
                follow_link();
                if (!link_.more()) break;
            }
            follow_link();
            peer_.tick(now);
        }
        tell_made(handler);
        flush();
        polling_ = false;
    }

    /// Begin a conversation with a character. The id, or an empty one: then `error` says why.
    /// `history` is an earlier conversation's, to continue it.
    Id open(std::string_view npc, std::string_view player = "player", std::string_view history = {}) {
        const Id id = peer_.open(npc, player, history);
        flush();
        return id;
    }

    /// The player speaks. The turn's id, or an empty one: then `error` says why, and nothing will come.
    Id say(const Id& conversation, std::string_view line, const Say& how = {}) { return begin(conversation, false, line, how); }

    /// Something happened that the character may remark on. As `say`.
    Id react(const Id& conversation, std::string_view happening, const Say& how = {}) {
        return begin(conversation, true, happening, how);
    }

    /// Stop a turn; it still ends, with `on_end` whose reason is `cancelled` or with what ended it just before.
    void cancel(const Id& turn) {
        peer_.cancel(turn);
        flush();
    }

    /// An action was carried out. Only one that `wants_result` needs it. False when the value cannot be sent.
    bool done(const Action& action, const Data* value = nullptr) { return result(action.turn, action.id, false, value); }
    /// An action could not be carried out, and why.
    bool failed(const Action& action, std::string_view reason) {
        Data value;
        value.value(reason);
        return result(action.turn, action.id, true, &value);
    }
    /// The same later, by the ids that you kept.
    bool result(std::string_view turn, std::string_view action, bool failed, const Data* value = nullptr) {
        const bool taken = peer_.result(turn, action, failed, value);
        flush();
        return taken;
    }

    /// End a conversation; a running turn is cancelled. What the character remembers stays.
    void close(const Id& conversation) {
        peer_.close(conversation);
        flush();
    }

    // Requests: each returns an id, under which `on_done` or `on_problem` answers; an empty one: see `error`.

    /// Speech was interrupted: the player heard only so many code points of the turn's text.
    Id heard(const Id& conversation, std::string_view turn, std::uint64_t offset) { return ask(Heard{conversation, turn, offset}, conversation); }
    /// The player walks up to the character: its first word comes sooner.
    Id prepare(const Id& conversation) { return ask(Prepare{conversation}, conversation); }
    /// What is so in the game now, without a line.
    Id set_state(const Id& conversation, const Data& state) { return ask(SetState{conversation, &state}, conversation); }
    /// Trust, mood and the like; kept, and following saved games.
    Id set_values(std::string_view npc, const Data& values, std::string_view player = "player") { return ask(SetValues{npc, player, &values}); }
    /// What is set, as `values` in the answer.
    Id values(std::string_view npc, std::string_view player = "player") { return ask(Values{npc, player}); }
    /// The character knows it from now on.
    Id remember(const Remember& note) { return ask(note); }
    /// It is so from now on, whatever was so before.
    Id learn(const Learn& fact) { return ask(fact); }
    Id save(std::string_view slot) { return ask(Save{slot}); }
    /// Go back to a saved moment: what came after it is not remembered.
    Id load(std::string_view slot) { return ask(Load{slot}); }
    Id slots() { return ask(Slots{}); }
    Id delete_slot(std::string_view slot) { return ask(DeleteSlot{slot}); }
    /// Into a file on the server's machine, to ship inside the game's own save, and back.
    Id export_slot(std::string_view slot, std::string_view file) { return ask(ExportSlot{slot, file}); }
    Id import_slot(std::string_view file, std::string_view slot = {}) { return ask(ImportSlot{file, slot}); }
    /// Erase every trace of a player.
    Id forget(std::string_view player) { return ask(Forget{player}); }
    /// Overhear what is said with a character in the conversations of others.
    Id subscribe(std::string_view npc, bool on = true) { return ask(Subscribe{npc, on}); }
    Id metrics() { return ask(Metrics{}); }

    /// The beginnings of a line, when the player pauses: the character may get ready for it. Not answered.
    void typing(const Id& conversation, std::string_view line) {
        peer_.typing(conversation, line);
        flush();
    }

    /// Say goodbye and disconnect, without waiting. `retry` begins again.
    void leave() {
        if (peer_.state() != Peer::State::over) {
            peer_.leave();
            flush();
        }
        link_.close();
        was_open_ = false;
    }

    /// After a goodbye that was for good (`over`): try again.
    void retry() {
        link_.close();
        was_open_ = false;
        peer_.retry(now());
    }

    /// Whether the server has greeted back.
    bool connected() const { return peer_.state() == Peer::State::open; }
    /// Whether the client has stopped trying: it left, or `on_goodbye` said why.
    bool over() const { return peer_.state() == Peer::State::over; }
    /// Why there is no connection, for logs; empty while there never was trouble.
    std::string_view trouble() const { return link_.trouble(); }
    /// Why the last command was not taken.
    const Error& error() const { return peer_.error(); }
    /// The name under which a conversation can be continued another day: keep it with the saved game.
    std::string_view history(const Id& conversation) const { return peer_.history(conversation); }
    /// Whether a turn has not ended yet.
    bool running(const Id& turn) const { return peer_.running(turn); }

private:
    static constexpr int most_rounds = 16;  // of 64 KiB: a flood must not hold up a frame

    static std::shared_ptr<Transport> plain(const Options& options) {
        return std::make_shared<Link>(net::Address::parse(options.address), options.heartbeat, options.backoff);
    }

    static double clock() {
        using namespace std::chrono;
        return duration<double>(steady_clock::now().time_since_epoch()).count();
    }
    double now() const { return now_ > 0 ? now_ : clock(); }

    Id begin(const Id& conversation, bool react, std::string_view words, const Say& how) {
        const Id id = peer_.begin(conversation, react, words, how.state, how.seed, now(), how.priority);
        flush();
        return id;
    }

    template <class Request>
    Id ask(const Request& request, const Id& conversation = {}) {
        const Id id = peer_.request(request, conversation, now());
        flush();
        return id;
    }

    void follow_link() {
        const bool open = link_.open();
        if (open == was_open_) return;
        was_open_ = open;
        if (open) peer_.connected(now_);
        else peer_.disconnected(now_);
    }

    void follow_peer() {
        if (peer_.state() == Peer::State::over || peer_.hang_up()) {
            link_.drop("the server said goodbye", now_);
            follow_link();
        }
    }

    void flush() {
        Outbox& outbox = peer_.outbox();
        for (std::size_t index = 0; index < outbox.size(); ++index) link_.send(outbox[index]);
        outbox.clear();
        link_.flush(now_);
    }

    void tell_made(Handler& handler) {
        Made made;
        while (peer_.next_made(made)) {
            if (made.kind == Made::Kind::ended) {
                End end;
                end.conversation = made.conversation;
                end.turn = made.turn;
                end.reason = made.code;
                handler.on_end(end);
            } else if (made.kind == Made::Kind::failed) {
                Failed failed;
                failed.conversation = made.conversation;
                failed.turn = made.turn;
                failed.code = made.code;
                failed.message = made.message;
                failed.hint = made.hint;
                failed.retry_ms = made.retry_ms;
                handler.on_failed(failed);
            } else if (made.kind == Made::Kind::problem) {
                Problem problem;
                problem.code = made.code;
                problem.message = made.message;
                problem.hint = made.hint;
                problem.kind = "bridge_error";
                problem.conversation = made.conversation;
                problem.request = made.request;
                problem.answers = made.answers;
                handler.on_problem(problem);
            } else {
                handler.on_goodbye({made.code, made.message, made.hint, "bridge_error"});
            }
        }
    }

    void tell(Handler& handler) {
        if (auto* text = std::get_if<Text>(&event_)) handler.on_text(*text);
        else if (auto* started = std::get_if<ActionStarted>(&event_)) handler.on_action_started(*started);
        else if (auto* action = std::get_if<Action>(&event_)) handler.on_action(*action);
        else if (auto* refused = std::get_if<Refused>(&event_)) handler.on_refused(*refused);
        else if (auto* end = std::get_if<End>(&event_)) handler.on_end(*end);
        else if (auto* failed = std::get_if<Failed>(&event_)) handler.on_failed(*failed);
        else if (auto* welcome = std::get_if<Welcome>(&event_)) handler.on_welcome(*welcome);
        else if (auto* loading = std::get_if<Loading>(&event_)) handler.on_loading(*loading);
        else if (auto* ready = std::get_if<Ready>(&event_)) handler.on_ready(*ready);
        else if (auto* opened = std::get_if<Opened>(&event_)) handler.on_opened(*opened);
        else if (auto* closed = std::get_if<Closed>(&event_)) handler.on_closed(*closed);
        else if (auto* done = std::get_if<Done>(&event_)) handler.on_done(*done);
        else if (auto* overheard = std::get_if<Overheard>(&event_)) handler.on_overheard(*overheard);
        else if (auto* problem = std::get_if<Problem>(&event_)) handler.on_problem(*problem);
        else if (auto* reset = std::get_if<Reset>(&event_)) handler.on_reset(*reset);
        else if (auto* goodbye = std::get_if<Goodbye>(&event_)) handler.on_goodbye(*goodbye);
    }

    Peer peer_;
    std::shared_ptr<Transport> transport_;
    Transport& link_;
    Event event_;
    double now_ = 0;
    bool was_open_ = false;
    bool polling_ = false;
};

}  // namespace npcsdk
