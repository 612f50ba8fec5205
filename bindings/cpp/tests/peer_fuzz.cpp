// The state machine under events in any order, cut and bent messages, broken connections and time that jumps: whatever
// comes, a turn is told once that it is over, and nothing of it after that; each request is answered once; and in the
// end all of them are over. `peer_fuzz ROUNDS`.
#include <npcsdk/peer.hpp>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "check.hpp"

using namespace npcsdk;

namespace {

const char* const kinds[] = {"text",    "text",    "text",   "action", "action_started", "refused", "end",  "error",   "welcome", "welcome",
                             "opened",  "closed",  "ready",  "loading", "reset",         "pong",    "goodbye", "newer", "done",    "done",
                             "overheard"};
const char* const codes[] = {"hello_first", "conversation_lost", "turn_in_progress", "npc_unknown", "shutting_down", "server_full"};

class Fuzz {
public:
    explicit Fuzz(unsigned seed) : random_(seed), peer_("0123456789abcdef0123456789abcdef", {}) {}

    void run() {
        for (int step = 0; step < 150; ++step) {
            now_ += below(20) == 0 ? 0.1 * static_cast<double>(below(90)) : 0.001 * static_cast<double>(below(100));
            act();
            Made made;
            while (peer_.next_made(made)) take(made);
            if (below(2) == 0) peer_.outbox().clear();
        }
        peer_.leave();
        Made made;
        while (peer_.next_made(made)) take(made);
        CHECK(running_.empty());
        CHECK(asked_.empty());
    }

private:
    unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }

    template <class Of>
    std::string one_of(const Of& those) {
        auto at = those.begin();
        std::advance(at, below(static_cast<unsigned>(those.size())));
        return std::string(*at);
    }

    void act() {
        switch (below(15)) {
        case 0: peer_.connected(now_); return;
        case 1: peer_.disconnected(now_); return;
        case 2: peer_.tick(now_); return;
        case 3:
            if (conversations_.size() < 4)
                if (const Id made = peer_.open("mira", "player", "")) conversations_.push_back(std::string(made.view()));
            return;
        case 4:
        case 5:
            if (conversations_.empty()) return;
            if (const Id made = peer_.begin(Id(one_of(conversations_)), below(4) == 0, "hi", nullptr, -1, now_)) running_.insert(std::string(made.view()));
            return;
        case 6:
            for (const std::string& turn : std::set<std::string>(running_))
                if (below(3) == 0) peer_.cancel(Id(turn));
            return;
        case 7:
            if (conversations_.empty() || below(4) != 0) return;
            peer_.close(Id(one_of(conversations_)));
            return;
        case 8:
            if (const Id made = peer_.request(npcsdk::Metrics{}, Id(), now_)) asked_.insert(std::string(made.view()));
            return;
        case 9:
            if (peer_.state() == Peer::State::over && below(2) == 0) peer_.retry(now_);
            else if (!running_.empty()) CHECK(peer_.result(one_of(running_), "a", below(2) == 0, nullptr));
            return;
        default: hear();
        }
    }

    /// A message of the server's, mostly whole.
    void hear() {
        const char* const kind = kinds[below(sizeof kinds / sizeof *kinds)];
        Data message;
        message.begin_map().set("event", kind).set("epoch", below(2) ? "e0" : "e1");
        message.key("protocol").begin_list().value(1).value(below(8) == 0 ? 0 : 1).end();
        message.set("id", "a").set("name", "n").set("text", "x").set("reason", "stop").set("message", "m");
        message.set("code", codes[below(sizeof codes / sizeof *codes)]);
        if (!conversations_.empty() && below(8) > 0) {
            message.set("conversation", one_of(conversations_));
            if (std::string(kind) != "error" || below(2) == 0) message.set("seq", static_cast<std::uint64_t>(below(12)));
            if (below(3) == 0) message.set("answers", "open");
        }
        if (!running_.empty() && below(4) > 0) message.set("turn", one_of(running_));
        if (!asked_.empty() && (std::string(kind) == "done" || below(6) == 0)) message.set("request", one_of(asked_));
        CHECK(message.end().complete());
        Bytes bytes(message.span().data, message.span().data + message.span().size);
        if (below(10) == 0) bytes.resize(below(static_cast<unsigned>(bytes.size())));
        else if (below(10) == 0) bytes[below(static_cast<unsigned>(bytes.size()))] = static_cast<std::uint8_t>(below(256));
        Event event;
        const bool worth = peer_.receive({bytes.data(), bytes.size()}, now_, event);
        Made made;
        while (peer_.next_made(made)) take(made);  // as a client does: first what this side tells
        if (worth) take(event);
    }

    void over(std::string_view turn) { CHECK(running_.erase(std::string(turn)) == 1); }
    void runs(std::string_view turn) const { CHECK(running_.count(std::string(turn)) == 1); }
    void answered(std::string_view request) { CHECK(asked_.erase(std::string(request)) == 1); }

    void take(const Made& made) {
        if (made.request) answered(made.request);
        else if (made.turn) over(made.turn);
    }

    void take(const Event& event) {
        if (auto* text = std::get_if<Text>(&event)) runs(text->turn);
        else if (auto* action = std::get_if<Action>(&event)) runs(action->turn);
        else if (auto* started = std::get_if<ActionStarted>(&event)) runs(started->turn);
        else if (auto* refused = std::get_if<Refused>(&event)) runs(refused->turn);
        else if (auto* end = std::get_if<End>(&event)) over(end->turn);
        else if (auto* failed = std::get_if<Failed>(&event)) over(failed->turn);
        else if (auto* done = std::get_if<Done>(&event)) answered(done->request);
        else if (auto* problem = std::get_if<Problem>(&event)) {
            if (!problem->request.empty()) answered(problem->request);
        }
    }

    std::mt19937 random_;
    double now_ = 100;
    Peer peer_;
    std::vector<std::string> conversations_;
    std::set<std::string> running_, asked_;
};

}  // namespace

int main(int count, char** arguments) {
    const int rounds = count > 1 ? std::atoi(arguments[1]) : 1;
    for (int round = 0; round < rounds; ++round) Fuzz(static_cast<unsigned>(round)).run();
    return 0;
}
