// Bytes, ids and errors: the small values that every other header uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

namespace npcsdk {

/// A buffer that is filled, cleared and filled again: `clear` keeps its memory.
using Bytes = std::vector<std::uint8_t>;

/// Bytes that somebody else owns.
struct Span {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
};

inline Span span_of(const Bytes& bytes) { return {bytes.data(), bytes.size()}; }

inline void append(Bytes& bytes, const void* data, std::size_t size) {
    if (size == 0) return;
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + size);
}

/// What went wrong, in the words of the whole SDK: a code for programs, a message and a hint for people.
struct Error {
    std::string_view code;
    std::string_view message;
    std::string_view hint;
    explicit operator bool() const { return !code.empty(); }
};

/// The name of a conversation or a turn. A value of its own, so that keeping one costs no memory from the heap.
class Id {
public:
    static constexpr std::size_t capacity = 32;

    Id() = default;
    /// Empty when the text is longer than an id of this client's can be.
    explicit Id(std::string_view text) {
        if (text.size() > capacity) return;
        if (!text.empty()) std::memcpy(text_, text.data(), text.size());
        size_ = static_cast<std::uint8_t>(text.size());
    }

    std::string_view view() const { return {text_, size_}; }
    operator std::string_view() const { return view(); }  // NOLINT: an id is its text
    explicit operator bool() const { return size_ != 0; }

    friend bool operator==(const Id& a, const Id& b) { return a.view() == b.view(); }
    friend bool operator!=(const Id& a, const Id& b) { return !(a == b); }
    friend bool operator==(const Id& a, std::string_view b) { return a.view() == b; }
    friend bool operator!=(const Id& a, std::string_view b) { return !(a == b); }
    friend bool operator==(std::string_view a, const Id& b) { return a == b.view(); }
    friend bool operator!=(std::string_view a, const Id& b) { return !(a == b); }

private:
    char text_[capacity] = {};
    std::uint8_t size_ = 0;
};

/// A new id of hex digits that nobody else will make: 16 for a turn, 32 for a session.
inline Id random_id(std::size_t digits = 16) {
    static const char hex[] = "0123456789abcdef";
    std::random_device device;
    char text[Id::capacity];
    if (digits > Id::capacity) digits = Id::capacity;
    std::uint32_t bits = 0;
    for (std::size_t index = 0; index < digits; ++index) {
        if (index % 8 == 0) bits = static_cast<std::uint32_t>(device());
        text[index] = hex[bits & 15];
        bits >>= 4;
    }
    return Id({text, digits});
}

/// Whether these bytes are UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF.
inline bool is_utf8(const std::uint8_t* data, std::size_t size) {
    std::size_t at = 0;
    while (at < size) {
        const std::uint8_t first = data[at];
        if (first < 0x80) {
            ++at;
            continue;
        }
        std::size_t more = 0;
        std::uint8_t low = 0x80, high = 0xBF;  // what the second byte may be
        if (first >= 0xC2 && first <= 0xDF) more = 1;
        else if (first >= 0xE0 && first <= 0xEF) {
            more = 2;
            if (first == 0xE0) low = 0xA0;
            if (first == 0xED) high = 0x9F;
        } else if (first >= 0xF0 && first <= 0xF4) {
            more = 3;
            if (first == 0xF0) low = 0x90;
            if (first == 0xF4) high = 0x8F;
        } else return false;
        if (size - at <= more) return false;
        if (data[at + 1] < low || data[at + 1] > high) return false;
        for (std::size_t index = 2; index <= more; ++index)
            if ((data[at + index] & 0xC0) != 0x80) return false;
        at += more + 1;
    }
    return true;
}

inline bool is_utf8(std::string_view text) {
    return is_utf8(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

/// Whether the text can be an id on the wire: 1 to 128 characters, well-formed.
inline bool is_identifier(std::string_view text) {
    std::size_t characters = 0;
    for (const char one : text)
        if ((static_cast<unsigned char>(one) & 0xC0) != 0x80) ++characters;
    return characters >= 1 && characters <= 128 && is_utf8(text);
}

}  // namespace npcsdk
