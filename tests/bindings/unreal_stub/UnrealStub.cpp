#include "UnrealStub.h"

bool GIsEditor = true;

namespace stub {

std::u16string from_utf8(const char* text, std::size_t size) {
    std::u16string out;
    for (std::size_t at = 0; at < size;) {
        const auto first = static_cast<unsigned char>(text[at]);
        const std::size_t more = first < 0x80 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        char32_t point = more == 0 ? first : first & (0x3F >> more);
        for (std::size_t index = 1; index <= more; ++index) point = (point << 6) | (static_cast<unsigned char>(text[at + index]) & 0x3F);
        at += more + 1;
        if (point < 0x10000) out += static_cast<char16_t>(point);
        else {
            out += static_cast<char16_t>(0xD800 + ((point - 0x10000) >> 10));
            out += static_cast<char16_t>(0xDC00 + ((point - 0x10000) & 0x3FF));
        }
    }
    return out;
}

std::string to_utf8(const TCHAR* text, std::size_t size) {
    std::string out;
    for (std::size_t at = 0; at < size; ++at) {
        char32_t point = text[at];
        if (point >= 0xD800 && point < 0xDC00 && at + 1 < size) point = 0x10000 + ((point - 0xD800) << 10) + (text[++at] - 0xDC00u);
        if (point < 0x80) out += static_cast<char>(point);
        else if (point < 0x800) out += {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
        else if (point < 0x10000) {
            out += {static_cast<char>(0xE0 | (point >> 12)), static_cast<char>(0x80 | ((point >> 6) & 0x3F)),
                    static_cast<char>(0x80 | (point & 0x3F))};
        } else {
            out += {static_cast<char>(0xF0 | (point >> 18)), static_cast<char>(0x80 | ((point >> 12) & 0x3F)),
                    static_cast<char>(0x80 | ((point >> 6) & 0x3F)), static_cast<char>(0x80 | (point & 0x3F))};
        }
    }
    return out;
}

std::vector<std::unique_ptr<UObject>>& objects() {
    static std::vector<std::unique_ptr<UObject>> all;
    return all;
}

void collect_garbage() {
    for (const auto& one : objects()) one->BeginDestroy();
    objects().clear();
}

std::vector<std::string>& logged() {
    static std::vector<std::string> all;
    return all;
}

void log(const TCHAR* format, std::vector<const TCHAR*> arguments) {
    std::u16string out(format);
    for (const TCHAR* one : arguments) {
        const std::size_t at = out.find(u"%s");
        out.replace(at, 2, one);
    }
    logged().push_back(to_utf8(out.data(), out.size()));
}

}  // namespace stub

FTSTicker& FTSTicker::GetCoreTicker() {
    static FTSTicker one;
    return one;
}

FTSTicker::FDelegateHandle FTSTicker::AddTicker(const FTickerDelegate& delegate, float) {
    static uint64 last = 0;
    StubTickers[++last] = delegate;
    return {last};
}

void FTSTicker::RemoveTicker(FDelegateHandle handle) { StubTickers.erase(handle.Id); }

void FTSTicker::StubFrame() {
    const auto now = StubTickers;
    for (const auto& one : now)
        if (!one.second.alive.expired() && !one.second.call(0.016f)) StubTickers.erase(one.first);
}

FProcHandle FPlatformProcess::CreateProc(const TCHAR* program, const TCHAR* arguments, bool, bool, bool, uint32*, int32, const TCHAR*,
                                         void*, void*) {
    const std::string name = stub::to_utf8(program, std::u16string(program).size());
    FProcHandle handle;
    if (::access(name.c_str(), X_OK) != 0) return handle;
    const std::string line = "exec '" + name + "' " + stub::to_utf8(arguments, std::u16string(arguments).size());
    handle.Pid = ::fork();
    if (handle.Pid == 0) {
        ::execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
        ::_exit(127);
    }
    return handle;
}
