#include "NpcCore.h"

#include <algorithm>
#include <cmath>
#include <npcsdk/npcsdk.hpp>

namespace npcgame {

namespace {

const char* const names[] = {"string", "integer", "number", "boolean"};

/// What `hello` says of the game's actions.
npcsdk::Data written(const std::vector<ActionEntry>& actions) {
    npcsdk::Data out;
    out.begin_list();
    for (const ActionEntry& action : actions) {
        out.begin_map().set("name", action.name).set("description", action.description);
        out.key("parameters").begin_map().set("type", "object").key("properties").begin_map();
        for (const Argument& one : action.arguments) {
            out.key(one.name).begin_map().set("type", names[static_cast<int>(one.kind)]);
            if (!one.description.empty()) out.set("description", one.description);
            if (!one.from.empty() && one.kind == Kind::text) out.set("x-from", one.from);
            out.end();
        }
        out.end().key("required").begin_list();
        for (const Argument& one : action.arguments)
            if (!one.optional) out.value(one.name);
        out.end().end().set("returns", action.returns ? "result" : "nothing");
        if (!action.when.empty()) out.set("when", action.when);
        if (action.timeout > 0) out.set("timeout", action.timeout);
        out.end();
    }
    out.end();
    return out;
}

/// A real number that is whole is sent as an integer: a character then reads 60, not 60.0.
void write_number(npcsdk::Data& out, double number) {
    if (number == std::floor(number) && std::fabs(number) < 9e15) out.value(static_cast<std::int64_t>(number));
    else out.value(number);
}

npcsdk::Data written(const State& state) {
    npcsdk::Data out;
    out.begin_map();
    for (const auto& item : state.items()) {
        out.key(item.first);
        if (const auto* flag = std::get_if<bool>(&item.second)) out.value(*flag);
        else if (const auto* number = std::get_if<double>(&item.second)) write_number(out, *number);
        else if (const auto* text = std::get_if<std::string>(&item.second)) out.value(*text);
        else {
            out.begin_list();
            for (const std::string& one : *std::get_if<std::vector<std::string>>(&item.second)) out.value(one);
            out.end();
        }
    }
    out.end();
    return out;
}

std::string as_text(npcsdk::Value value) {
    return value.is_text() ? std::string(value.as_text()) : npcsdk::to_json(value);
}

npcsdk::Options options_of(const Setup& setup) {
    npcsdk::Options options;
    options.address = setup.address;
    options.times.silence = setup.silence;
    options.times.ping = std::min(options.times.ping, setup.silence / 3);
    options.actions = written(setup.actions);
    return options;
}

}  // namespace

void State::set(std::string name, Content content) {
    remove(name);
    items_.emplace_back(std::move(name), std::move(content));
}

bool State::remove(std::string_view name) {
    const auto gone = std::remove_if(items_.begin(), items_.end(), [&](const auto& item) { return item.first == name; });
    const bool any = gone != items_.end();
    items_.erase(gone, items_.end());
    return any;
}

/// One connection, from `start` to `stop`.
class Core::Inside : public npcsdk::Handler {
public:
    Inside(Listener& listener, const Setup& setup) : client(options_of(setup)), listener_(listener) {}

    npcsdk::Client client;
    bool polling = false;

    struct Open {
        npcsdk::Id talk;
        Speaker* speaker;
    };
    std::vector<Open> open;

    /// Nobody is told anything any more.
    void abandon() {
        abandoned_ = true;
        open.clear();
        client.leave();
    }

    void on_loading(const npcsdk::Loading& one) override {
        if (!abandoned_) listener_.loading(one.stage, one.progress);
    }

    void on_ready(const npcsdk::Ready& one) override {
        std::vector<Npc> npcs;
        for (const npcsdk::Value::Item npc : one.npcs) {
            const npcsdk::Value value = npc.value;
            npcs.push_back({as_text(value["id"]), as_text(value["name"]), text_of(value["role"]), text_of(value["voice"])});
        }
        if (!abandoned_) listener_.ready(one.world, std::move(npcs));
    }

    void on_opened(const npcsdk::Opened& one) override {
        if (Speaker* const speaker = find(one.conversation)) speaker->opened(one.history);
    }

    void on_text(const npcsdk::Text& one) override {
        if (Speaker* const speaker = find(one.conversation)) speaker->text(one.turn, one.text);
    }

    void on_action_started(const npcsdk::ActionStarted& one) override {
        if (Speaker* const speaker = find(one.conversation)) speaker->action_started(one.turn, one.name);
    }

    void on_action(const npcsdk::Action& one) override {
        Speaker* const speaker = find(one.conversation);
        if (!speaker) return;
        Act act;
        act.turn = one.turn;
        act.id = one.id;
        act.name = one.name;
        act.wants_result = one.wants_result;
        for (const npcsdk::Value::Item item : one.arguments) act.arguments.emplace_back(item.key, as_text(item.value));
        act.json = npcsdk::to_json(one.arguments);
        if (!speaker->action(act) && one.wants_result && !abandoned_)
            client.failed(one, "The game has nothing that carries out this action.");
    }

    void on_end(const npcsdk::End& one) override {
        if (Speaker* const speaker = find(one.conversation)) speaker->ended(one.turn, one.reason, one.text);
    }

    void on_failed(const npcsdk::Failed& one) override {
        if (Speaker* const speaker = find(one.conversation)) speaker->failed(one.turn, {one.code, one.message, one.hint});
    }

    void on_problem(const npcsdk::Problem& one) override {
        Speaker* const speaker = one.answers == "open" ? find(one.conversation) : nullptr;
        if (speaker) speaker->failed({}, {one.code, one.message, one.hint});
        else if (!abandoned_) listener_.problem({one.code, one.message, one.hint});
    }

    void on_reset(const npcsdk::Reset& one) override {
        if (!abandoned_) listener_.lost({one.code, one.message, one.hint});
    }

    void on_goodbye(const npcsdk::Goodbye& one) override {
        if (!abandoned_) listener_.lost({one.code, one.message, one.hint});
    }

private:
    static std::string text_of(npcsdk::Value value) { return std::string(value.as_text()); }

    Speaker* find(std::string_view talk) {
        for (const Open& one : open)
            if (one.talk == talk) return one.speaker;
        return nullptr;
    }

    Listener& listener_;
    bool abandoned_ = false;
};

Core::Core(Listener& listener) : listener_(listener) {}

Core::~Core() { stop(); }

void Core::start(const Setup& setup) {
    stop();
    inside_ = std::make_unique<Inside>(listener_, setup);
}

void Core::stop() {
    if (!inside_) return;
    inside_->abandon();
    if (inside_->polling) leaving_ = std::move(inside_);  // `poll` still stands in it
    inside_.reset();
}

bool Core::running() const { return inside_ != nullptr; }
bool Core::connected() const { return inside_ && inside_->client.connected(); }
std::string Core::trouble() const { return inside_ ? std::string(inside_->client.trouble()) : "it is stopped"; }

void Core::poll() {
    Inside* const now = inside_.get();
    if (!now || now->polling) return;
    now->polling = true;
    now->client.poll(*now);
    now->polling = false;
    leaving_.reset();
}

Talk Core::open(Speaker& speaker, std::string_view npc, std::string_view player, std::string_view history) {
    if (!inside_) return {};
    const npcsdk::Id id = inside_->client.open(npc, player, history);
    if (id) inside_->open.push_back({id, &speaker});
    return Talk(id.view());
}

void Core::close(const Talk& talk) {
    if (!inside_ || talk.empty()) return;
    auto& open = inside_->open;
    open.erase(std::remove_if(open.begin(), open.end(), [&](const Inside::Open& one) { return one.talk == talk; }), open.end());
    inside_->client.close(npcsdk::Id(talk));
}

std::string Core::history(const Talk& talk) const {
    return inside_ ? std::string(inside_->client.history(npcsdk::Id(talk))) : std::string();
}

std::string Core::say(const Talk& talk, std::string_view line, const State& state) {
    if (!inside_) return {};
    const npcsdk::Data data = written(state);
    return std::string(inside_->client.say(npcsdk::Id(talk), line, {&data, -1}).view());
}

std::string Core::react(const Talk& talk, std::string_view happening, const State& state) {
    if (!inside_) return {};
    const npcsdk::Data data = written(state);
    return std::string(inside_->client.react(npcsdk::Id(talk), happening, {&data, -1}).view());
}

void Core::cancel(std::string_view turn) {
    if (inside_) inside_->client.cancel(npcsdk::Id(turn));
}

void Core::interrupt(const Talk& talk, std::string_view turn, std::uint64_t heard) {
    if (!inside_ || turn.empty()) return;
    inside_->client.cancel(npcsdk::Id(turn));
    inside_->client.heard(npcsdk::Id(talk), turn, heard);
}

void Core::done(std::string_view turn, std::string_view action, std::string_view result) {
    if (!inside_) return;
    npcsdk::Data value;
    value.value(result);
    inside_->client.result(turn, action, false, result.empty() ? nullptr : &value);
}

void Core::fail(std::string_view turn, std::string_view action, std::string_view reason) {
    if (!inside_) return;
    npcsdk::Data value;
    value.value(reason);
    inside_->client.result(turn, action, true, &value);
}

void Core::prepare(const Talk& talk) {
    if (inside_) inside_->client.prepare(npcsdk::Id(talk));
}

void Core::typing(const Talk& talk, std::string_view line) {
    if (inside_) inside_->client.typing(npcsdk::Id(talk), line);
}

void Core::save(std::string_view slot) {
    if (inside_) inside_->client.save(slot);
}

void Core::load(std::string_view slot) {
    if (inside_) inside_->client.load(slot);
}

std::string Core::error() const {
    if (!inside_) return "There is no connection.";
    const npcsdk::Error& why = inside_->client.error();
    return std::string(why.message) + (why.hint.empty() ? "" : " ") + std::string(why.hint);
}

}  // namespace npcgame
