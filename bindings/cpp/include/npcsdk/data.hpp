// Writes msgpack into a buffer that is used again.
//
// Only what the protocol has: null, booleans, 64-bit integers, finite doubles, text, lists, maps with text keys.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "bytes.hpp"

namespace npcsdk {

constexpr int data_depth = 32;         ///< nested lists and maps in the game's own data
constexpr std::size_t message_bytes = 1u << 20;  ///< the largest message, unless the server says otherwise

/// Writes values one after another. Lists and maps need no count beforehand.
///
///     Data state;
///     state.begin_map().set("trust", 61).set("night", true);
///     state.key("nearby").begin_list().value("gate").value("well").end();
///     state.end();
///
/// A mistake (a number that is not finite, text that is not UTF-8, too deep, a map's value without its key) is
/// remembered: `complete` is false, and what would send the data says so instead.
class Data {
public:
    Data& clear() {
        bytes_.clear();
        depth_ = reached_ = 0;
        roots_ = 0;
        broken_ = false;
        return *this;
    }

    Data& value(std::nullptr_t) { return item(), byte(0xC0); }

    template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
    Data& value(T number) {
        item();
        if constexpr (std::is_same_v<T, bool>) return byte(number ? 0xC3 : 0xC2);
        else if constexpr (std::is_floating_point_v<T>) return real(static_cast<double>(number));
        else if constexpr (std::is_signed_v<T>) {
            return number < 0 ? negative(static_cast<std::int64_t>(number)) : natural(static_cast<std::uint64_t>(number));
        } else return natural(static_cast<std::uint64_t>(number));
    }

    Data& value(std::string_view text) {
        item();
        return this->text(text);
    }
    Data& value(const char* text) { return value(std::string_view(text)); }
    Data& value(const std::string& text) { return value(std::string_view(text)); }
    Data& value(const Id& id) { return value(id.view()); }

    /// Another complete piece of data, copied in.
    Data& value(const Data& other) {
        item();
        if (!other.complete() || depth_ + other.reached_ > limit) return fail();
        if (depth_ + other.reached_ > reached_) reached_ = depth_ + other.reached_;
        append(bytes_, other.bytes_.data(), other.bytes_.size());
        return *this;
    }

    Data& key(std::string_view name) {
        if (depth_ == 0 || !stack_[depth_ - 1].map || stack_[depth_ - 1].keyed) return fail();
        stack_[depth_ - 1].keyed = true;
        return text(name);
    }

    template <class T>
    Data& set(std::string_view name, const T& content) {
        return key(name).value(content);
    }

    Data& begin_map() { return begin(true); }
    Data& begin_list() { return begin(false); }

    Data& end() {
        if (depth_ == 0) return fail();
        const Level level = stack_[--depth_];
        if (level.keyed) return fail();
        const std::uint32_t count = level.count;
        if (count < 16) {
            bytes_[level.at] = static_cast<std::uint8_t>((level.map ? 0x80 : 0x90) | count);
        } else {  // the header is longer than the byte that was kept for it
            std::uint8_t head[5];
            std::size_t size = 0;
            const bool small = count <= 0xFFFF;
            head[size++] = static_cast<std::uint8_t>((level.map ? 0xDE : 0xDC) + (small ? 0 : 1));
            for (int shift = small ? 8 : 24; shift >= 0; shift -= 8) head[size++] = static_cast<std::uint8_t>(count >> shift);
            bytes_[level.at] = head[0];
            bytes_.insert(bytes_.begin() + static_cast<std::ptrdiff_t>(level.at) + 1, head + 1, head + size);
        }
        return *this;
    }

    /// Whether exactly one value stands here, whole and without a mistake.
    bool complete() const { return !broken_ && depth_ == 0 && roots_ == 1; }
    bool empty() const { return bytes_.empty(); }
    /// How deep lists and maps are nested; the game's own data may have `data_depth`.
    int depth() const { return reached_; }
    bool is_map() const {
        return complete() && ((bytes_[0] & 0xF0) == 0x80 || bytes_[0] == 0xDE || bytes_[0] == 0xDF);
    }
    Span span() const { return span_of(bytes_); }

private:
    struct Level {
        std::size_t at = 0;  // of its header
        std::uint32_t count = 0;
        bool map = false;
        bool keyed = false;  // a key stands there and waits for its value
    };

    void item() {
        if (depth_ == 0) {
            ++roots_;
            return;
        }
        Level& level = stack_[depth_ - 1];
        if (level.map && !level.keyed) fail();
        level.keyed = false;
        ++level.count;
    }

    Data& begin(bool map) {
        item();
        if (depth_ == limit) return fail();
        stack_[depth_] = {bytes_.size(), 0, map, false};
        ++depth_;
        if (depth_ > reached_) reached_ = depth_;
        return byte(0);
    }

    Data& text(std::string_view text) {
        if (!is_utf8(text) || text.size() > 0xFFFFFFFFu) return fail();
        const std::size_t size = text.size();
        if (size < 32) byte(static_cast<std::uint8_t>(0xA0 | size));
        else if (size <= 0xFF) byte(0xD9).big(size, 1);
        else if (size <= 0xFFFF) byte(0xDA).big(size, 2);
        else byte(0xDB).big(size, 4);
        append(bytes_, text.data(), size);
        return *this;
    }

    Data& natural(std::uint64_t number) {
        if (number < 0x80) return byte(static_cast<std::uint8_t>(number));
        if (number <= 0xFF) return byte(0xCC).big(number, 1);
        if (number <= 0xFFFF) return byte(0xCD).big(number, 2);
        if (number <= 0xFFFFFFFFu) return byte(0xCE).big(number, 4);
        return byte(0xCF).big(number, 8);
    }

    Data& negative(std::int64_t number) {
        const auto bits = static_cast<std::uint64_t>(number);
        if (number >= -32) return byte(static_cast<std::uint8_t>(bits));
        if (number >= -0x80) return byte(0xD0).big(bits, 1);
        if (number >= -0x8000) return byte(0xD1).big(bits, 2);
        if (number >= -0x80000000ll) return byte(0xD2).big(bits, 4);
        return byte(0xD3).big(bits, 8);
    }

    Data& real(double number) {
        if (!std::isfinite(number)) return fail();
        std::uint64_t bits = 0;
        std::memcpy(&bits, &number, sizeof bits);
        return byte(0xCB).big(bits, 8);
    }

    Data& byte(std::uint8_t one) {
        bytes_.push_back(one);
        return *this;
    }

    Data& big(std::uint64_t number, int size) {
        for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) byte(static_cast<std::uint8_t>(number >> shift));
        return *this;
    }

    Data& fail() {
        broken_ = true;
        return *this;
    }

    static constexpr int limit = data_depth + 4;  // a message has a few levels around the game's own

    Bytes bytes_;
    Level stack_[limit];
    int depth_ = 0;
    int reached_ = 0;
    int roots_ = 0;
    bool broken_ = false;
};

}  // namespace npcsdk
