// Whatever arrives, bent and cut: msgpack, the protocol's events, JSON and ZMTP, each in memory of exactly its size, so
// that the sanitizers see a byte too far. `wire_fuzz INPUTS [SEED]`; good messages come on standard input, a line of hex
// each. A stream that is cut in pieces gives the same messages as the whole one, and what is read is written as it was.
#include <iostream>
#include <npcsdk/npcsdk.hpp>
#include <npcsdk/zmtp.hpp>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"

using namespace npcsdk;
using zmtp::Connection;

namespace {

using Messages = std::vector<Bytes>;

class Fuzz {
public:
    Fuzz(Messages good, unsigned seed) : good_(std::move(good)), random_(seed) {}

    void run(int inputs) {
        for (int number = 0; number < inputs; ++number) {
            const Bytes bytes = bent(any());
            message(bytes);
            json(bytes);
            if (number % 4 == 0) stream();
        }
        CHECK(read_ > inputs / 50);  // it was not refused at the door
    }

private:
    std::size_t below(std::size_t bound) { return bound ? static_cast<std::size_t>(random_()) % bound : 0; }
    const Bytes& any() { return good_[below(good_.size())]; }

    Bytes bent(Bytes bytes) {
        for (std::size_t times = below(4); times > 0; --times) {
            const std::size_t at = below(bytes.size() + 1), size = below(9);
            const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
            switch (below(7)) {
            case 0: bytes.resize(at); break;
            case 1: bytes.insert(place, size, static_cast<std::uint8_t>(below(256))); break;
            case 2: bytes.erase(place, place + static_cast<std::ptrdiff_t>(std::min(size, bytes.size() - at))); break;
            case 3: {  // a piece of another
                const Bytes& other = any();
                const std::size_t from = below(other.size());
                const auto begin = other.begin() + static_cast<std::ptrdiff_t>(from);
                bytes.insert(place, begin, begin + static_cast<std::ptrdiff_t>(below(other.size() - from)));
                break;
            }
            case 4:  // lengths and kinds that promise much
                if (at < bytes.size()) bytes[at] = heads[below(sizeof heads)];
                break;
            default:
                if (at < bytes.size()) bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1u << below(8)));
            }
        }
        bytes.shrink_to_fit();
        return bytes;
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
        case Value::Kind::list: out.begin_list(); break;
        case Value::Kind::map: out.begin_map(); break;
        }
        for (const Value::Item item : value) {
            if (value.is_map()) out.key(item.key);
            copy(out, item.value);
        }
        out.end();
    }

    void message(const Bytes& bytes) {
        const Value value = Value::parse(span_of(bytes));
        read_event(span_of(bytes));
        if (!value) return;
        ++read_;
        for (const char* const name : {"event", "turn", "seq", "actions", "no such name"}) value[name].as_text();
        Data again;
        copy(again, value);
        const std::string shown = to_json(value);
        if (!again.complete()) return;  // a message may be deeper than data of ours
        CHECK(to_json(Value::parse(again.span())) == shown);
    }

    void json(const Bytes& bytes) {
        std::string text = to_json(Value::parse(span_of(bytes)));
        for (std::size_t times = below(3); times > 0 && !text.empty(); --times) text[below(text.size())] = static_cast<char>(below(256));
        const std::vector<char> exactly(text.begin(), text.end());
        const Data data = data_from_json({exactly.data(), exactly.size()});
        if (data.complete()) CHECK(!to_json(Value::parse(data.span())).empty());
    }

    static void put(Bytes& out, const std::string& text) { out.insert(out.end(), text.begin(), text.end()); }

    Bytes wire() {
        Bytes out(64, 0);
        out[0] = 0xFF, out[9] = 0x7F, out[10] = 3, out[11] = 1;
        out[12] = 'N', out[13] = 'U', out[14] = 'L', out[15] = 'L';
        const std::string ready = std::string("\x05READY\x0bSocket-Type\0\0\0\x06ROUTER", 28);
        out.push_back(4), out.push_back(static_cast<std::uint8_t>(ready.size()));
        put(out, ready);
        for (std::size_t count = below(5); count > 0; --count) {
            const std::size_t kind = below(12);
            const Bytes& body = any();
            if (kind == 0) put(out, std::string("\x04\x0a\x04PING\0\x01" "ctx", 12));
            else if (kind == 1) put(out, std::string("\x04\x05\x05ERROR", 8));
            else {
                const bool large = body.size() > 255 || kind == 2;
                out.push_back(static_cast<std::uint8_t>((large ? 2 : 0) | (kind == 3 ? 1 : 0)));
                for (int shift = large ? 56 : 0; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(body.size()) >> shift));
                out.insert(out.end(), body.begin(), body.end());
            }
        }
        return below(3) == 0 ? out : bent(std::move(out));
    }

    void stream() {
        const Bytes bytes = wire();
        Messages whole, cut;
        const bool broken = through(bytes, bytes.size(), whole);
        CHECK(through(bytes, 1 + below(40), cut) == broken);
        if (!broken) CHECK(whole == cut);
    }

    /// Whether the connection breaks over it.
    static bool through(const Bytes& bytes, std::size_t step, Messages& heard) {
        Connection connection;
        connection.start(0);
        Span message;
        for (std::size_t at = 0; at < bytes.size() && !connection.broken();) {
            const Connection::Room room = connection.room();
            const std::size_t size = std::min({room.size, bytes.size() - at, step});
            std::memcpy(room.data, bytes.data() + at, size);
            connection.filled(size, 0);
            at += size;
            while (connection.next(message)) heard.emplace_back(message.data, message.data + message.size);
            connection.sent(connection.pending().size);
        }
        return connection.broken();
    }

    static constexpr std::uint8_t heads[] = {0x00, 0x02, 0x04, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC4, 0xCA, 0xCB, 0xCF,
                                             0xD3, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xFF, 0x7F, 0xED, 0xF4, 0xC3};
    Messages good_;
    std::mt19937 random_;
    int read_ = 0;
};

}  // namespace

int main(int count, char** arguments) {
    Messages good;
    std::string hex;
    while (std::cin >> hex) {
        Bytes bytes;
        for (std::size_t at = 0; at + 1 < hex.size(); at += 2) bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(at, 2), nullptr, 16)));
        good.push_back(bytes);
    }
    CHECK(!good.empty());
    Fuzz(good, count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 1).run(count > 1 ? std::atoi(arguments[1]) : 1000);
    return 0;
}
