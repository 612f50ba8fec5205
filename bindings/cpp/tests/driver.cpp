// A client that a test drives: commands as lines on standard input, what happens as lines of JSON on standard output.
//   open NPC | say TEXT | react TEXT | cancel | result TEXT | fail TEXT | close | quit
//   heard OFFSET | remember TEXT | save SLOT | load SLOT | slots | prepare
// Arguments: the address, the actions as JSON, seconds of silence until the server counts as unreachable, a key file for CURVE,
// the path of a libzmq.
// At the end: how long the longest poll took, in milliseconds.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <npcsdk/curve.hpp>
#include <npcsdk/npcsdk.hpp>

using namespace npcsdk;

struct Driver : Handler {
    explicit Driver(Client& given) : client(given) {}
    Client& client;
    Id conversation, turn;
    std::string action;

    template <class... More>
    void print(const char* event, const More&... more) {
        Data out;
        out.begin_map().set("event", event);
        fields(out, more...);
        out.end();
        std::cout << to_json(Value::parse(out.span())) << '\n' << std::flush;
    }
    static void fields(Data&) {}
    template <class Content, class... More>
    static void fields(Data& out, const char* name, const Content& content, const More&... more) {
        out.set(name, content);
        fields(out, more...);
    }

    void on_welcome(const Welcome& one) override { print("welcome", "epoch", one.epoch); }
    void on_ready(const Ready& one) override { print("ready", "world", one.world); }
    void on_opened(const Opened& one) override { print("opened", "history", one.history); }
    void on_closed(const Closed&) override { print("closed"); }
    void on_text(const Text& one) override { print("text", "turn", one.turn, "seq", one.seq, "text", one.text, "offset", one.offset); }
    void on_action(const Action& one) override {
        action = one.id;
        print("action", "turn", one.turn, "seq", one.seq, "name", one.name, "arguments", to_json(one.arguments), "wants_result", one.wants_result);
    }
    void on_done(const Done& one) override { print("done", "answers", one.answers, "value", to_json(one.value)); }
    void on_refused(const Refused& one) override { print("refused", "name", one.name, "code", one.code); }
    void on_end(const End& one) override { print("end", "turn", one.turn, "seq", one.seq, "reason", one.reason, "text", one.text); }
    void on_failed(const Failed& one) override { print("failed", "turn", one.turn, "code", one.code); }
    void on_problem(const Problem& one) override { print("problem", "code", one.code, "message", one.message, "answers", one.answers); }
    void on_reset(const Reset& one) override { print("reset", "code", one.code); }
    void on_goodbye(const Goodbye& one) override { print("goodbye", "code", one.code); }

    bool obey(const std::string& line) {
        const std::size_t space = line.find(' ');
        const std::string what = line.substr(0, space), rest = space == std::string::npos ? "" : line.substr(space + 1);
        if (what == "open") conversation = client.open(rest);
        else if (what == "say") turn = client.say(conversation, rest);
        else if (what == "react") turn = client.react(conversation, rest);
        else if (what == "cancel") client.cancel(turn);
        else if (what == "close") client.close(conversation);
        else if (what == "heard") client.heard(conversation, turn, static_cast<std::uint64_t>(std::stoi(rest)));
        else if (what == "remember") client.remember({"bram", rest});
        else if (what == "save") client.save(rest);
        else if (what == "load") client.load(rest);
        else if (what == "slots") client.slots();
        else if (what == "prepare") client.typing(conversation, "Well"), client.prepare(conversation);
        else if (what == "result" || what == "fail") {
            Data value;
            value.value(rest);
            client.result(turn, action, what == "fail", &value);
        } else return false;
        if (client.error()) print("error", "code", client.error().code);
        return true;
    }
};

int main(int count, char** arguments) {
    if (count < 2) return 2;
    Options options;
    options.address = arguments[1];
    if (count > 2) options.actions = data_from_json(arguments[2]);
    if (count > 3) options.times.silence = std::atof(arguments[3]);
    if (count > 4) {  // a key file, and perhaps the path of a libzmq
        CurveOptions curve;
        curve.address = options.address;
        std::ifstream file(arguments[4]);
        curve.keys = CurveKeys::parse(std::string(std::istreambuf_iterator<char>(file), {}));
        if (count > 5) curve.library = arguments[5];
        options.transport = curve_transport(curve);
    }
    Client client(options);
    Driver driver(client);
    double longest = 0;
    std::string input;
    const auto milliseconds = [] { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
    while (true) {
        const double begin = milliseconds();
        client.poll(driver);
        longest = std::max(longest, milliseconds() - begin);
        pollfd keyboard{0, POLLIN, 0};
        if (::poll(&keyboard, 1, 5) <= 0) continue;
        char bytes[4096];
        const ssize_t size = ::read(0, bytes, sizeof bytes);
        if (size <= 0) break;
        input.append(bytes, static_cast<std::size_t>(size));
        bool going = true;
        for (std::size_t end; going && (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1))
            going = driver.obey(input.substr(0, end));
        if (!going) break;
    }
    driver.print("over", "longest_ms", longest, "trouble", client.trouble());
    return 0;
}
