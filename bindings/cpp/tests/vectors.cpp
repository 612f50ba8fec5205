// Reads lines "WHAT HEX" and prints, for each, what the client makes of it: the test compares with the vectors.
//   value:   the message as JSON, and the bytes that it encodes to again
//   command: the bytes of the typed command with these fields
//   event:   the typed event's fields as JSON
#include <iostream>
#include <npcsdk/npcsdk.hpp>
#include <string>

using namespace npcsdk;

static Bytes from_hex(const std::string& hex) {
    Bytes bytes;
    for (std::size_t at = 0; at + 1 < hex.size(); at += 2)
        bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(at, 2), nullptr, 16)));
    return bytes;
}

static std::string to_hex(Span bytes) {
    std::string hex;
    for (std::size_t at = 0; at < bytes.size; ++at) {
        char two[3];
        std::snprintf(two, sizeof two, "%02x", bytes.data[at]);
        hex += two;
    }
    return hex;
}

static void copy(Data& out, Value value) {
    std::uint64_t natural = 0;
    switch (value.kind()) {
        case Value::Kind::missing:
        case Value::Kind::null: out.value(nullptr); return;
        case Value::Kind::boolean: out.value(value.as_flag()); return;
        case Value::Kind::real: out.value(value.as_number()); return;
        case Value::Kind::text: out.value(value.as_text()); return;
        case Value::Kind::integer:
            if (value.as_natural(natural)) out.value(natural);
            else out.value(value.as_integer());
            return;
        case Value::Kind::list:
        case Value::Kind::map: break;
    }
    if (value.is_map()) out.begin_map();
    else out.begin_list();
    for (const Value::Item item : value) {
        if (value.is_map()) out.key(item.key);
        copy(out, item.value);
    }
    out.end();
}

static Data copied(Value value) {
    Data out;
    copy(out, value);
    return out;
}

static Data command(Value map) {
    Data out;
    const std::string_view kind = map["command"].as_text(), conversation = map["conversation"].as_text();
    const std::string_view turn = map["turn"].as_text();
    const std::string_view request = map["request"].as_text(), npc = map["npc"].as_text();
    if (kind == "hello") {
        std::vector<std::string_view> features;
        std::vector<Seen> seen;
        for (const Value::Item item : map["features"]) features.push_back(item.value.as_text());
        for (const Value::Item item : map["seen"]) seen.push_back({item.key, static_cast<std::uint64_t>(item.value.as_integer())});
        const Data actions = copied(map["actions"]);
        Hello hello;
        hello.client = map["client"].as_text();
        hello.minor = static_cast<std::uint64_t>((*++map["protocol"].begin()).value.as_integer());
        hello.sdk = map["sdk"].as_text();
        hello.features = features.data();
        hello.feature_count = features.size();
        hello.actions = &actions;
        hello.epoch = map["epoch"].as_text();
        hello.seen = seen.data();
        hello.seen_count = seen.size();
        write(out, hello);
    } else if (kind == "open") {
        write(out, Open{conversation, map["npc"].as_text(), map["player"].as_text(), map["history"].as_text()});
    } else if (kind == "say" || kind == "react") {
        const Data state = copied(map["state"]);
        Begin begin;
        begin.react = kind == "react";
        begin.conversation = conversation;
        begin.turn = turn;
        begin.words = map[begin.react ? "happening" : "line"].as_text();
        begin.state = &state;
        begin.seed = map["seed"] ? map["seed"].as_integer() : -1;
        begin.priority = map["priority"] ? static_cast<int>(map["priority"].as_integer()) : 0;
        write(out, begin);
    } else if (kind == "cancel") {
        Texts actions;
        for (const Value::Item item : map["actions"]) actions.add(item.value.as_text());
        write(out, Cancel{conversation, turn, map["actions"] ? &actions : nullptr});
    } else if (kind == "result") {
        const Data value = copied(map["value"]);
        write(out, Result{conversation, turn, map["action"].as_text(), map["status"].as_text() == "failed", map["value"] ? &value : nullptr});
    } else if (kind == "close") {
        write(out, Close{conversation});
    } else if (kind == "ping") {
        write(out, Ping{static_cast<std::uint64_t>(map["nonce"].as_integer())});
    } else if (kind == "heard") {
        write(out, Heard{conversation, turn, static_cast<std::uint64_t>(map["offset"].as_integer()), request});
    } else if (kind == "prepare") {
        write(out, Prepare{conversation, request});
    } else if (kind == "typing") {
        write(out, Typing{conversation, map["line"].as_text()});
    } else if (kind == "state") {
        const Data state = copied(map["state"]);
        write(out, SetState{conversation, &state, request});
    } else if (kind == "set") {
        const Data values = copied(map["values"]);
        write(out, SetValues{npc, map["player"].as_text(), &values, request});
    } else if (kind == "remember") {
        const double at = map["at"] ? map["at"].as_number() : -1.0;
        write(out, Remember{npc, map["text"].as_text(), map["player"].as_text(), map["importance"].as_number(), at, map["place"].as_text(), request});
    } else if (kind == "values") {
        write(out, Values{npc, map["player"].as_text(), request});
    } else if (kind == "learn") {
        const double at = map["at"] ? map["at"].as_number() : -1.0;
        write(out, Learn{npc, map["subject"].as_text(), map["attribute"].as_text(), map["value"].as_text(), map["text"].as_text(),
                         map["player"].as_text(), map["importance"].as_number(), at, map["place"].as_text(), request});
    } else if (kind == "delete_slot") {
        write(out, DeleteSlot{map["slot"].as_text(), request});
    } else if (kind == "export_slot") {
        write(out, ExportSlot{map["slot"].as_text(), map["file"].as_text(), request});
    } else if (kind == "import_slot") {
        write(out, ImportSlot{map["file"].as_text(), map["slot"].as_text(), request});
    } else if (kind == "forget") {
        write(out, Forget{map["player"].as_text(), request});
    } else if (kind == "save") {
        write(out, Save{map["slot"].as_text(), request});
    } else if (kind == "load") {
        write(out, Load{map["slot"].as_text(), request});
    } else if (kind == "slots") {
        write(out, Slots{request});
    } else if (kind == "subscribe") {
        write(out, Subscribe{npc, map["on"].as_flag(), request});
    } else if (kind == "metrics") {
        write(out, Metrics{request});
    } else if (kind == "goodbye") {
        write(out, Leave{});
    }
    return out;
}

// What is not text: left out where the event has none.
static void set(Data& out, std::string_view name, Value value) {
    if (!value) return;
    out.key(name);
    copy(out, value);
}
static void set(Data& out, std::string_view name, std::string_view text) {
    if (!text.empty()) out.set(name, text);
}

struct Shown {
    Data out;
    void place(const Place& place, std::string_view event) {
        out.set("event", event).set("conversation", place.conversation).set("turn", place.turn).set("seq", place.seq);
    }
    void operator()(const std::monostate&) {}
    void operator()(const Unknown& one) { place(one, "unknown"); }
    void operator()(const Welcome& one) {
        out.set("event", "welcome").set("epoch", one.epoch).key("protocol").begin_list().value(one.major).value(one.minor).end();
        set(out, "sdk", one.sdk);
        set(out, "features", one.features);
        set(out, "limits", one.limits);
    }
    void operator()(const Loading& one) {
        out.set("event", "loading").set("stage", one.stage);
        if (one.progress >= 0) out.set("progress", one.progress);
    }
    void operator()(const Ready& one) {
        out.set("event", "ready").set("world", one.world);
        set(out, "npcs", one.npcs);
    }
    void operator()(const Opened& one) {
        out.set("event", "opened").set("conversation", one.conversation).set("npc", one.npc);
        out.set("player", one.player).set("history", one.history);
    }
    void operator()(const Closed& one) { out.set("event", "closed").set("conversation", one.conversation); }
    void operator()(const Pong& one) { out.set("event", "pong").set("nonce", one.nonce); }
    void operator()(const Reset& one) {
        out.set("event", "reset").set("code", one.code).set("message", one.message);
        set(out, "hint", one.hint);
    }
    void operator()(const Goodbye& one) {
        out.set("event", "goodbye").set("code", one.code).set("message", one.message);
        set(out, "hint", one.hint);
        set(out, "kind", one.kind);
    }
    void operator()(const Problem& one) {
        out.set("event", "error").set("code", one.code).set("message", one.message);
        set(out, "hint", one.hint);
        set(out, "kind", one.kind);
        set(out, "answers", one.answers);
        set(out, "conversation", one.conversation);
        set(out, "turn", one.turn);
        set(out, "request", one.request);
        if (one.retry_ms) out.set("retry_ms", one.retry_ms);
    }
    void operator()(const Done& one) {
        out.set("event", "done").set("request", one.request).set("answers", one.answers);
        set(out, "value", one.value);
    }
    void operator()(const Overheard& one) {
        out.set("event", "overheard").set("npc", one.npc).set("player", one.player).set("history", one.history);
        out.set("turn", one.turn);
        set(out, "content", one.content);
    }
    void operator()(const Text& one) {
        place(one, "text");
        out.set("text", one.text).set("offset", one.offset);
        if (one.first) out.set("first", one.first);
    }
    void operator()(const ActionStarted& one) {
        place(one, "action_started");
        out.set("id", one.id).set("name", one.name).set("offset", one.offset);
    }
    void operator()(const Action& one) {
        place(one, "action");
        out.set("id", one.id).set("name", one.name).set("offset", one.offset);
        set(out, "arguments", one.arguments);
        out.set("returns", one.wants_result ? "result" : "nothing").set("repaired", one.repaired);
    }
    void operator()(const Refused& one) {
        place(one, "refused");
        out.set("name", one.name).set("code", one.code).set("message", one.message).set("offset", one.offset);
        set(out, "raw", one.raw);
        set(out, "id", one.id);
    }
    void operator()(const End& one) {
        place(one, "end");
        out.set("reason", one.reason).set("text", one.text);
        set(out, "actions", one.actions);
        set(out, "retracted", one.retracted);
        set(out, "tokens", one.tokens);
        set(out, "timings", one.timings);
        set(out, "recalled", one.recalled);
        set(out, "dropped", one.dropped);
        set(out, "explanation", one.explanation);
    }
    void operator()(const Failed& one) {
        place(one, "error");
        out.set("code", one.code).set("message", one.message);
        set(out, "hint", one.hint);
        set(out, "text", one.text);
    }
};

int main() {
    std::string what, hex;
    while (std::cin >> what >> hex) {
        const Bytes bytes = from_hex(hex);
        const Value value = Value::parse(span_of(bytes));
        if (what == "value") {
            std::cout << to_json(value) << '\n' << (value ? to_hex(copied(value).span()) : "-") << '\n';
        } else if (what == "command") {
            const Data out = command(value);
            std::cout << (out.complete() ? to_hex(out.span()) : "-") << '\n';
        } else if (what == "event") {
            Shown shown;
            shown.out.begin_map();
            std::visit(shown, read_event(span_of(bytes)));
            shown.out.end();
            std::cout << to_json(Value::parse(shown.out.span())) << '\n';
        } else if (what == "json") {  // the bytes are JSON text
            const Data out = data_from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
            std::cout << (out.complete() ? to_json(Value::parse(out.span())) : "-") << '\n';
        }
    }
    return 0;
}
