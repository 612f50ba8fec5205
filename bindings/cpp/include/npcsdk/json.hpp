// JSON text to the protocol's data and back: for schemas written in source code, for logs, for scripting languages.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "msgpack.hpp"

namespace npcsdk {

namespace detail {

class JsonReader {
public:
    JsonReader(std::string_view text, Data& out) : text_(text), out_(out) {}

    bool read() { return value(0) && (space(), at_ == text_.size()); }

private:
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    void space() {
        while (at_ < text_.size() && (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) ++at_;
    }
    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    bool value(int depth) {
        space();
        if (depth > data_depth) return false;
        switch (peek()) {
            case '{': return items(depth, true);
            case '[': return items(depth, false);
            case '"': return string() && (out_.value(word_), true);
            case 't': return take("true") && (out_.value(true), true);
            case 'f': return take("false") && (out_.value(false), true);
            case 'n': return take("null") && (out_.value(nullptr), true);
            default: return number();
        }
    }

    bool items(int depth, bool map) {
        const char last = map ? '}' : ']';
        ++at_;
        if (map) out_.begin_map();
        else out_.begin_list();
        space();
        if (peek() != last) {
            while (true) {
                if (map) {
                    space();
                    if (peek() != '"' || !string()) return false;
                    out_.key(word_);
                    space();
                    if (!take(":")) return false;
                }
                if (!value(depth + 1)) return false;
                space();
                if (take(",")) continue;
                break;
            }
        }
        if (peek() != last) return false;
        ++at_;
        out_.end();
        return true;
    }

    bool number() {
        const std::size_t begin = at_;
        bool whole = true;
        take("-");
        const std::size_t digits = at_;
        while (at_ < text_.size() && ((peek() >= '0' && peek() <= '9') || peek() == '.' || peek() == 'e' || peek() == 'E' || peek() == '+' || peek() == '-')) {
            whole = whole && peek() >= '0' && peek() <= '9';
            ++at_;
        }
        if (at_ == digits || text_[digits] < '0' || text_[digits] > '9') return false;
        if (text_[digits] == '0' && at_ > digits + 1 && text_[digits + 1] >= '0' && text_[digits + 1] <= '9') return false;
        word_.assign(text_.substr(begin, at_ - begin));
        if (whole && at_ - digits <= 18) return out_.value(static_cast<std::int64_t>(std::strtoll(word_.c_str(), nullptr, 10))), true;
        char* end = nullptr;
        const double real = std::strtod(word_.c_str(), &end);
        if (end != word_.c_str() + word_.size()) return false;
        return out_.value(real), true;
    }

    bool string() {
        word_.clear();
        for (++at_; at_ < text_.size(); ++at_) {
            const char one = text_[at_];
            if (one == '"') return ++at_, true;
            if (static_cast<unsigned char>(one) < 0x20) return false;
            if (one != '\\') {
                word_ += one;
                continue;
            }
            ++at_;
            static constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
            if (peek() == 'u') {
                std::uint32_t code = 0, low = 0;
                if (!hex(code)) return false;
                if (code >= 0xD800 && code < 0xDC00) {
                    if (text_.substr(at_ + 1, 2) != "\\u" || (at_ += 2, !hex(low)) || low < 0xDC00 || low > 0xDFFF) return false;
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                }
                utf8(code);
            } else if (const std::size_t which = names.find(peek()); which != std::string_view::npos && at_ < text_.size()) {
                word_ += meant[which];
            } else return false;
        }
        return false;
    }

    /// Four digits behind the `u` that stands here; stops on the last.
    bool hex(std::uint32_t& code) {
        for (int index = 0; index < 4; ++index) {
            ++at_;
            const char one = peek();
            std::uint32_t digit = 0;
            if (one >= '0' && one <= '9') digit = static_cast<std::uint32_t>(one - '0');
            else if (one >= 'a' && one <= 'f') digit = static_cast<std::uint32_t>(one - 'a' + 10);
            else if (one >= 'A' && one <= 'F') digit = static_cast<std::uint32_t>(one - 'A' + 10);
            else return false;
            code = code << 4 | digit;
        }
        return true;
    }

    void utf8(std::uint32_t code) {
        const auto put = [&](std::uint32_t byte) { word_ += static_cast<char>(static_cast<unsigned char>(byte)); };
        if (code < 0x80) return put(code);
        if (code < 0x800) return put(0xC0 | code >> 6), put(0x80 | (code & 63));
        if (code < 0x10000) return put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
        put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
    }

    std::string_view text_;
    Data& out_;
    std::string word_;
    std::size_t at_ = 0;
};

inline void write_json(std::string& out, std::string_view text) {
    out += '"';
    for (const char one : text) {
        if (one == '"' || one == '\\') out += '\\', out += one;
        else if (one == '\n') out += "\\n";
        else if (static_cast<unsigned char>(one) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(one)));
            out += escape;
        } else out += one;
    }
    out += '"';
}

}  // namespace detail

/// What the JSON text says. When it is none, `complete` of the result is false.
inline Data data_from_json(std::string_view text) {
    Data out;
    if (!detail::JsonReader(text, out).read()) out.clear().end();  // nothing to end: broken for good
    return out;
}

/// The value as JSON, behind what stands in `out` already.
inline void append_json(std::string& out, Value value) {
    switch (value.kind()) {
        case Value::Kind::missing:
        case Value::Kind::null: out += "null"; return;
        case Value::Kind::boolean: out += value.as_flag() ? "true" : "false"; return;
        case Value::Kind::text: detail::write_json(out, value.as_text()); return;
        case Value::Kind::integer: {
            std::uint64_t natural = 0;
            out += value.as_natural(natural) ? std::to_string(natural) : std::to_string(value.as_integer());
            return;
        }
        case Value::Kind::real: {
            char number[40];
            std::snprintf(number, sizeof number, "%.17g", value.as_number());
            out += number;
            if (std::string_view(number).find_first_of(".e") == std::string_view::npos) out += ".0";
            return;
        }
        case Value::Kind::list:
        case Value::Kind::map: break;
    }
    const bool map = value.is_map();
    out += map ? '{' : '[';
    bool first = true;
    for (const Value::Item item : value) {
        if (!first) out += ", ";
        first = false;
        if (map) detail::write_json(out, item.key), out += ": ";
        append_json(out, item.value);
    }
    out += map ? '}' : ']';
}

inline std::string to_json(Value value) {
    std::string out;
    append_json(out, value);
    return out;
}

}  // namespace npcsdk
