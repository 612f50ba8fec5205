// Reads msgpack: a view of what has arrived, checked once as a whole.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "bytes.hpp"

namespace npcsdk {

constexpr int message_depth = 48;  ///< nested lists and maps in a message that arrives

/// One value in bytes that belong to somebody else: valid as long as they are. Nothing is copied.
///
/// A value that is missing, or of another kind than asked for, reads as null, false, 0 or empty text.
class Value {
public:
    enum class Kind : std::uint8_t { missing, null, boolean, integer, real, text, list, map };

    Value() = default;

    /// The one value that the bytes are; missing when they are anything else (cut off, too deep, of an unknown
    /// type, text that is not UTF-8, keys that are not text, bytes left over).
    static Value parse(Span bytes, int depth = message_depth) {
        const std::uint8_t* const end = bytes.data + bytes.size;
        return check(bytes.data, end, depth) == end && bytes.size ? Value(bytes.data) : Value();
    }

    Kind kind() const { return at_ ? head(at_).kind : Kind::missing; }
    explicit operator bool() const { return at_ != nullptr; }
    bool is_null() const { return kind() == Kind::null; }
    bool is_text() const { return kind() == Kind::text; }
    bool is_map() const { return kind() == Kind::map; }
    bool is_list() const { return kind() == Kind::list; }

    bool as_flag() const { return at_ && *at_ == 0xC3; }

    /// Integers beyond the range are cut to its ends, as are reals.
    std::int64_t as_integer() const {
        const Head one = at_ ? head(at_) : Head();
        if (one.kind == Kind::real) {
            if (one.real >= 9223372036854775807.0) return INT64_MAX;
            if (one.real <= -9223372036854775808.0) return INT64_MIN;
            return one.real == one.real ? static_cast<std::int64_t>(one.real) : 0;
        }
        if (one.kind != Kind::integer) return 0;
        if (!one.negative && one.bits > static_cast<std::uint64_t>(INT64_MAX)) return INT64_MAX;
        return static_cast<std::int64_t>(one.bits);
    }

    /// An integer from 0; false when this is something else.
    bool as_natural(std::uint64_t& out) const {
        const Head one = at_ ? head(at_) : Head();
        if (one.kind != Kind::integer || one.negative) return false;
        out = one.bits;
        return true;
    }

    double as_number() const {
        const Head one = at_ ? head(at_) : Head();
        if (one.kind == Kind::real) return one.real;
        if (one.kind != Kind::integer) return 0.0;
        return one.negative ? static_cast<double>(static_cast<std::int64_t>(one.bits)) : static_cast<double>(one.bits);
    }

    bool is_negative() const { return at_ && head(at_).negative; }

    std::string_view as_text() const {
        const Head one = at_ ? head(at_) : Head();
        if (one.kind != Kind::text) return {};
        return {reinterpret_cast<const char*>(at_ + one.size), one.count};
    }

    /// Of a list or a map: how many items it has.
    std::size_t size() const {
        const Head one = at_ ? head(at_) : Head();
        return one.kind == Kind::list || one.kind == Kind::map ? one.count : 0;
    }

    /// Of a map: the value under a key; missing when there is none.
    Value operator[](std::string_view key) const;

    /// What a generated `from` of `npcsdk actions --stubs cpp` asks of an action's arguments.
    bool has(std::string_view key) const {
        const Value one = (*this)[key];
        return one && !one.is_null();
    }
    std::string text(std::string_view key) const { return std::string((*this)[key].as_text()); }
    std::int64_t integer(std::string_view key) const { return (*this)[key].as_integer(); }
    double number(std::string_view key) const { return (*this)[key].as_number(); }
    bool flag(std::string_view key) const { return (*this)[key].as_flag(); }

    /// The bytes of this value.
    Span span() const { return at_ ? Span{at_, static_cast<std::size_t>(skip(at_) - at_)} : Span(); }

    struct Item;
    class Iterator;
    Iterator begin() const;
    Iterator end() const;

private:
    struct Head {
        Kind kind = Kind::missing;
        bool negative = false;
        std::uint8_t size = 1;    // of the head itself
        std::uint32_t count = 0;  // bytes of text, items of a list or map
        std::uint64_t bits = 0;
        double real = 0.0;
    };

    explicit Value(const std::uint8_t* at) : at_(at) {}

    static std::uint64_t big(const std::uint8_t* at, int size) {
        std::uint64_t number = 0;
        for (int index = 0; index < size; ++index) number = number << 8 | at[index];
        return number;
    }

    /// How many bytes the head of a value has that begins with this byte; 0 when nothing of ours begins so.
    static int head_size(std::uint8_t first) {
        if (first < 0xC0 || first >= 0xE0) return 1;
        static const std::uint8_t sizes[32] = {1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9,
                                               2, 3, 5, 9, 0, 0, 0, 0, 0, 2, 3, 5, 3, 5, 3, 5};
        return sizes[first - 0xC0];
    }

    static Head head(const std::uint8_t* at) {
        const std::uint8_t first = *at;
        Head one;
        if (first < 0x80) return one.kind = Kind::integer, one.bits = first, one;
        if (first < 0x90) return one.kind = Kind::map, one.count = first & 15u, one;
        if (first < 0xA0) return one.kind = Kind::list, one.count = first & 15u, one;
        if (first < 0xC0) return one.kind = Kind::text, one.count = first & 31u, one;
        if (first >= 0xE0) return one.kind = Kind::integer, one.negative = true, one.bits = sign(first, 1), one;
        one.size = static_cast<std::uint8_t>(head_size(first));
        const int rest = one.size - 1;
        const std::uint64_t bits = big(at + 1, rest);
        if (first == 0xC0) one.kind = Kind::null;
        else if (first <= 0xC3) one.kind = Kind::boolean;
        else if (first == 0xCA) {
            const auto half = static_cast<std::uint32_t>(bits);
            float real = 0;
            std::memcpy(&real, &half, sizeof real);
            one.kind = Kind::real, one.real = static_cast<double>(real);
        } else if (first == 0xCB) {
            one.kind = Kind::real;
            std::memcpy(&one.real, &bits, sizeof bits);
        } else if (first <= 0xCF) one.kind = Kind::integer, one.bits = bits;
        else if (first <= 0xD3) {
            one.kind = Kind::integer, one.bits = sign(bits, rest);
            one.negative = static_cast<std::int64_t>(one.bits) < 0;
        } else {
            one.kind = first <= 0xDB ? Kind::text : first <= 0xDD ? Kind::list : Kind::map;
            one.count = static_cast<std::uint32_t>(bits);
        }
        return one;
    }

    static std::uint64_t sign(std::uint64_t bits, int size) {
        if (size == 8) return bits;
        const std::uint64_t top = std::uint64_t{1} << (8 * size - 1);
        return (bits ^ top) - top;
    }

    /// Behind the value that begins here; null when it is not well-formed or does not end before `end`.
    static const std::uint8_t* check(const std::uint8_t* at, const std::uint8_t* end, int depth) {
        if (at == end) return nullptr;
        const int size = head_size(*at);
        if (size == 0 || end - at < size) return nullptr;
        const Head one = head(at);
        at += size;
        if (one.kind == Kind::text) {
            if (static_cast<std::size_t>(end - at) < one.count || !is_utf8(at, one.count)) return nullptr;
            return at + one.count;
        }
        if (one.kind == Kind::real) return std::isfinite(one.real) ? at : nullptr;
        if (one.kind != Kind::list && one.kind != Kind::map) return at;
        if (depth == 0 || static_cast<std::size_t>(end - at) < one.count) return nullptr;
        for (std::uint32_t index = 0; index < one.count; ++index) {
            if (one.kind == Kind::map) {
                if (at == end || head_size(*at) == 0 || end - at < head_size(*at)) return nullptr;
                if (head(at).kind != Kind::text) return nullptr;
                at = check(at, end, depth - 1);
                if (at == nullptr) return nullptr;
            }
            at = check(at, end, depth - 1);
            if (at == nullptr) return nullptr;
        }
        return at;
    }

    /// Behind a value that was checked before.
    static const std::uint8_t* skip(const std::uint8_t* at) {
        const Head one = head(at);
        at += one.size;
        if (one.kind == Kind::text) return at + one.count;
        if (one.kind != Kind::list && one.kind != Kind::map) return at;
        const std::uint64_t values = one.kind == Kind::map ? std::uint64_t{2} * one.count : one.count;
        for (std::uint64_t index = 0; index < values; ++index) at = skip(at);
        return at;
    }

    const std::uint8_t* at_ = nullptr;
};

/// An item of a list (its key is empty) or of a map.
struct Value::Item {
    std::string_view key;
    Value value;
};

class Value::Iterator {
public:
    Iterator() = default;
    Iterator(const std::uint8_t* at, std::size_t left, bool map) : at_(at), left_(left), map_(map) {}

    Item operator*() const {
        if (!map_) return {{}, Value(at_)};
        return {Value(at_).as_text(), Value(Value::skip(at_))};
    }
    Iterator& operator++() {
        if (map_) at_ = Value::skip(at_);
        at_ = Value::skip(at_);
        --left_;
        return *this;
    }
    friend bool operator!=(const Iterator& a, const Iterator& b) { return a.left_ != b.left_; }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.left_ == b.left_; }

private:
    const std::uint8_t* at_ = nullptr;
    std::size_t left_ = 0;
    bool map_ = false;
};

inline Value::Iterator Value::begin() const {
    const Head one = at_ ? head(at_) : Head();
    if (one.kind != Kind::list && one.kind != Kind::map) return {};
    return {at_ + one.size, one.count, one.kind == Kind::map};
}

inline Value::Iterator Value::end() const { return {}; }

inline Value Value::operator[](std::string_view key) const {
    if (!is_map()) return {};
    for (const Item item : *this)
        if (item.key == key) return item.value;
    return {};
}

}  // namespace npcsdk
