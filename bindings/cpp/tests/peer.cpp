// The state machine without a socket: time is an argument, the server is what the test says.
#include <npcsdk/json.hpp>
#include <npcsdk/peer.hpp>
#include <string>
#include <vector>

#include "check.hpp"

using namespace npcsdk;

static const char* const name = "0123456789abcdef0123456789abcdef";

/// A peer, and what it told as lines of text.
struct Bench {
    double now = 100;
    Peer peer;
    std::vector<std::string> told;
    Data message;

    explicit Bench(const Data& actions = {}) : peer(name, actions) {}

    void tell_made() {
        Made made;
        while (peer.next_made(made))
            told.push_back((made.kind == Made::Kind::ended ? "end " : made.kind == Made::Kind::failed ? "failed " : made.kind == Made::Kind::problem ? "problem " : "goodbye ") + made.code);
    }

    Data& event(const char* kind) { return message.clear().begin_map().set("event", kind); }
    Data& turn_event(const char* kind, const Id& conversation, const Id& turn, std::uint64_t seq) {
        return event(kind).set("conversation", conversation).set("turn", turn).set("seq", seq);
    }

    void give() {
        CHECK(message.end().complete());
        Event out;
        const bool worth = peer.receive(message.span(), now, out);
        tell_made();
        if (!worth) return;
        if (auto* text = std::get_if<Text>(&out)) told.push_back("text " + std::string(text->text));
        else if (auto* action = std::get_if<Action>(&out)) told.push_back("action " + std::string(action->name));
        else if (auto* end = std::get_if<End>(&out)) told.push_back("end " + std::string(end->reason));
        else if (auto* failed = std::get_if<Failed>(&out)) told.push_back("failed " + std::string(failed->code));
        else if (auto* problem = std::get_if<Problem>(&out)) told.push_back("problem " + std::string(problem->code));
        else if (std::get_if<Goodbye>(&out)) told.push_back("goodbye");
        else if (std::get_if<Welcome>(&out)) told.push_back("welcome");
        else if (std::get_if<Reset>(&out)) told.push_back("reset");
        else told.push_back("other");
    }

    void welcome(const char* epoch = "e1", int minor = 1) {
        event("welcome").set("epoch", epoch).key("protocol").begin_list().value(1).value(minor).end(), give();
    }
    void opened(const Id& id) {
        event("opened").set("conversation", id).set("npc", "mira").set("player", "player").set("history", "h1"), give();
    }
    void text(const Id& conversation, const Id& turn, std::uint64_t seq, const char* text) {
        turn_event("text", conversation, turn, seq).set("text", text), give();
    }
    void end(const Id& conversation, const Id& turn, std::uint64_t seq, const char* reason = "stop") {
        turn_event("end", conversation, turn, seq).set("reason", reason), give();
    }

    std::string sent() {
        std::string out;
        for (std::size_t at = 0; at < peer.outbox().size(); ++at) {
            const Value value = Value::parse(peer.outbox()[at]);
            out += (out.empty() ? "" : " ") + std::string(value["command"].as_text());
            for (const Value::Item item : value["seen"]) out += ":" + std::to_string(item.value.as_integer());
        }
        peer.outbox().clear();
        return out;
    }
    std::string heard() {
        std::string out;
        for (const std::string& one : told) out += (out.empty() ? "" : "; ") + one;
        told.clear();
        return out;
    }

    void connect() {
        peer.connected(now);
        CHECK(sent() == "hello");
        welcome();
        heard();
    }
    void wait(double seconds) {
        for (const double until = now + seconds; now < until; now += 0.25) peer.tick(now);
        tell_made();
    }
};

static void a_turn() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    CHECK(c && t && b.sent() == "open say");
    b.opened(c);
    CHECK(b.peer.history(c) == "h1");
    b.text(c, t, 1, "a");
    b.text(c, t, 1, "a");  // again
    b.text(c, t, 2, "b");
    CHECK(b.peer.running(t));
    b.end(c, t, 3);
    b.end(c, t, 3);
    CHECK(!b.peer.running(t));
    CHECK(b.heard() == "other; text a; text b; end stop");
    b.peer.cancel(t);  // over is over
    b.peer.result(t, "a1", false, nullptr);
    CHECK(b.sent().empty());
}

static void before_there_is_a_connection() {
    Bench b;
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    CHECK(b.sent().empty());
    b.peer.connected(b.now);
    CHECK(b.sent() == "hello");
    b.welcome();
    CHECK(b.sent() == "open say");
    b.text(c, t, 1, "a");
    CHECK(b.heard() == "welcome; text a");
}

static void resumes() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.sent();
    b.opened(c);
    b.text(c, t, 1, "a");
    b.peer.result(t, "a1", false, nullptr);
    b.peer.cancel(t);
    const Id unanswered = b.peer.begin(b.peer.open("bram", "player", ""), true, "A bell", nullptr, -1, b.now);
    CHECK(b.sent() == "result cancel open react");
    b.peer.disconnected(b.now);
    b.peer.connected(b.now);
    CHECK(b.sent() == "hello:1");
    b.welcome();
    CHECK(b.sent() == "cancel result open react");
    b.text(c, t, 1, "a");
    b.text(c, t, 2, "b");
    b.end(c, t, 3, "cancelled");
    CHECK(b.heard() == "other; text a; welcome; text b; end cancelled");
    CHECK(b.peer.running(unanswered));
}

static void another_epoch() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    b.opened(c);
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.text(c, t, 1, "a");
    b.peer.disconnected(b.now);
    const Id later = b.peer.begin(c, false, "Still there?", nullptr, -1, b.now);  // never sent: not lost
    b.peer.connected(b.now);
    b.sent();
    b.heard();
    b.welcome("e2");
    CHECK(b.heard() == "failed turn_lost; welcome");
    CHECK(b.sent() == "open say");
    b.text(c, later, 1, "yes");  // from 1 again
    CHECK(b.heard() == "text yes");
}

static void a_gap() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.text(c, t, 1, "a");
    b.text(c, t, 3, "c");
    CHECK(b.heard() == "text a");
    b.sent();
    b.wait(0.5);
    CHECK(b.sent() == "hello:1");
    b.welcome();
    b.text(c, t, 2, "b");
    b.text(c, t, 3, "c");
    b.end(c, t, 4);
    CHECK(b.heard() == "welcome; text b; text c; end stop");
    const Id other = b.peer.begin(c, false, "Again", nullptr, -1, b.now);
    for (int again = 0; again < 4; ++again) {  // what cannot be had again is not waited for for ever
        b.text(c, other, 6, "late");
        b.wait(0.5);
        b.welcome();
    }
    CHECK(b.heard().find("text late") != std::string::npos);
    b.turn_event("whisper", c, other, 7), b.give();  // a newer server's: it counts
    b.end(c, other, 8);
    CHECK(b.heard().find("end stop") != std::string::npos);
}

static void cancel_and_go_on() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id first = b.peer.begin(c, false, "Tell me all", nullptr, -1, b.now);
    b.peer.cancel(first);
    const Id second = b.peer.begin(c, false, "Something else", nullptr, -1, b.now);
    const Id third = b.peer.begin(c, false, "No", nullptr, -1, b.now);
    b.peer.cancel(third);  // never sent
    b.tell_made();
    CHECK(b.sent() == "open say cancel" && b.heard() == "end cancelled");
    b.end(c, first, 1, "cancelled");
    CHECK(b.sent() == "say");
    b.text(c, second, 2, "x");
    CHECK(b.heard() == "end cancelled; text x");
    b.peer.close(c);
    b.tell_made();
    CHECK(b.sent() == "close" && b.heard() == "end cancelled");
    b.text(c, second, 3, "y");
    CHECK(b.heard().empty());
    b.peer.disconnected(b.now);  // nobody knows whether the close arrived
    b.peer.connected(b.now);
    b.sent();
    b.welcome();
    CHECK(b.sent() == "close");
    b.event("closed").set("conversation", c), b.give();
    b.peer.disconnected(b.now);
    b.peer.connected(b.now);
    b.sent();
    b.welcome();
    CHECK(b.sent().empty());
}

static void what_is_taken_back() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    const auto action = [&](std::uint64_t seq, const char* id) {
        b.turn_event("action", c, t, seq).set("id", id).set("name", "fetch").key("arguments").begin_map().end(), b.give();
    };
    action(1, "a1");
    b.peer.cancel(t);
    const Span last = b.peer.outbox()[b.peer.outbox().size() - 1];
    CHECK(to_json(Value::parse(last)["actions"]) == "[\"a1\"]");
    action(2, "a2");
    CHECK(b.heard() == "action fetch");  // what comes after the cancelling is not carried out
    b.turn_event("end", c, t, 3).set("reason", "cancelled").key("actions").begin_list().value("a1").value("a2").end();
    b.message.key("retracted").begin_list().value("a1").value("a3").end().end();
    Event out;
    CHECK(b.peer.receive(b.message.span(), b.now, out));
    const End& end = std::get<End>(out);
    CHECK(to_json(end.actions) == "[\"a1\"]" && to_json(end.retracted) == "[\"a3\", \"a2\"]");
}

static void closed_while_away() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    b.opened(c);
    b.peer.disconnected(b.now);
    b.peer.close(c);
    b.peer.connected(b.now);
    b.sent();
    b.heard();
    b.welcome();
    CHECK(b.sent() == "close");
    b.event("error").set("code", "conversation_lost").set("message", "?").set("conversation", c).set("answers", "close"), b.give();
    CHECK(b.heard() == "welcome");  // it is closed either way
}

static void silence() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    b.opened(c);
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.heard();
    b.sent();
    b.wait(1.25);
    CHECK(b.sent() == "ping");
    b.event("pong").set("nonce", 0), b.give();
    b.wait(4.5);
    CHECK(b.peer.running(t) && b.heard().empty());
    b.wait(1);
    CHECK(!b.peer.running(t));
    CHECK(b.heard() == "failed server_unreachable; problem server_unreachable");
    const Id later = b.peer.begin(c, false, "Hello?", nullptr, -1, b.now);
    b.wait(6);
    CHECK(!b.peer.running(later) && b.heard() == "failed server_unreachable");
    b.sent();
    b.now += 3600;  // asleep
    const Id awake = b.peer.begin(c, false, "Hello!", nullptr, -1, b.now);
    b.wait(1);
    CHECK(b.peer.running(awake) && b.heard().empty());
    b.welcome();
    CHECK(b.heard() == "welcome");
}

static void a_stranger_again() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    b.opened(c);
    b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.heard();
    b.sent();
    b.event("error").set("code", "hello_first").set("message", "?"), b.give();
    b.event("error").set("code", "hello_first").set("message", "?"), b.give();
    CHECK(b.sent() == "hello:0" && b.heard().empty());
}

static void refusals() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", ""), d = b.peer.open("nobody", "player", "");
    b.opened(c);
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.peer.begin(d, false, "Hello", nullptr, -1, b.now);
    b.heard();
    b.event("error").set("code", "empty_line").set("message", "?").set("conversation", c).set("turn", t).set("answers", "say"), b.give();
    CHECK(b.heard() == "failed empty_line");
    b.event("error").set("code", "npc_unknown").set("message", "?").set("conversation", d).set("answers", "open"), b.give();
    CHECK(b.heard() == "failed npc_unknown; problem npc_unknown");
    const Id u = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.sent();
    b.event("error").set("code", "conversation_lost").set("message", "?").set("conversation", c), b.give();
    CHECK(b.heard() == "failed turn_lost" && !b.peer.running(u) && b.sent().empty());
    b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    CHECK(b.sent() == "open say");
    b.event("reset").set("code", "worker_died").set("message", "?"), b.give();
    CHECK(b.heard() == "failed worker_died; reset" && b.sent() == "hello");
    b.welcome("e2");
    CHECK(b.sent() == "open open");
}

static void goodbyes() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.event("goodbye").set("code", "shutting_down").set("message", "?"), b.give();
    CHECK(b.heard() == "failed shutting_down; goodbye" && b.peer.hang_up());
    b.peer.disconnected(b.now);
    b.peer.connected(b.now);
    CHECK(b.sent() == "hello");
    b.welcome("e2");
    CHECK(b.sent() == "open");
    b.event("goodbye").set("code", "replaced").set("message", "?"), b.give();
    CHECK(b.peer.state() == Peer::State::over && !b.peer.begin(c, false, "x", nullptr, -1, b.now));
    CHECK(b.peer.error().code == "closed");
    b.peer.retry(b.now);
    b.peer.connected(b.now);
    CHECK(b.sent() == "hello");

    Bench other;
    other.peer.connected(other.now);
    other.event("welcome").set("epoch", "e").key("protocol").begin_list().value(2).value(0).end(), other.give();
    CHECK(other.heard() == "goodbye unsupported_version" && other.peer.state() == Peer::State::over);
}

static void what_cannot_be_sent() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    CHECK(!b.peer.open("", "player", "") && b.peer.error().code == "bad_field");
    CHECK(!b.peer.begin(Id("nobody"), false, "x", nullptr, -1, b.now) && b.peer.error().code == "no_conversation");
    CHECK(!b.peer.begin(c, false, "\xff", nullptr, -1, b.now) && b.peer.error().code == "unencodable");
    CHECK(!b.peer.begin(c, false, std::string(2u << 20, 'x'), nullptr, -1, b.now) && b.peer.error().code == "too_large");
    Data state;
    state.begin_map().set("trust", 1.0 / 0.0 * 0).end();
    CHECK(!b.peer.begin(c, false, "x", &state, -1, b.now) && b.peer.error().code == "unencodable");
    CHECK(!b.peer.begin(c, false, "x", nullptr, -1, b.now, 10) && b.peer.error().code == "unencodable");
    state.clear().begin_map();
    CHECK(!b.peer.begin(c, false, "x", &state, -1, b.now));
    state.clear().begin_list().end();
    CHECK(!b.peer.begin(c, false, "x", &state, -1, b.now));
    state.clear().begin_map().value("no key").end();
    CHECK(!b.peer.begin(c, false, "x", &state, -1, b.now));
    state.clear();
    for (int deep = 0; deep < 33; ++deep) deep ? state.begin_list() : state.begin_map().key("k");
    for (int deep = 0; deep < 33; ++deep) state.end();
    CHECK(state.complete() && !b.peer.begin(c, false, "x", &state, -1, b.now));
    state.clear().begin_map();
    for (int number = 0; number < 40; ++number) state.set("k" + std::to_string(number), number);
    state.end();
    CHECK(b.peer.begin(c, false, "x", &state, 7, b.now) && !b.peer.error());
    Data broken;
    broken.begin_map();
    Bench unusable(broken);
    unusable.tell_made();
    CHECK(unusable.heard() == "goodbye unencodable");
    unusable.peer.retry(1);
    CHECK(unusable.peer.state() == Peer::State::over);
}

static void requests() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id saved = b.peer.request(Save{"autosave"}, {}, b.now), heard = b.peer.request(Heard{c, "t1", 5}, c, b.now);
    b.peer.typing(c, "Wo ist");
    CHECK(saved && heard && b.sent() == "open save heard typing");
    CHECK(!b.peer.request(Save{"\xff"}, {}, b.now) && b.peer.error().code == "unencodable");
    CHECK(!b.peer.request(Prepare{"nobody"}, Id("nobody"), b.now) && b.peer.error().code == "no_conversation");
    b.event("done").set("request", heard), b.give();
    b.event("done").set("request", heard), b.give();
    CHECK(b.heard() == "other");  // once
    b.peer.disconnected(b.now);
    b.peer.typing(c, "Wo ist die");
    b.peer.connected(b.now);
    b.sent();
    b.welcome();
    CHECK(b.sent() == "open save");
    b.peer.disconnected(b.now);
    b.peer.request(Slots{}, {}, b.now);  // not sent yet: not lost
    b.peer.connected(b.now);
    b.sent();
    b.heard();
    b.welcome("e2");
    CHECK(b.heard() == "problem request_lost; welcome" && b.sent() == "open slots");
    b.event("error").set("code", "not_allowed").set("message", "?").set("request", saved), b.give();
    CHECK(b.heard().empty());
    b.event("reset").set("code", "worker_died").set("message", "?"), b.give();
    CHECK(b.heard() == "problem worker_died; reset");
    b.welcome("e3", 0);
    b.peer.request(Metrics{}, {}, b.now);
    b.tell_made();
    CHECK(b.heard() == "welcome; problem not_supported");
}

static void several_pieces_in_one() {
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    b.text(c, t, 1, "a");
    b.turn_event("text", c, t, 4).set("text", "bcd").set("first", 2), b.give();
    b.turn_event("text", c, t, 9).set("text", "ghi").set("first", 7), b.give();  // 5 and 6 are missing
    b.text(c, t, 5, "e");
    CHECK(b.heard() == "text a; text bcd; text e");
    b.event("error").set("code", "busy").set("message", "?").set("turn", t).set("retry_ms", 1500);
    b.message.end();
    Event out;
    Made made;
    CHECK(!b.peer.receive(b.message.span(), b.now, out) && b.peer.next_made(made) && made.retry_ms == 1500);
}

static void noise() {
    std::uint32_t seed = 7;
    const auto random = [&] { return seed = seed * 1664525u + 1013904223u, seed >> 8; };
    Bench b;
    b.connect();
    const Id c = b.peer.open("mira", "player", "");
    const Id t = b.peer.begin(c, false, "Hello", nullptr, -1, b.now);
    for (int round = 0; round < 100000; ++round) {
        b.turn_event("action", c, t, random() % 4).set("id", "a").set("name", "n").key("arguments").begin_map().set("k", 1.5).end();
        b.message.end();
        const Span span = b.message.span();
        Bytes bytes(span.data, span.data + span.size);
        for (std::uint32_t change = random() % 3 + 1; change; --change) bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
        bytes.resize(random() % bytes.size() + 1);
        bytes.shrink_to_fit();  // so that a read beyond it is seen
        Event out;
        b.peer.receive(span_of(bytes), b.now, out);
        b.tell_made();
        b.told.clear();
    }
}

int main() {
    a_turn();
    before_there_is_a_connection();
    resumes();
    another_epoch();
    a_gap();
    cancel_and_go_on();
    what_is_taken_back();
    closed_while_away();
    silence();
    a_stranger_again();
    refusals();
    goodbyes();
    what_cannot_be_sent();
    requests();
    several_pieces_in_one();
    noise();
    return 0;
}
