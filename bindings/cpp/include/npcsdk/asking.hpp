// The part of the peer that knows what is asked for beside turns: each request is carried out once and answered once.
#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "requests.hpp"
#include "turns.hpp"

namespace npcsdk {

namespace detail {

class Asking {
public:
    Asking(Session& session, Turns& turns) : session_(session), turns_(turns) {}

    template <class Request>
    Id ask(Request command, const Id& conversation, double now) {
        if (conversation && !turns_.need(conversation)) return {};
        Asked asked;
        asked.id = random_id();
        asked.conversation = conversation;
        asked.kind = kind_of(command);
        asked.since = now;
        command.request = asked.id;
        const Span* const payload = session_.compose(command);
        if (!payload) return {};
        asked.payload.assign(payload->data, payload->data + payload->size);
        const Id id = asked.id;
        asked_.push_back(std::move(asked));
        send(false);
        return id;
    }

    /// `again`: on a new connection, also what was sent before.
    void send(bool again) {
        if (!session_.open) return;
        if (session_.minor < 1)
            fail([](const Asked&) { return true; }, {"not_supported", "The server speaks protocol 1.0, which has no requests.", "Update the server."});
        for (Asked& one : asked_) {
            if (one.life != 0 && !again) continue;
            if (Conversation* const known = one.conversation ? turns_.find(one.conversation) : nullptr) turns_.ask(*known);
            one.life = session_.life;
            session_.send(span_of(one.payload));
        }
    }

    /// Whether it was waited for.
    bool answered(std::string_view request) {
        const auto asked = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& one) { return one.id == request; });
        if (asked == asked_.end()) return false;
        asked_.erase(asked);
        return true;
    }

    template <class Which>
    void fail(Which which, const Error& why) {
        for (std::size_t index = 0; index < asked_.size();) {
            const Asked& one = asked_[index];
            if (!which(one)) {
                ++index;
                continue;
            }
            Made& made = session_.tell(Made::Kind::problem, one.conversation, {}, why);
            made.request = one.id;
            made.answers = one.kind;
            asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(index));
        }
    }

    void fail_lost() {
        fail([](const Asked& one) { return one.life != 0; },
             {"request_lost", "The server was restarted; nobody knows whether this was carried out.", "Ask again."});
    }

private:
    Session& session_;
    Turns& turns_;
    std::vector<Asked> asked_;
};

}  // namespace detail

}  // namespace npcsdk
